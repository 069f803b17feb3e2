"""The node's Hypervisor object: made by the agent, its status kept true, written only when it changes."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import structlog
from pydantic import ValidationError

from berth_agent.hypervisor.errors import HypervisorError
from berth_agent.hypervisor.states import HostCapabilities
from berth_agent.network.errors import NetworkError
from berth_agent.node.conditions import Trouble, conditions_of
from berth_agent.node.remains import RemainsReporter
from berth_agent.reconcile.handovers import set_apart
from berth_agent.reconcile.plan.hardware import NEWEST
from berth_agent.reconcile.rounds import LOOK_ERRORS, Tools
from berth_agent.reconcile.steps.chains import chain_of
from berth_api.client import AlreadyExists, ApiError
from berth_api.fields import AGENT
from berth_api.hypervisors import (
    FirmwareKind,
    HypervisorCapacity,
    HypervisorImage,
    HypervisorNetwork,
    HypervisorStatus,
)
from berth_api.kinds import HYPERVISOR
from berth_api.quantities import from_bytes, from_millis
from berth_api.virtualnetworks import VirtualNetwork
from berth_api.workqueues import TryLater

log = structlog.get_logger()


LOOK_AGAIN_AFTER = 10.0
"""Seconds until a libvirt that does not answer is asked again; that it has returned is told by an event, mostly."""


def _now() -> datetime:
    """Now, in whole seconds, as the API's times are."""
    return datetime.now(UTC).replace(microsecond=0)


class NodeReporter:
    """Writes the status of the node's Hypervisor."""

    def __init__(
        self,
        tools: Tools,
        *,
        agent_version: str,
        now: Callable[[], datetime] = _now,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._tools = tools
        self._version = agent_version
        self._now = now
        self._written: tuple[str, Mapping[str, Any]] | None = None
        """What was last written, and the UID of the object that it was written on."""
        self._shown: Mapping[str, Any] | None = None
        """What the object showed of it: definitions of another release drop what they do not know."""
        self._remains = RemainsReporter(tools, clock=clock)

    async def ensure_object(self) -> None:
        """Make the Hypervisor if there is none, with an empty spec: the spec is the administrator's.

        Raises:
            ApiError: the API server refused.
        """
        node = self._tools.node_name
        try:
            found = await self._tools.api.create(HYPERVISOR, {"metadata": {"name": node}, "spec": {}})
        except AlreadyExists:
            found = await self._tools.api.get(HYPERVISOR, node)
        self._tools.view.put(HYPERVISOR, found)

    async def report(self) -> float | None:
        """Look at the node, and write what has changed. A Hypervisor that somebody deleted is made again.

        What cannot be looked at now is left as it was last known, and the conditions say so.

        Returns:
            Seconds after which to look again; None: nothing is known to be amiss.

        Raises:
            ApiError: it could not be written.
            TryLater: the node could not be looked at.
        """
        node = self._tools.node_name
        if self._tools.view.hypervisor(node) is None:
            await self.ensure_object()
        known = self._tools.view.hypervisor(node)
        libvirt, trouble = await self._ask_libvirt(), None
        try:
            status = await self._status()
        except LOOK_ERRORS as error:
            log.warning("node cannot be looked at", reason=type(error).__name__, error=str(error))
            trouble = Trouble.of(error)
            status = known.status if known is not None else HypervisorStatus()
        before = known.status.conditions if known is not None else ()
        conditions = conditions_of(before, libvirt=libvirt, node=trouble, now=self._now())
        # Before all else: when the node is Ready, VMs whose guests are here must not go elsewhere any more.
        owed = await self._remains.tell()
        await self._write(status.model_copy(update={"conditions": conditions}).applied())
        if trouble is not None:
            raise TryLater(trouble.message)
        return LOOK_AGAIN_AFTER if libvirt is not None else owed

    async def _ask_libvirt(self) -> Trouble | None:
        """Whether libvirt answers, and what it says now: it may have been upgraded."""
        try:
            self._tools.facts.capabilities = await self._tools.hypervisor.capabilities()
        except HypervisorError as error:
            log.warning("libvirt does not answer, guests go on", reason=error.reason, error=str(error))
            return Trouble.of(error)
        await self._tools.facts.pools.refresh(self._tools.view.pools())
        return await self._look_for_remains()

    async def _write(self, status: Mapping[str, Any]) -> None:
        """Write what is new, or what the Hypervisor does not show any more: somebody may have emptied it."""
        node = self._tools.node_name
        known = self._tools.view.hypervisor(node)
        uid = known.metadata.uid if known is not None else ""
        is_there = known is None or self._shown in (None, known.status.applied())
        if (uid, status) == self._written and is_there:
            return
        self._written = None
        written = await self._tools.api.apply(
            HYPERVISOR, node, "", {"status": status}, field_manager=AGENT, subresource="status"
        )
        self._tools.view.put(HYPERVISOR, written)
        self._written, self._shown = (uid, status), _shown_by(written)

    async def _status(self) -> HypervisorStatus:
        host, pods = self._tools.facts.capabilities, self._tools.view.pod_requests()
        return HypervisorStatus(
            capacity=HypervisorCapacity(cpu=str(host.cpus), memory=from_bytes(host.memory)),
            accelerator=host.accelerator,
            architecture=host.architecture,
            hypervisor_version=host.hypervisor_version,
            libvirt_version=host.libvirt_version,
            agent_version=self._version,
            cpu_models=tuple(sorted(host.cpu_models)),
            cpu_features=tuple(sorted(host.cpu_features)),
            machine_types=tuple(sorted({*host.machine_types, NEWEST})),
            firmware=_firmware(host),
            networks=tuple([await self._network(network) for network in _by_name(self._tools.view.networks())]),
            images=tuple(
                HypervisorImage(
                    digest=image.digest,
                    format=image.format,
                    virtual_size=from_bytes(image.virtual_size),
                    size=from_bytes(image.size),
                )
                for image in await self._tools.images.images()
            ),
            storage_pools=self._tools.facts.pools.reports(),
            pod_requests=HypervisorCapacity(cpu=from_millis(pods.cpu), memory=from_bytes(pods.memory)),
            public_key=self._tools.key.public,
        )

    async def _look_for_remains(self) -> Trouble | None:
        """See whether other clusters' guests are still there. None come while the agent runs."""
        if not self._tools.facts.remains:
            return None
        try:
            await set_apart(self._tools, await self._tools.hypervisor.domains(), search=False)
        except HypervisorError as error:
            return Trouble.of(error)
        return None

    async def _network(self, network: VirtualNetwork) -> HypervisorNetwork:
        name = network.metadata.name
        try:
            self._tools.attachments.check_chain(await chain_of(self._tools.api, network))
        except (NetworkError, ApiError) as error:
            if isinstance(error, ApiError) and error.retryable:
                raise
            return HypervisorNetwork(name=name, ready=False, message=str(error))
        return HypervisorNetwork(name=name, ready=True)


def _firmware(host: HostCapabilities) -> tuple[FirmwareKind, ...]:
    efi: tuple[FirmwareKind, ...] = ("EFI",) if host.efi else ()
    secure: tuple[FirmwareKind, ...] = ("SecureBoot",) if host.secure_boot else ()
    return ("BIOS", *efi, *secure)


def _shown_by(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The agent's part of the status as the API server has it; None: this version cannot read it."""
    try:
        return HypervisorStatus.model_validate(body.get("status") or {}).applied()
    except ValidationError:
        return None


def _by_name(networks: Any) -> list[VirtualNetwork]:
    return sorted(networks, key=lambda network: network.metadata.name)
