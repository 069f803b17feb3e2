"""Waits after failures: they double up to a longest one, however many failures there were."""

from random import Random

import pytest

from berth_api.backoffs import Backoff, doubled


@pytest.mark.parametrize(("times", "wait"), [(0, 1.0), (1, 2.0), (5, 32.0), (6, 60.0), (10**6, 60.0)])
def test_a_wait_doubles_up_to_the_longest(times: int, wait: float) -> None:
    assert doubled(1.0, times, 60.0) == wait


@pytest.mark.parametrize(("failures", "whole"), [(1, 0.5), (3, 2.0), (10**6, 30.0)])
def test_a_pause_is_at_least_half_and_at_most_all_of_its_wait(failures: int, whole: float) -> None:
    pauses = [Backoff(first=0.5, most=30.0).pause(failures, Random(seed)) for seed in range(50)]
    assert whole / 2 <= min(pauses) < max(pauses) <= whole
