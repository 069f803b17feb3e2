"""Faults, done to a cluster: each is begun, held, and mended before it returns."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.e2e.faults.models import Machine, Model
from tests.e2e.faults.timelines import Timeline
from tests.e2e.faults.watchers import GuestWatcher, age
from tests.e2e.faults.workloads import Fault, Kind

from berth_dev.clusters import Cluster
from berth_dev.nodes import NodeHandle
from berth_dev.processes import ProcessIdentity, poll_until

_STARTING = 4.0
"""Seconds after its start in which a guest may have to be started again if libvirt dies: libvirt has not noted it."""
_QEMU_PATIENCE = 3.0
"""Seconds to wait for a QEMU that is to be killed: it may be starting."""


@dataclass(frozen=True)
class Breakages:
    """Breaks things, and tells the model what that entitles to.

    Attributes:
        cluster: What is broken.
        namespace: Where the VMs are.
        model: What must be true in the end.
        watcher: Knows which guests run.
        timeline: Told of everything.
        striking: Held while something is broken.
    """

    cluster: Cluster
    namespace: str
    model: Model
    watcher: GuestWatcher
    timeline: Timeline
    striking: threading.Lock = field(default_factory=threading.Lock)

    def strike(self, fault: Fault) -> None:
        """Do it, hold it, mend it."""
        with self.striking:
            self._strike(fault)
        self.start_what_ended()

    def _strike(self, fault: Fault) -> None:
        self.timeline.add(f"FAULT {fault}")
        ways: Mapping[Kind, Callable[[Fault], None]] = {
            Kind.LIBVIRTD: self._kill_libvirtd,
            Kind.QEMU: self._kill_qemu,
            Kind.REBOOT: self._reboot,
        }
        if "link" in fault.kind:
            self._break_link(fault)
        else:
            ways.get(fault.kind, self._kill_part)(fault)
        self.timeline.add(f"MENDED {fault.kind} ({fault.target})")

    def _break_link(self, fault: Fault) -> None:
        link = self.cluster.link(fault.target)
        match fault.kind.partition(" ")[0]:
            case "drop":
                link.drop()
            case "blackhole":
                link.blackhole()
            case "delay":
                link.delay(fault.value)
            case _:
                link.truncate(int(fault.value))
        time.sleep(fault.hold)
        link.heal()

    def _kill_part(self, fault: Fault) -> None:
        self.cluster.part(fault.target).kill()
        time.sleep(fault.hold)
        self.cluster.start(fault.target)

    def _kill_libvirtd(self, fault: Fault) -> None:
        node = self.cluster.node(fault.target)
        young = [machine for machine, process in self._machines_on(node) if process is None or age(process) < _STARTING]
        node.libvirtd.kill()
        for machine in young:
            machine.starts += 1
        time.sleep(fault.hold)
        node.libvirtd.start()
        node.libvirtd.wait_ready()

    def _kill_qemu(self, fault: Fault) -> None:
        domain, deadline = f"{self.namespace}_{fault.target}", time.monotonic() + _QEMU_PATIENCE
        while not (found := self.watcher.running().get(domain)):
            if not poll_until(deadline, interval=0.05):
                self.timeline.add(f"    {domain} has no process that could be killed")
                return
        process = found[0].guest.identity
        seconds = age(process)
        machine = self.model.machines.get(fault.target)
        if process.send(9) and machine is not None:
            machine.died(age=seconds)
            self.timeline.add(f"    killed process {process.pid} of {domain}, {seconds:.1f} s old")
        time.sleep(fault.hold)

    def _reboot(self, fault: Fault) -> None:
        node = self.cluster.node(fault.target)
        hit = [(machine, None if process is None else age(process)) for machine, process in self._machines_on(node)]
        node.power_off()
        for machine, seconds in hit:
            machine.died(age=seconds)
        time.sleep(fault.hold)
        node.power_on()

    def _machines_on(self, node: NodeHandle) -> list[tuple[Machine, ProcessIdentity | None]]:
        """Every VM that runs on a node, or might be about to."""
        running = self.watcher.running()
        found: list[tuple[Machine, ProcessIdentity | None]] = []
        for name, machine in list(self.model.machines.items()):
            sightings = running.get(f"{self.namespace}_{name}", [])
            here = [one.guest.identity for one in sightings if one.node == node.name]
            if here or (not sightings and machine.node in ("", node.name)):
                found.append((machine, here[0] if here else None))
        return found

    def start_what_ended(self) -> None:
        """Start what has given up by itself, as a kubelet would; while something is broken on purpose, nothing."""
        if not self.striking.acquire(blocking=False):
            return
        try:
            for part in self.cluster.parts.values():
                if not part.is_running:
                    self.timeline.add(f"!!! {part.name} has ended by itself: started again")
                    part.start()
                    part.wait_ready()
        finally:
            self.striking.release()
