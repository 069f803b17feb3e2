"""Why a VM is, or would be, placed where it is: the leader's decision made again, from complete lists, taken apart.

It goes the leader's own way (the same collections, inventory, ledger, request and `place`), so that the two cannot
drift apart. What the leader keeps in memory alone is not to be had from the API server; the notes say so. A VM that
holds a claim is explained as if that were given back: otherwise it would stand in its own way.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from berth_api.client import Api
from berth_api.virtualmachines import VirtualMachine
from berth_operator import store
from berth_operator.cluster import Cluster
from berth_operator.controllers.aims import Aim, Aims
from berth_operator.controllers.asking import Asking
from berth_operator.controllers.deciding import Deciding, Wish
from berth_operator.controllers.interfaces import Interfaces
from berth_operator.controllers.machines import refused
from berth_operator.controllers.references import Unbindable
from berth_operator.controllers.refusals import Refusals
from berth_operator.explanations import UNSCHEDULABLE, Explanation, NodeAccount, Refusal, judge
from berth_operator.inventory import Inventory
from berth_operator.scheduling.holdings import held_by
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.place import Rejection
from berth_operator.scheduling.profiles import DEFAULT, Profile
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.settings import Settings


class Unexplainable(Exception):
    """There is no such VM, or it cannot be read."""


async def explain(
    api: Api,
    settings: Settings,
    profiles: Mapping[str, Profile],
    *,
    namespace: str,
    name: str,
    clock: Callable[[], float],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    notes: tuple[str, ...] = (),
) -> Explanation:
    """Read the cluster once and explain what the leader would decide about a VM. Writes nothing.

    Args:
        api: The API server.
        settings: The operator's.
        profiles: The operator's, by name.
        namespace: The VM's.
        name: The VM's.
        clock: Monotonic seconds.
        now: The time of day, by which heartbeats are judged.
        notes: What else to say about where the settings are from.

    Raises:
        Unexplainable: there is no such VM, or it cannot be read.
        ApiError: something cannot be listed.
    """
    cluster, snapshot = Cluster(settings.namespace, anchored=settings.anchor), Snapshot()
    ledger, refusals = Ledger(snapshot), Refusals(settings.refusal_exclusion, clock)
    inventory = Inventory(cluster, snapshot, heartbeat_timeout=settings.heartbeat_timeout, clock=clock, now=now)
    with _complaints() as unreadable:
        await cluster.refresh(api, [each for each in cluster.collections if each not in cluster.kept])
    vm = cluster.machines.get(name, namespace)
    if vm is None:
        complaint = next((line for line in unreadable if line.startswith(f"VirtualMachine {namespace}/{name} ")), None)
        raise Unexplainable(complaint or f"VirtualMachine {namespace}/{name} does not exist")
    _count(cluster, ledger, inventory, vm)
    if refused(vm) and vm.status.claim is not None:
        refusals.note(vm.metadata.uid, vm.status.node_name or "", vm.status.claim.id)
    interfaces = Interfaces(ledger, settings.mac_prefix, inventory.leftovers.shunned, Asking(cluster.machines))
    deciding = Deciding(cluster, ledger, inventory, interfaces=interfaces, refusals=refusals, profiles=profiles)
    aim = Aims(cluster, inventory.accelerator, lambda node: not inventory.alive(node), inventory.leftovers.of).of(vm)
    explanation = Explanation(
        namespace,
        name,
        vm.spec.scheduler_profile or DEFAULT,
        message="",
        bound_to=vm.status.node_name,
        notes=(*_about(vm, waits_there=aim is not None and aim.stays), *_left_out(vm, settings), *notes, *unreadable),
    )
    try:
        wish = deciding.wish(vm)
    except Unbindable as why:
        return replace(explanation, message=why.message, reason=why.reason)
    if aim is not None and aim.stays:
        ledger.rebuild(holding for holding in map(held_by, cluster.machines) if holding is not None)
        return _explain_staying(explanation, deciding, vm, wish, aim)
    judgement = judge(inventory.snapshot(), wish.request, wish.profile)
    explanation = replace(
        explanation,
        message=judgement.message,
        nodes=judgement.nodes,
        filters=tuple(each.name for each in wish.profile.filters),
        weights={score.name: weight for weight, score in wish.profile.scores},
    )
    if isinstance(judgement.decision, Rejection):
        return replace(explanation, reason=UNSCHEDULABLE)
    try:
        interfaces.choose(vm, wish.resolved.networks)
    except Unbindable as why:
        return replace(explanation, message=why.message, reason=why.reason)
    return replace(explanation, chosen=judgement.decision.node)


def _explain_staying(
    explanation: Explanation, deciding: Deciding, vm: VirtualMachine, wish: Wish, aim: Aim
) -> Explanation:
    """Why a VM that is bound waits for what it wants on its own node: no other one will do."""
    node = vm.status.node_name or ""
    what = "its start" if aim is Aim.START else "another size"
    note = f"The VM is bound to {node} and waits there for {what}: only that node is asked, and for what is new alone."
    explanation = replace(explanation, notes=(note, *explanation.notes))
    _, placement = deciding.place_again(vm, wish, aim)
    if isinstance(placement, Rejection):
        refusals = {name: Refusal(placement.message) for name in placement.by_filter}
        account = NodeAccount(node, refusals)
        names = tuple(placement.by_filter)
        return replace(explanation, message=placement.message, reason=aim.value, nodes=(account,), filters=names)
    return replace(explanation, message=f"node {node} has room for it", chosen=node, nodes=(NodeAccount(node),))


def _count(cluster: Cluster, ledger: Ledger, inventory: Inventory, but: VirtualMachine) -> None:
    """Enter what all VMs but this one hold, and which of them migrate."""
    others = [vm for vm in cluster.machines if vm.metadata.uid != but.metadata.uid]
    held = (held_by(vm) for vm in others)
    ledger.rebuild(holding for holding in held if holding is not None)
    for vm in others:
        if vm.status.phase == "Migrating" and vm.status.node_name:
            inventory.note_migration(vm.status.node_name, 1)


def _about(vm: VirtualMachine, *, waits_there: bool) -> Iterator[str]:
    """What makes the leader do something else with this VM than give it a node."""
    if vm.metadata.deletion_timestamp is not None:
        yield "The VM is being deleted: it is not given a node any more."
    elif held_by(vm) is not None and not waits_there:
        yield f"The VM is bound to {vm.status.node_name} and stays there: explained as if its claim were given back."
    elif refused(vm):
        yield f"{vm.status.node_name} has just refused the VM, and is left out for a while."
    if vm.spec.run_strategy == "Halted":
        yield "runStrategy is Halted: the VM is not given a node before that changes."


def _left_out(vm: VirtualMachine, settings: Settings) -> Iterator[str]:
    """What cannot be known from here."""
    yield (
        "Only the leading operator knows, and this leaves out: nodes that refused the VM earlier, refusals and failed "
        "starts of other VMs (the score BuildFailures), room that is kept for VMs that wait longer, and bindings that "
        "are just being written."
    )
    yield (
        f"Heartbeats count as seen now, by this machine's clock: a node is not ready once its Lease is "
        f"{settings.heartbeat_timeout:g} s old."
    )
    if vm.spec.cloud_init is not None and vm.spec.cloud_init.user_data_secret_ref is not None:
        yield "The Secret with the VM's user-data is not looked at."


class _Listening(logging.Handler):
    """Keeps what is logged, without tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.lines.append(record.getMessage())


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What collections say of objects that they cannot read: told with the explanation instead of logged."""
    logger, handler = logging.getLogger(store.__name__), _Listening()
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield handler.lines
    finally:
        logger.propagate = before
        logger.removeHandler(handler)
