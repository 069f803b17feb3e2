"""The node's Hypervisor object: made by the agent, its status kept true, written only when it changes."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from berth_agent.hypervisor.errors import HypervisorError
from berth_agent.hypervisor.states import DomainOwner, HostCapabilities
from berth_agent.network.errors import NetworkError
from berth_agent.node.conditions import Trouble, conditions_of
from berth_agent.node.facts import Remains
from berth_agent.reconcile.handovers import pools_of, set_apart, used_by
from berth_agent.reconcile.plan.hardware import NEWEST
from berth_agent.reconcile.rounds import LOOK_ERRORS, Tools
from berth_agent.reconcile.steps.chains import chain_of
from berth_agent.storage.disk_names import is_uid
from berth_api.client import AlreadyExists, ApiError, Forbidden
from berth_api.fields import AGENT
from berth_api.hypervisors import (
    FirmwareKind,
    Hypervisor,
    HypervisorCapacity,
    HypervisorImage,
    HypervisorNetwork,
    HypervisorRemains,
    HypervisorStatus,
)
from berth_api.kinds import HYPERVISOR
from berth_api.quantities import from_bytes, from_millis
from berth_api.virtualnetworks import VirtualNetwork
from berth_api.workqueues import TryLater

log = structlog.get_logger()


_MOST_REMAINS = 500
_LONGEST_NAMESPACE = 63
_LONGEST_NAME = 253
_MOST_POOLS = 24
_MOST_INTERFACES = 8
_MOST_ADDRESSES = 4
"""What the API takes: see `HypervisorRemains`."""
_MOST_BYTES = 2**19
"""Of JSON, of guests with all that is known of them: an object has to stay well below etcd's 1.5 MiB."""
LOOK_AGAIN_AFTER = 10.0
"""Seconds until a libvirt that does not answer is asked again; that it has returned is told by an event, mostly."""


def _now() -> datetime:
    """Now, in whole seconds, as the API's times are."""
    return datetime.now(UTC).replace(microsecond=0)


class NodeReporter:
    """Writes the status of the node's Hypervisor."""

    def __init__(self, tools: Tools, *, agent_version: str, now: Callable[[], datetime] = _now) -> None:
        self._tools = tools
        self._version = agent_version
        self._now = now
        self._written: tuple[str, Mapping[str, Any]] | None = None
        """What was last written, and the UID of the object that it was written on."""
        self._told: tuple[str, tuple[HypervisorRemains, ...]] | None = None
        """UID of the object, and what is another cluster's, as it was last reported, or refused."""

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
        await self._tell_remains()
        await self._write(known, status.model_copy(update={"conditions": conditions}).applied())
        if trouble is not None:
            raise TryLater(trouble.message)
        return LOOK_AGAIN_AFTER if libvirt is not None else None

    async def _ask_libvirt(self) -> Trouble | None:
        """Whether libvirt answers, and what it says now: it may have been upgraded."""
        try:
            self._tools.facts.capabilities = await self._tools.hypervisor.capabilities()
        except HypervisorError as error:
            log.warning("libvirt does not answer, guests go on", reason=error.reason, error=str(error))
            return Trouble.of(error)
        await self._tools.facts.pools.refresh(self._tools.view.pools())
        return await self._look_for_remains()

    async def _write(self, known: Hypervisor | None, status: Mapping[str, Any]) -> None:
        uid = known.metadata.uid if known is not None else ""
        if (uid, status) == self._written:
            return
        self._written = None
        node = self._tools.node_name
        written = await self._tools.api.apply(
            HYPERVISOR, node, "", {"status": status}, field_manager=AGENT, subresource="status"
        )
        self._tools.view.put(HYPERVISOR, written)
        self._written = uid, status

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

    async def _tell_remains(self) -> None:
        """Report them apart from all else, which must be told even where the cluster refuses this.

        It comes first: when the node is Ready, VMs whose guests are here must not go elsewhere any more. That there are
        none is told as well, as the first report says what may be told at all (`agent-hypervisors.yaml` of the
        policies). Of what is refused, that part is told which was told before.
        """
        known = self._tools.view.hypervisor(self._tools.node_name)
        if known is None or not self._tools.facts.knows_remains:
            return
        remains, before = self._remains(), known.status.remains
        was_told = "remains" in known.status.model_fields_set
        if self._told == (known.metadata.uid, remains) or (was_told and remains == before):
            return
        uids = {guest.uid for guest in before}
        self._told = None
        if not await self._put_remains(known, remains) and was_told:
            await self._put_remains(known, tuple(guest for guest in remains if guest.uid in uids))
        self._told = known.metadata.uid, remains

    async def _put_remains(self, known: Hypervisor, remains: tuple[HypervisorRemains, ...]) -> bool:
        """Replace the whole list: an apply of an empty one takes the field away, and it would be told of anew."""
        told = [guest.to_api() for guest in remains]
        is_first = "status" not in known.model_fields_set
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": known.metadata.uid},
            {"op": "add", "path": "/status", "value": {"remains": told}}
            if is_first
            else {"op": "add", "path": "/status/remains", "value": told},
        ]
        try:
            written = await self._tools.api.patch_json(
                HYPERVISOR, self._tools.node_name, "", operations, subresource="status"
            )
        except Forbidden as error:
            log.warning("guests of another cluster may not be reported", error=str(error), guests=len(remains))
            return False
        self._tools.view.put(HYPERVISOR, written)
        return True

    def _remains(self) -> tuple[HypervisorRemains, ...]:
        """Other clusters' guests, with what they use: they are left alone, and no VM gets their room."""
        accelerator = self._tools.facts.capabilities.accelerator
        nameable = (remains for remains in self._tools.facts.remains if _is_nameable(remains.owner))
        told, left = [], _MOST_BYTES
        for remains in sorted(nameable, key=lambda each: each.domain is None)[:_MOST_REMAINS]:
            guest = _guest(remains, accelerator)
            left -= len(guest.model_dump_json(by_alias=True))
            told.append(guest if left >= 0 else guest.model_copy(update={"interfaces": ()}))
        return tuple(sorted(told, key=lambda guest: guest.uid))

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


def _guest(remains: Remains, accelerator: str) -> HypervisorRemains:
    """As the API server takes it; a NIC of which it would not is left out."""
    used = used_by(remains, accelerator)
    return HypervisorRemains(
        **remains.owner._asdict(),
        cpu=used.cpu,
        memory=used.memory,
        pools=pools_of(remains)[:_MOST_POOLS],
        interfaces=tuple(
            nic.model_copy(update={"ip_addresses": nic.ip_addresses[:_MOST_ADDRESSES]})
            for nic in remains.interfaces[:_MOST_INTERFACES]
        ),
    )


def _is_nameable(owner: DomainOwner) -> bool:
    """Whether the API server takes it: a record that somebody wrote by hand must not hold up the others."""
    return is_uid(owner.uid) and len(owner.namespace) <= _LONGEST_NAMESPACE and len(owner.name) <= _LONGEST_NAME


def _by_name(networks: Any) -> list[VirtualNetwork]:
    return sorted(networks, key=lambda network: network.metadata.name)
