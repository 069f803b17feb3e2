"""From libvirt's events to work. An event is a hint to look; what is true is found out by looking."""

import structlog

from berth_agent.handlers.intake import Intake
from berth_agent.hypervisor.ports import HypervisorPort
from berth_agent.hypervisor.states import ConnectionChange, ConnectionEvent
from berth_agent.reconcile.rounds import Owner

log = structlog.get_logger()


async def follow(hypervisor: HypervisorPort, intake: Intake) -> None:
    """Follow events until cancelled."""
    async with hypervisor.events() as events:
        async for event in events:
            if not isinstance(event, ConnectionEvent):
                log.debug("domain event", kind=event.kind, vm=f"{event.owner.namespace}/{event.owner.name}")
                intake.domain_changed(Owner(*event.owner))
            elif event.change is ConnectionChange.DISCONNECTED:
                log.warning("libvirt is gone, guests go on", detail=event.detail)
                intake.libvirt_lost()
            else:
                intake.libvirt_returned()
