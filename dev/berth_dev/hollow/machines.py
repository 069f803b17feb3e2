"""What a hollow node reads of a VM: the claim, the answers that it has, and little else, for there are many."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from berth_api.quantities import to_bytes, to_millis

AGENTS_CONDITIONS = ("DisksReady", "NetworkReady", "Ready", "RestartRequired")
Key = tuple[str, str]
"""Namespace and name of a VM."""


@dataclass(frozen=True, slots=True)
class Nic:
    """A NIC as the operator claimed it; addresses with prefix length."""

    name: str
    network_name: str
    mac_address: str
    ip_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a binding takes from its node: millicores, and bytes of memory and of each pool."""

    id: str
    epoch: int
    cpu: int
    memory: int
    pools: Mapping[str, int] = field(default_factory=dict)
    nics: tuple[Nic, ...] = ()


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that the VM asks for."""

    name: str
    size: str
    pool: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A VM as its node's agent sees it."""

    key: Key
    uid: str
    version: int
    generation: int
    node: str = ""
    """Where it is bound; empty: nowhere."""
    claim: Claim | None = None
    admitted: str = ""
    refused: str = ""
    released: str = ""
    stopped: str = ""
    """The claim under which the guest is off, and stays off."""
    phase: str = ""
    observed_generation: int = 0
    started_at: str = ""
    is_deleted: bool = False
    """Its object waits for the claim to be released."""
    is_halted: bool = False
    disks: tuple[Disk, ...] = ()
    conditions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The agent's conditions: type to status and time of its last transition."""

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Machine":
        """Read a VirtualMachine that the API server sent.

        Raises:
            KeyError, ValueError, TypeError: It is none, or not of this version.
        """
        metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
        return cls(
            key=(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            version=int(metadata["resourceVersion"]),
            generation=int(metadata.get("generation", 0)),
            node=status.get("nodeName") or "",
            claim=_claim(status["claim"]) if status.get("claim") else None,
            admitted=status.get("admittedClaim") or "",
            refused=status.get("refusedClaim") or "",
            released=status.get("releasedClaim") or "",
            stopped=status.get("stoppedClaim") or "",
            phase=status.get("phase") or "",
            observed_generation=int(status.get("observedGeneration") or 0),
            started_at=status.get("startedAt") or "",
            is_deleted="deletionTimestamp" in metadata,
            is_halted=spec.get("runStrategy") == "Halted",
            disks=tuple(_disk(disk) for disk in spec.get("disks") or ()),
            conditions={
                one["type"]: (one["status"], one["lastTransitionTime"])
                for one in status.get("conditions") or ()
                if one["type"] in AGENTS_CONDITIONS
            },
        )

    @property
    def pending(self) -> Claim | None:
        """The claim, unless its node has refused or released it: what the VM takes, admitted or not."""
        claim = self.claim
        return None if claim is None or claim.id in (self.refused, self.released) else claim

    @property
    def is_stopped(self) -> bool:
        """Whether its guest is off until there is another claim."""
        return self.claim is not None and self.claim.id == self.stopped

    @property
    def holding(self) -> Claim | None:
        """What the VM takes of its node: without CPU and memory while it is stopped."""
        claim = self.pending
        return replace(claim, cpu=0, memory=0) if claim is not None and self.is_stopped else claim

    @property
    def is_admitted(self) -> bool:
        """Whether its node has admitted the claim."""
        return self.claim is not None and self.claim.id == self.admitted


def _claim(body: Mapping[str, Any]) -> Claim:
    return Claim(
        id=body["id"],
        epoch=int(body["epoch"]),
        cpu=to_millis(body["cpu"]),
        memory=to_bytes(body["memory"]),
        pools={pool["name"]: to_bytes(pool["size"]) for pool in body.get("pools") or ()},
        nics=tuple(
            Nic(nic["name"], nic["networkName"], nic["macAddress"], tuple(nic.get("ipAddresses") or ()))
            for nic in body.get("interfaces") or ()
        ),
    )


def _disk(body: Mapping[str, Any]) -> Disk:
    return Disk(body["name"], str(body.get("size") or "0"), body.get("storagePoolName") or "default")
