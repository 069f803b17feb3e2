"""The node's network in memory: what is attached, in which order it was asked for, and faults on demand."""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from berth_agent.network.attachments import Attachment, AttachmentRequest, AttachmentState
from berth_agent.network.chains import Chain
from berth_agent.network.errors import NetworkError


class FakeAttachments:
    """Attributes: `here`, what is attached by owner and interface; `calls`, what was asked for; `faults`, to raise."""

    def __init__(self) -> None:
        self.here: dict[tuple[str, str], AttachmentState] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: deque[NetworkError] = deque()

    async def attach(self, request: AttachmentRequest) -> Attachment:
        self.calls.append(("attach", request.interface))
        if self.faults:
            raise self.faults.popleft()
        key = request.owner_uid, request.interface
        if key in self.here and self.here[key].attachment is not None and self.here[key].broken is None:
            return self.here[key].attachment  # type: ignore[return-value]  # just checked
        attachment = Attachment(
            interface=request.interface,
            container_id=f"c{len(self.calls)}",
            sandbox=f"berth-{request.interface}",
            tap_device=f"bt-{request.interface}",
            mac_address=request.mac_address or "52:54:00:00:00:01",
            ip_addresses=request.ip_addresses,
            gateway=request.gateway,
        )
        self.here[key] = AttachmentState(
            owner_uid=request.owner_uid,
            namespace=request.namespace,
            vm_name=request.vm_name,
            interface=request.interface,
            network_name=request.network_name,
            attachment=attachment,
            broken=None,
        )
        return attachment

    async def detach(self, owner_uid: str, interface: str) -> None:
        self.calls.append(("detach", interface))
        if self.faults:
            raise self.faults.popleft()
        self.here.pop((owner_uid, interface), None)

    async def hand_over(self, owner_uid: str, to: str) -> None:
        for (uid, interface), state in list(self.here.items()):
            if uid == owner_uid:
                self.calls.append(("hand over", interface))
                if self.faults:
                    raise self.faults.popleft()
                self.here[to, interface] = replace(state, owner_uid=to)
                del self.here[uid, interface]

    async def observe(self, owner_uid: str | None = None) -> Mapping[str, tuple[AttachmentState, ...]]:
        found: dict[str, tuple[AttachmentState, ...]] = {}
        for (uid, _), state in self.here.items():
            if owner_uid in (None, uid):
                found[uid] = (*found.get(uid, ()), state)
        return found

    async def owners(self) -> frozenset[str]:
        return frozenset(uid for uid, _ in self.here)

    def announce(self, owner_uid: str, attachment: Attachment) -> None:
        assert (owner_uid, attachment.interface) in self.here, "only what is attached is announced"
        self.calls.append(("announce", attachment.interface))

    def check_chain(self, chain: Chain) -> None:
        """Every chain can be run here."""
