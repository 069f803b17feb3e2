"""Creations, deletions, refusals and the ends of leaders, all crossing: nothing is overfilled, lost, or leaked."""

import signal
from itertools import count
from random import Random

import pytest
from tests.integration.operator.contests import LEASE
from tests.integration.operator.crowds import apart, create, delete, nodes, room_of, vm_body
from tests.integration.operator.records import recording
from tests.integration.operator.worlds import World

from berth_dev.hollow.nodes import HollowNodes
from berth_dev.hollow.options import Faults

pytestmark = pytest.mark.integration
STEPS, FREEZE, KILL, THAW = 24, 6, 12, 18
"""Of the storm, and those at which the leader is frozen, its successor killed, and the first one thawed."""


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_a_storm_every_berth_is_free_again(world: World, seed: int) -> None:
    random, names, options = Random(seed), count(), nodes(8, slots=5)
    operators = {name: world.operate(identity=name, **LEASE) for name in ("a", "b", "c")}
    async with HollowNodes(world.api, options) as hollow, recording(world.api, room_of(options)) as record:
        hollow.faults = Faults(refuse_probability=0.1, seed=seed)
        await record.until(lambda: bool(record.terms), 60)
        struck: list[str] = []
        alive: set[str] = set()

        def strike(number: signal.Signals) -> None:
            struck.append(record.terms[max(record.terms)].holder)
            operators[struck[-1]].send_signal(number)

        for step in range(STEPS):
            more = [f"vm-{next(names):03}" for _ in range(random.randint(4, 12))]
            await create(world, [storm_body(name, random) for name in more])
            alive.update(more)
            if step == FREEZE:
                strike(signal.SIGSTOP)
            elif step == KILL:
                await record.until(lambda: record.terms[max(record.terms)].holder != struck[0], 60)
                strike(signal.SIGKILL)
            elif step == THAW:
                operators[struck[0]].send_signal(signal.SIGCONT)
            gone = random.sample(sorted(alive), min(len(alive), random.randint(0, 12)))
            await delete(world, gone)
            alive.difference_update(gone)

        hollow.faults = Faults()
        await delete(world, alive)
        await record.until(lambda: not record.machines, 120)
        await create(world, [vm_body(f"last-{n:02}") for n in range(45)])
        await record.settled(running=40, waiting=5)
        assert (record.faults, record.late(), hollow.report.violations) == ([], [], [])


def storm_body(name: str, random: Random) -> dict[str, object]:
    """Small ones, larger ones, and some that keep apart."""
    kind = random.randrange(4)
    return vm_body(name, cpu={"cores": 1 + (kind == 0)}, **(apart("db") if kind == 1 else {}))
