"""The operator as a program: everything is put together here, by hand, once."""

import asyncio
import logging
import sys
from importlib.metadata import version

import kopf
from pydantic import ValidationError

from berth_api import logs
from berth_api.client import ApiClient, ApiError, Reflector
from berth_api.serving import CannotServe, serving
from berth_api.watching import watch_settings
from berth_operator import cli
from berth_operator.apimetrics import MeteredApi
from berth_operator.handlers.registry import build_registry
from berth_operator.leases import Election
from berth_operator.metrics import Metrics, new_registry
from berth_operator.operation import Operation
from berth_operator.pages import Pages
from berth_operator.schedulerconfigs import ConfigError, read_profiles
from berth_operator.scheduling.filters import FILTERS
from berth_operator.services import Service
from berth_operator.settings import Settings

_LOGGER = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Run the operator until it is told to stop.

    Raises:
        ApiError: there are no credentials.
    """
    loop = asyncio.get_running_loop()
    async with await ApiClient.connect(
        settings.kubeconfig, user_agent=f"berth-operator/{version('berth')}", deadline=settings.request_deadline
    ) as api:
        profiles = read_profiles(settings.scheduler_config)
        registry = new_registry()
        metrics = Metrics(registry, profiles=profiles, filters=[each.name for each in FILTERS])
        metered = MeteredApi(api, registry)
        operation = Operation(metered, settings, profiles=profiles, metrics=metrics, clock=loop.time)
        election = Election(
            metered,
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=settings.identity,
            times=settings.lease_times,
            clock=loop.time,
        )
        busy = [
            Reflector(api, each.kind, each, namespace=each.namespace, label_selector=each.label_selector)
            for each in operation.cluster.busy
        ]
        service = Service(metered, operation, election, busy)
        pages = Pages(operation, election)
        async with serving(pages.at(settings, registry)):
            await kopf.operator(
                registry=build_registry(
                    operation.cluster,
                    login=api.connection,
                    start=service.start,
                    stop=service.stop,
                ),
                settings=watch_settings({}),
                clusterwide=True,
                stop_flag=service.stopped,
            )
        service.result()


def operate() -> None:
    """Run the operator, as the environment says."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"the settings (BERTH_OPERATOR_…) are not valid: {error}")
    logs.configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(run(settings))
    except (ApiError, CannotServe, ConfigError) as error:
        sys.exit(f"cannot start: {error}")


def main() -> None:
    """Entry point of the console script `berth-operator`."""
    cli.main(operate)


if __name__ == "__main__":
    main()
