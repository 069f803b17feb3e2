"""VMs that live on: what their nodes' agents say of them, for tests of what the operator makes of it."""

from typing import Any

from tests.unit.operator.gates import GatedWorld

from berth_api import kinds
from berth_api.virtualmachines import Claim


class Lives(GatedWorld):
    """A world with agents that are played by hand."""

    def claim(self, name: str) -> Claim:
        claim = self.vm(name).status.claim
        assert claim is not None
        return claim

    async def runs(self, name: str, **more: Any) -> None:
        """The agent has started the guest, just as the spec asks."""
        vm = self.vm(name)
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "GuestRunning",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status: dict[str, Any] = {
            "phase": "Running",
            "admittedClaim": self.claim(name).id,
            "startedAt": "2026-01-01T00:00:00Z",
            "observedGeneration": vm.metadata.generation,
            "conditions": [ready],
        }
        await self.agent(name, **{**status, **more})

    async def stops(self, name: str, **more: Any) -> None:
        """The guest is off, and stays off under this claim."""
        vm, claim = self.vm(name), self.claim(name).id
        ended = {"endedAt": "2026-01-01T00:10:00Z", "endReason": "Stopped"}
        status = {"admittedClaim": claim, "stoppedClaim": claim, "observedGeneration": vm.metadata.generation}
        await self.agent(name, **{"phase": "Stopped", **status, **ended, **more})

    async def refuses_to_start(self, name: str, admitted: str) -> None:
        """The agent does not take the claim under which the guest was to start."""
        why = {
            "type": "Ready",
            "status": "False",
            "reason": "ClaimRefused",
            "message": "InsufficientMemory: the node is short of 1Gi",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        await self.stops(name, admittedClaim=admitted, conditions=[why])

    async def set_strategy(self, name: str, strategy: str) -> None:
        await self.set_field(kinds.VIRTUAL_MACHINE, name, "/spec/runStrategy", strategy)

    async def set_spec(self, name: str, **spec: Any) -> None:
        body = self.api.peek(kinds.VIRTUAL_MACHINE, name, "default")
        assert body is not None
        await self.set_field(kinds.VIRTUAL_MACHINE, name, "/spec", {**body["spec"], **spec})

    async def launch(self, name: str, **spec: Any) -> None:
        """A VM is created, bound and running."""
        self.add_vm(name, **spec)
        await self.settle()
        await self.runs(name)
        await self.settle()

    def writes_about(self, name: str) -> int:
        """How often the operator wrote to the VM's status."""
        return sum(call.name == name and call.field_manager == "berth-operator" for call in self.status_writes())
