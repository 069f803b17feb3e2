"""The commands that an installation runs: `apply-crds` before it, `selfcheck` after it."""

import asyncio
import datetime as dt
import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from berth_api.client import ApiClient, ApiError, Forbidden
from berth_api.customresources import CUSTOM_RESOURCES, definition
from berth_operator.crdupgrades import CrdsNotApplied, apply_crds
from berth_operator.kubeconfigs import locate
from berth_operator.selfchecks import Finding, check_until_well
from berth_operator.settings import Settings
from berth_operator.tables import visible

NOT_WELL, FAILED = 1, 2
"""Exit codes: what was asked for is not so; it could not be found out."""
_CRDS_HELP = """Bring the cluster's CustomResourceDefinitions of Berth up to those of this program.

Refuses, before it writes anything, where objects are stored in a version that this program does not know.

Exit code: 0 the server serves them; 1 it does not, or this program is older than what is stored; 2 the server could
not be asked.
"""
_CHECK_HELP = """Say whether this installation works: an operator leads, and a node can run VMs.

Exit code: 0 it does; 1 something is missing; 2 the server could not be asked.
"""
_Kubeconfig = Annotated[
    Path | None, typer.Option(help="Left out: BERTH_OPERATOR_KUBECONFIG, else as kubectl finds it, else the Pod's.")
]


def add_commands(app: typer.Typer) -> None:
    """Put the commands under a command line."""
    app.command("apply-crds", help=_CRDS_HELP)(_apply_crds)
    app.command("selfcheck", help=_CHECK_HELP)(_selfcheck)


def _apply_crds(
    *,
    kubeconfig: _Kubeconfig = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for all of it.")] = 90.0,
) -> None:
    settings = _settings(kubeconfig)
    try:
        asyncio.run(_applied(settings, timeout))
    except CrdsNotApplied as error:
        _give_up(NOT_WELL, str(error))
    except Forbidden as error:
        _give_up(FAILED, f"{error}: it takes the right to get, create and patch customresourcedefinitions")
    except ApiError as error:
        _give_up(FAILED, str(error))


def _selfcheck(
    *,
    kubeconfig: _Kubeconfig = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait until all is well.")] = 60.0,
) -> None:
    settings = _settings(kubeconfig)
    try:
        finding = asyncio.run(_checked(settings, timeout))
    except ApiError as error:
        _give_up(FAILED, str(error))
    if finding.problems:
        _give_up(NOT_WELL, "; ".join(finding.problems))
    typer.echo(visible(f"{finding.leader} leads; nodes that can run VMs: {', '.join(finding.ready)}"))


async def _applied(settings: Settings, timeout: float) -> None:  # noqa: ASYNC109 - handed on
    async with await _connected(settings) as api:
        definitions = [definition(resource) for resource in CUSTOM_RESOURCES]
        await apply_crds(api, definitions, timeout=timeout, say=typer.echo)


async def _checked(settings: Settings, timeout: float) -> Finding:  # noqa: ASYNC109 - handed on
    async with await _connected(settings) as api:
        return await check_until_well(api, settings, timeout=timeout, now=lambda: dt.datetime.now(dt.UTC))


async def _connected(settings: Settings) -> ApiClient:
    found = locate(settings.kubeconfig, os.environ, Path.home())
    return await ApiClient.connect(
        found, user_agent=f"berth-operator-install/{version('berth')}", deadline=settings.request_deadline
    )


def _settings(kubeconfig: Path | None) -> Settings:
    try:
        settings = Settings()
    except ValidationError as error:
        _give_up(FAILED, f"the settings (BERTH_OPERATOR_…) are not valid: {error}")
    return settings if kubeconfig is None else settings.model_copy(update={"kubeconfig": kubeconfig})


def _give_up(status: int, message: str) -> NoReturn:
    typer.echo(visible(f"error: {message}"), err=True)
    raise typer.Exit(status)
