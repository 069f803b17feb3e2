"""The operator as a program: everything is put together here, by hand, once."""

import asyncio
import logging
import sys
from collections.abc import Sequence

import kopf
from pydantic import ValidationError

from berth_api import logs
from berth_api.client import ApiClient, ApiError, Reflector
from berth_api.watching import supervise, watch_settings
from berth_operator import cli
from berth_operator.apimetrics import MeteredApi
from berth_operator.handlers.registry import build_registry
from berth_operator.leases import Election, LeaseTimes
from berth_operator.metrics import CannotServe, Metrics, new_registry, serving
from berth_operator.operation import Operation
from berth_operator.schedulerconfigs import ConfigError, read_profiles
from berth_operator.scheduling.filters import FILTERS
from berth_operator.settings import Settings

_LOGGER = logging.getLogger(__name__)
_USER_AGENT = "berth-operator/0.1.0"


class _Service:
    """Starts and stops with kopf; when it fails, kopf is told to stop, and the process ends with an error."""

    def __init__(self, operation: Operation, election: Election, reflectors: Sequence[Reflector]) -> None:
        self._operation, self._election, self._reflectors = operation, election, reflectors
        self._task: asyncio.Task[None] | None = None
        self.stopped = asyncio.Event()

    async def start(self) -> None:
        """Stand for leadership from now on."""
        self._task = asyncio.create_task(self._work(), name="operation")
        self._task.add_done_callback(lambda _: self.stopped.set())

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervise())
            for reflector in self._reflectors:
                group.create_task(reflector.run())
            group.create_task(self._election.run(self._operation.lead))

    async def stop(self) -> None:
        """Stop deciding, give the Lease back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def probe(self) -> str:
        """What the liveness probe answers.

        Raises:
            kopf.PermanentError: the operator no longer works.
        """
        if self._task is None or self._task.done():
            raise kopf.PermanentError("the operator does not run")
        return "running"

    def result(self) -> None:
        """Raise what ended the work, if anything but `stop` did."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()


async def run(settings: Settings) -> None:
    """Run the operator until it is told to stop.

    Raises:
        ApiError: there are no credentials.
    """
    loop = asyncio.get_running_loop()
    times = LeaseTimes(settings.lease_duration, settings.lease_renew_deadline, settings.lease_retry)
    async with await ApiClient.connect(
        settings.kubeconfig, user_agent=_USER_AGENT, deadline=settings.request_deadline
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
            times=times,
            clock=loop.time,
        )
        busy = [Reflector(api, each.kind, each, namespace=each.namespace) for each in operation.cluster.busy]
        service = _Service(operation, election, busy)
        async with serving(settings.metrics_url, registry):
            await kopf.operator(
                registry=build_registry(
                    operation.cluster,
                    login=api.connection,
                    start=service.start,
                    stop=service.stop,
                    probe=service.probe,
                ),
                settings=watch_settings({}),
                clusterwide=True,
                liveness_endpoint=settings.liveness_url,
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
