"""Whether the API, libvirt, the kernel and the guests agree with what users asked for."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.e2e.conftest import VM, World, address_of, http_answer
from tests.e2e.faults.models import Machine, Model
from tests.e2e.faults.watchers import GuestWatcher

_OFF = ("Stopped", "Failed")
_ANSWER_SECONDS = 180.0
"""For a tiny guest to boot and answer, beside five others, on a busy machine."""
_REQUEST_SECONDS = 10.0


@dataclass(frozen=True)
class Agreement:
    """Looks at everything that can be looked at.

    Attributes:
        world: The namespace and its cluster.
        model: What must be true.
        watcher: Knows which guests run.
    """

    world: World
    model: Model
    watcher: GuestWatcher

    def disagreements(self) -> list[str]:
        """What is not yet, or not any more, as it must be; in words."""
        listed = {vm["metadata"]["name"]: vm for vm in json.loads(self.world.kubectl("get", VM, "-o", "json"))["items"]}
        found = [
            f"{name} should be gone, and is {_phase(listed[name])}" for name in listed.keys() - self.model.machines
        ]
        found += [f"{name} is not there" for name in self.model.machines.keys() - listed]
        for name in sorted(listed.keys() & self.model.machines):
            found += self._of_object(name, self.model.machines[name], listed[name])
        return found + list(self._of_domains(listed))

    def _of_object(self, name: str, machine: Machine, vm: Mapping[str, Any]) -> Iterator[str]:
        status, metadata, node = vm.get("status", {}), vm["metadata"], vm.get("status", {}).get("nodeName")
        if status.get("observedGeneration") != metadata["generation"]:
            yield f"{name}: generation {metadata['generation']} is not observed, but {status.get('observedGeneration')}"
        phase = _phase(vm)
        if machine.node and node != machine.node:
            yield f"{name} is on {node}, and pinned to {machine.node}"
        running = self.watcher.running().get(f"{self.world.namespace}_{name}", [])
        runs = machine.runs if machine.runs is not None else bool(running)
        wanted = (("Paused",) if machine.paused else ("Running",)) if runs else _OFF
        if phase not in wanted:
            yield f"{name} is {phase}, and should be {' or '.join(wanted)}: {_conditions(vm)}"
        if [one.node for one in running] != ([node] if runs else []):
            where = [f"{one.node} (process {one.guest.identity.pid})" for one in running]
            yield f"{name} should {'run on ' + str(node) if runs else 'be off'}, and runs on: {where}"
        asked = vm["spec"].get("restartedAt")
        if runs and asked is not None and status.get("restartedAt") != asked:
            yield f"{name} should have been restarted as of {asked}, and was as of {status.get('restartedAt')}"

    def _of_domains(self, listed: Mapping[str, Any]) -> Iterator[str]:
        """Libvirt's view: the domains of each node are those of its VMs, and in the state that they should be in."""
        for node in self.world.cluster.nodes:
            rows = node.exec(["virsh", "-q", "list", "--all"]).stdout.splitlines()
            states = {cells[1]: cells[2] for row in rows if len(cells := row.split(maxsplit=2)) == 3}
            ours = {name: state for name, state in states.items() if name.startswith(f"{self.world.namespace}_")}
            for domain, state in ours.items():
                name = domain.removeprefix(f"{self.world.namespace}_")
                machine = self.model.machines.get(name)
                at = listed.get(name, {}).get("status", {}).get("nodeName")
                if machine is None or at != node.name:
                    yield f"{node.name} has a domain {domain} ({state}) that does not belong there, but on {at}"
                elif machine.runs and state != ("paused" if machine.paused else "running"):
                    yield f"{domain} is {state} in libvirt"

    def restarts(self) -> list[str]:
        """Guests that were started more often than anybody asked for."""
        found = []
        for name, machine in (self.model.machines | self.model.deleted).items():
            starts = self.watcher.starts(f"{self.world.namespace}_{name}")
            if starts > machine.starts:
                found.append(f"{name} was started {starts} times, and should have been at most {machine.starts} times")
        return found

    def silences(self) -> list[str]:
        """Running guests that do not answer over HTTP, or say that they booted more often than they were started."""
        vms = json.loads(self.world.kubectl("get", VM, "-o", "json"))["items"]
        running = [vm for vm in vms if _phase(vm) == "Running"]
        with ThreadPoolExecutor(max(1, len(running))) as pool:
            return [text for texts in pool.map(self._hear, running) for text in texts]

    def _hear(self, vm: Mapping[str, Any]) -> list[str]:
        name = vm["metadata"]["name"]
        try:
            said = http_answer(address_of(dict(vm)), seconds=_ANSWER_SECONDS, timeout=_REQUEST_SECONDS)
        except OSError as error:
            return [f"{name} does not answer at {address_of(dict(vm))}: {error}"]
        starts = self.watcher.starts(f"{self.world.namespace}_{name}")
        too_often = [f"{name} has booted {said['boots']} times, in {starts} processes"]
        return too_often if int(said["boots"]) > starts else []


def _phase(vm: Mapping[str, Any]) -> str:
    return str(vm.get("status", {}).get("phase", "without a phase"))


def _conditions(vm: Mapping[str, Any]) -> str:
    conditions = vm.get("status", {}).get("conditions", [])
    return "; ".join(f"{one['type']}={one['status']} {one['reason']} {one['message'][:120]}" for one in conditions)
