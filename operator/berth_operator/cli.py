"""The command line of `berth-operator`: alone it runs the operator, `explain vm` says why a VM is where it is.

What an installation runs is in `installcommands`. `explain` is for people at their own machines: it needs their
kubeconfig and the right to read, not the operator.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from berth_api.client import Api, ApiClient, ApiError, Forbidden
from berth_operator import explaining
from berth_operator.explaining import Unexplainable
from berth_operator.explanations import Explanation, NodeAccount
from berth_operator.installations import SCHEDULER, Installation, UnclearInstallation, find_installation
from berth_operator.installcommands import add_commands
from berth_operator.kubeconfigs import locate, namespace_of
from berth_operator.schedulerconfigs import ConfigError, parse_profiles, read_profiles
from berth_operator.scheduling.profiles import Profile
from berth_operator.settings import Settings
from berth_operator.tables import as_json, as_text, new_console, visible

PLACEABLE, UNSCHEDULABLE, FAILED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of `explain`."""
_EXPLAIN_HELP = """Show which node the scheduler would choose for a VM, and why: every node, filter and score.

Reads the cluster once and changes nothing. A VM that is bound already is explained as if its claim were given back.

Exit code: 0 a node would take it; 1 none would, or something else keeps it from being bound; 2 it could not be
explained.
"""


class Output(StrEnum):
    """How to print."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


@dataclass(frozen=True)
class Subject:
    """What is to be explained, and by which rules."""

    name: str
    namespace: str
    kubeconfig: Path | None
    berth_namespace: str | None
    settings: Mapping[str, Any]
    """Those that were given with the command."""


@dataclass(frozen=True)
class View:
    """Which nodes to show, and how."""

    patterns: Sequence[str]
    failed: bool
    output: Output

    def select(self, nodes: Sequence[NodeAccount]) -> list[NodeAccount]:
        """The nodes to show."""
        return [
            node
            for node in nodes
            if not (self.failed and node.feasible)
            and (not self.patterns or any(fnmatchcase(node.name, pattern) for pattern in self.patterns))
        ]


def new_app(operate: Callable[[], None]) -> typer.Typer:
    """The command line.

    Args:
        operate: Runs the operator: what happens where no command is given.
    """
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Berth's operator. Without a command it runs, told by its environment (BERTH_OPERATOR_…).",
    )
    explain = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Say why something is as it is.")
    explain.command("vm", help=_EXPLAIN_HELP)(explain_vm)
    app.add_typer(explain, name="explain")
    add_commands(app)

    @app.callback(invoke_without_command=True)
    def run(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            operate()

    return app


def main(operate: Callable[[], None]) -> None:
    """Read the command line and do what it says; see `new_app`."""
    new_app(operate)(prog_name="berth-operator")


def explain_vm(
    name: Annotated[str, typer.Argument(help="The VirtualMachine.")],
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Its namespace; left out: the kubeconfig's.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Left out: BERTH_OPERATOR_KUBECONFIG, else as kubectl finds it.")
    ] = None,
    scheduler_config: Annotated[
        Path | None, typer.Option(help="The operator's file of profiles; left out: as the operator is told.")
    ] = None,
    berth_namespace: Annotated[
        str | None,
        typer.Option(help="Where Berth is; left out: BERTH_OPERATOR_NAMESPACE, else where its Deployment is."),
    ] = None,
    anchor: Annotated[
        bool | None,
        typer.Option("--anchor/--no-anchor", help="Nodes have anchor Pods; left out: as the operator is told."),
    ] = None,
    nodes: Annotated[
        list[str] | None, typer.Option("--nodes", help="Show only these: names, with * and ? as in a shell.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Show only nodes that would not take it.")] = False,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="wide: a column for every filter and score.")
    ] = Output.TABLE,
) -> None:
    """Explain a VM's placement; see `_EXPLAIN_HELP`."""
    patterns = [part for text in nodes or () for part in text.split(",") if part]
    given = {"namespace": berth_namespace, "scheduler_config": scheduler_config, "anchor": anchor}
    given = {option: value for option, value in given.items() if value is not None}
    try:
        found = locate(kubeconfig or Settings().kubeconfig, os.environ, Path.home())
        subject = Subject(name, namespace or namespace_of(found), found, berth_namespace, given)
        explanation = asyncio.run(_explain(subject))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except ValidationError as error:
        _give_up(f"the settings (BERTH_OPERATOR_…) are not valid: {error}")
    except Forbidden as error:
        _give_up(f"{error}: to explain, one needs the right to list all that the scheduler looks at")
    except (ApiError, Unexplainable, UnclearInstallation, ConfigError) as error:
        _give_up(str(error))
    _show(explanation, View(patterns, failed, output))
    raise typer.Exit(PLACEABLE if explanation.chosen is not None else UNSCHEDULABLE)


async def _explain(subject: Subject) -> Explanation:
    own = Settings()
    async with await ApiClient.connect(
        subject.kubeconfig, user_agent=f"berth-operator-explain/{version('berth')}", deadline=own.request_deadline
    ) as api:
        found = await _installation(api, subject, own)
        settings = _settings(subject, own, found)
        return await explaining.explain(
            api,
            settings,
            _profiles(settings, found),
            namespace=subject.namespace,
            name=subject.name,
            clock=time.monotonic,
            notes=found.notes,
        )


async def _installation(api: Api, subject: Subject, own: Settings) -> Installation:
    """The one that is meant: in the operator's own Pod the environment says all there is to know."""
    if subject.berth_namespace is None and "namespace" in own.model_fields_set:
        return Installation(own.namespace)
    profiles = "scheduler_config" not in own.model_fields_set | subject.settings.keys()
    return await find_installation(api, subject.berth_namespace, profiles=profiles)


def _settings(subject: Subject, own: Settings, found: Installation) -> Settings:
    """What was given with the command wins over the environment, that over what the operator was told."""
    told: dict[str, Any] = {name: text for name, text in found.settings.items() if name not in own.model_fields_set}
    given = {"namespace": found.namespace, **subject.settings}
    return Settings(**told).model_copy(update=given)


def _profiles(settings: Settings, found: Installation) -> Mapping[str, Profile]:
    if settings.scheduler_config is None and found.profiles is not None:
        return parse_profiles(found.profiles, f"in ConfigMap {found.namespace}/{SCHEDULER}")
    return read_profiles(settings.scheduler_config)


def _show(explanation: Explanation, view: View) -> None:
    shown = view.select(explanation.nodes)
    if explanation.nodes and not shown:
        _warn("no node matches --nodes and --failed: none is shown")
    wide = view.output is Output.WIDE
    if view.output is Output.JSON:
        text = as_json(explanation, shown) + "\n"
    else:
        text = as_text(explanation, shown, new_console(sys.stdout, wide=wide), wide=wide)
    sys.stdout.write(text)
    sys.stdout.flush()


def _warn(message: str) -> None:
    typer.echo(visible(message), err=True)


def _give_up(message: str) -> NoReturn:
    _warn(f"error: {message}")
    raise typer.Exit(FAILED)
