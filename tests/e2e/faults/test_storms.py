"""Faults of every kind, in the middle of what users do: in the end spec and world agree, and nothing is left.

A seed is the whole workload: `FAULTS_SEED=7 FAULTS_COUNT=20 make test TESTS=tests/e2e/faults/test_storms.py` does the
same as the run that failed with it.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from tests.e2e.conftest import VM, World
from tests.e2e.faults.results import Outcome, Results
from tests.e2e.faults.storms import Storm
from tests.e2e.faults.workloads import workload
from tests.e2e.traces import all_traces, assert_nothing_left

FIRST_SEED = int(os.environ.get("FAULTS_SEED", "1"))
FAULTS = int(os.environ.get("FAULTS_COUNT", "20"))
SEEDS = int(os.environ.get("FAULTS_SEEDS", "1"))


@pytest.mark.e2e
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_after_a_storm_spec_and_world_agree(world: World, results: Results, seed: int) -> None:
    replay = f"FAULTS_SEED={seed} FAULTS_COUNT={FAULTS} make test TESTS=tests/e2e/faults/test_storms.py"
    print(f"\n{replay}")  # noqa: T201 - for whoever watches
    before, begun = all_traces(world.cluster), time.monotonic()
    storm = Storm(world, workload(seed, FAULTS))
    problems = ["it was not seen to its end"]
    try:
        problems = storm.rage()
        if not problems:
            world.kubectl("delete", VM, "--all", "--timeout=90s", timeout=100)
            assert_nothing_left(world.cluster, before)
    except Exception as error:
        problems = [f"{type(error).__name__}: {error}"]
        raise
    finally:
        results.add(Outcome(seed, storm, time.monotonic() - begun, problems))
        if problems:
            kept = Path(tempfile.mkdtemp(prefix=f"berth-faults-{seed}-"))
            shutil.copytree(world.cluster.run.state / "logs", kept, dirs_exist_ok=True)
            storm.timeline.add(f"the logs are kept in {kept}")
            (kept / "storm.txt").write_text("\n".join([*problems, replay, str(storm.timeline)]), encoding="utf-8")
    assert not problems, "\n".join([*problems, f"replay: {replay}", "", str(storm.timeline)])
