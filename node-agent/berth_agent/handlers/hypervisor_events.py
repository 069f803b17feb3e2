"""From libvirt's events to work. An event is a hint to look; what is true is found out by looking."""

from collections.abc import Callable

import structlog

from berth_agent.handlers.intake import Intake
from berth_agent.hypervisor.ports import HypervisorPort
from berth_agent.hypervisor.states import ConnectionChange, ConnectionEvent, DomainEventKind
from berth_agent.reconcile.rounds import Owner

log = structlog.get_logger()
_BY_THE_GUEST = (DomainEventKind.AGENT_CONNECTED, DomainEventKind.AGENT_DISCONNECTED, DomainEventKind.REBOOTED)
"""What a guest can do as often as it likes, and goes on running."""


async def follow(
    hypervisor: HypervisorPort, intake: Intake, rebooted: Callable[[str], None] = lambda _uid: None
) -> None:
    """Follow events until cancelled; `rebooted` is told the UID of a VM whose guest has rebooted itself."""
    async with hypervisor.events() as events:
        async for event in events:
            if not isinstance(event, ConnectionEvent):
                log.debug("domain event", kind=event.kind, vm=f"{event.owner.namespace}/{event.owner.name}")
                if event.kind is DomainEventKind.REBOOTED:
                    rebooted(event.owner.uid)
                if event.kind in _BY_THE_GUEST:
                    intake.guest_changed(Owner(*event.owner))
                else:
                    intake.domain_changed(Owner(*event.owner))
            elif event.change is ConnectionChange.DISCONNECTED:
                log.warning("libvirt is gone, guests go on", detail=event.detail)
                intake.libvirt_lost()
            else:
                intake.libvirt_returned()
