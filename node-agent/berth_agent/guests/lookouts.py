"""The lookout of rounds: probes and what guests say of themselves, as one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from berth_agent.guests.healths import Healths
from berth_agent.guests.information import Guests
from berth_agent.guests.links import GuestLink
from berth_agent.guests.presences import Presences
from berth_agent.guests.probing import ProbeKind
from berth_agent.guests.statuses import to_status
from berth_agent.reconcile.plan.observed import Observed, Power
from berth_api.virtualmachines import VirtualMachine


class GuestLookout:
    """Asks running guests how they are. Implements `berth_agent.reconcile.ports.Lookout`."""

    def __init__(
        self,
        healths: Healths,
        guests: Guests,
        presences: Presences,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._healths, self._guests, self._presences, self._now = healths, guests, presences, now
        self._first_seen: dict[str, datetime] = {}
        """Of guests of which nobody says when they were started."""

    def watch(self, vm: VirtualMachine, observed: Observed) -> None:
        """The guest is active: ask it from now on, if that is not done already."""
        uid = vm.metadata.uid
        started = observed.started_at or vm.status.started_at or self._first_seen.setdefault(uid, self._now())
        links = {
            nic.name: GuestLink(nic.device, nic.mac_address, nic.ip_addresses, nic.gateway)
            for nic in observed.interfaces.values()
            if nic.intact and nic.device
        }
        self._healths.watch(vm, started, links, paused=observed.power is not Power.RUNNING)
        self._presences.see(uid, connected=observed.guest_agent_connected)
        if observed.guest_agent_connected:
            self._guests.connected(uid)
        else:
            self._guests.disconnected(uid)

    def forget(self, uid: str) -> None:
        """The guest is off or gone."""
        self._healths.forget(uid)
        self._guests.forget(uid)
        self._presences.forget(uid)
        self._first_seen.pop(uid, None)

    def rebooted(self, uid: str) -> None:
        """The guest has rebooted by itself: it is given time to come up, and may be another system now."""
        self._healths.rebooted(uid)
        self._guests.look(uid)

    def add(self, uid: str, observed: Observed) -> Observed:
        """What was observed, with what the guest has said of itself."""
        if not observed.power.is_active:
            return observed
        live, ready, info = self._healths.live(uid), self._healths.ready(uid), self._guests.of(uid)
        failing = ProbeKind.LIVENESS if live is False else ProbeKind.READINESS
        return replace(
            observed,
            guest_agent_connected=self._presences.counts(uid),
            live=live,
            ready=ready,
            unhealthy=self._healths.why(uid, failing),
            guest=to_status(info) if info is not None else None,
        )

    async def close(self) -> None:
        """Ask nobody any more."""
        self._presences.close()
        await self._healths.close()
        await self._guests.close()
