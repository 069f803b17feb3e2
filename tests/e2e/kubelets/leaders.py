"""Which operator leads, how it is killed, and what the record says of a change of leaders."""

import signal
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.kubelets.installations import NAMESPACE
from tests.e2e.kubelets.records import LEASES, VMS, Change, Recorder

from berth_dev import cgroups, runs
from berth_dev.clusters import Cluster
from berth_dev.nodes import NodeHandle
from berth_dev.processes import ProcessIdentity

LEASE = "berth-operator"
_GONE_WITHIN = 10.0


def lease(recorder: Recorder) -> Mapping[str, Any]:
    """What the leader's Lease says."""
    spec: Mapping[str, Any] = recorder.get(LEASES, LEASE, NAMESPACE).get("spec", {})
    return spec


def leader(recorder: Recorder) -> str:
    """The Pod that leads; empty while none does."""
    return str(lease(recorder).get("holderIdentity", "")).rpartition("_")[0]


def operator_process(cluster: Cluster, pod: Mapping[str, Any]) -> ProcessIdentity:
    """The operator's own process in its Pod."""
    (found,) = (
        each
        for each in runs.find(cluster.run.run_id)
        if pod["metadata"]["uid"] in _read(each.pid, "cgroup") and "berth-operator" in _read(each.pid, "cmdline")
    )
    return found


def kill(process: ProcessIdentity) -> None:
    """End a process as the kernel's OOM killer does."""
    assert process.send(signal.SIGKILL)
    assert process.wait_gone(_GONE_WITHIN)


def stop_pods(cluster: Cluster, node: NodeHandle) -> None:
    """End the node's kubelet, its containerd and every container at once; libvirt and its guests are not theirs."""
    group, holder = cgroups.path_of(cluster.run.run_id, node.name), node.holder.identity
    assert holder is not None
    node.kubelet.kill()
    node.containerd.kill()
    assert runs.end_where(lambda pid: cgroups.holds(group, pid), but=holder)


def start_pods(node: NodeHandle) -> None:
    """Bring them back, as the node's init would."""
    for part in (node.containerd, node.kubelet):
        part.start()
        part.wait_ready(180)


@dataclass
class Bindings:
    """What was ever decided about one VM.

    Attributes:
        claims: Ids, in the order in which it was bound by them.
        admitted: Those that an agent took.
        refused: Those that an agent turned down.
        faults: Decisions that were made while the one before still stood.
    """

    claims: list[str] = field(default_factory=list)
    admitted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def note(self, status: Mapping[str, Any]) -> None:
        """Take in the next status of the VM."""
        self.admitted |= {status["admittedClaim"]} if status.get("admittedClaim") else set()
        claim = status.get("claim", {}).get("id")
        if claim is not None and claim not in self.claims:
            if self.claims and self.claims[-1] not in self.refused:
                self.faults.append(f"{claim} takes the place of {self.claims[-1]}, which nobody has refused")
            self.claims.append(claim)
        self.refused |= {status["refusedClaim"]} if status.get("refusedClaim") else set()
        if len(self.admitted) > 1:
            self.faults.append(f"several claims were admitted: {self.admitted}")


def bindings(changes: Iterable[Change]) -> Mapping[str, Bindings]:
    """What was decided about each VM, by its name; the name of one that is gone is not to be given again.

    A claim that is of a former leader's epoch when its agent sees it is refused, and decided anew: that is as it
    should be. A second decision before the first has been refused would be one too many.
    """
    found: dict[str, Bindings] = defaultdict(Bindings)
    for change in changes:
        if change.key[0] == VMS and change.thing is not None:
            found[change.key[2]].note(change.thing.get("status", {}))
    return found


def history(changes: Iterable[Change], name: str) -> str:
    """What a VM was told and answered, for whoever has to understand a failure."""
    lines: list[str] = []
    for change in changes:
        if change.key[0] == VMS and change.key[2] == name and change.thing is not None:
            status = change.thing.get("status", {})
            claim = status.get("claim", {})
            answers = {key: status.get(key) for key in ("admittedClaim", "refusedClaim", "releasedClaim")}
            told = [(each["reason"], each["message"]) for each in status.get("conditions", ())]
            line = f"{change.at:.2f} {status.get('phase')} {status.get('nodeName')} {claim.get('id')} of epoch"
            lines.append(f"{line} {claim.get('epoch')} {answers} {told}")
    return "\n".join(lines)


def terms(changes: Iterable[Change]) -> list[tuple[int, str]]:
    """Who led, by epoch, in the order in which it was seen; between two leaders who ended well, nobody."""
    found: list[tuple[int, str]] = []
    for change in changes:
        if change.key == (LEASES, NAMESPACE, LEASE) and change.thing is not None:
            term = change.thing["spec"]["leaseTransitions"], change.thing["spec"].get("holderIdentity", "")
            if term not in found:
                found.append(term)
    return found


def _read(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended meanwhile
        return ""
