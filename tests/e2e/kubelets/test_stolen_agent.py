"""A thief in an agent's Pod, on a real node, gets no further than that node: every attempt meets the rule meant for it.

All attempts are made at once, by the Python of the Pod's own image, with the token and the certificate that are mounted
there; then each has a test of its own. docs/security.md lists them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.kubelets.installations import Installation
from tests.e2e.kubelets.thieves import Thief, fingerprint, things_to_attack
from tests.integration.security.attempts import ATTEMPTS
from tests.integration.security.attempts_in_pods import POD_ATTEMPTS
from tests.integration.security.calls import apply, typed
from tests.integration.security.rules import GROUP, HYPERVISORS, Attempt, status_of
from tests.integration.security.wire import Answer, Request, Shot

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
EVERYTHING = (*ATTEMPTS, *POD_ATTEMPTS)


@dataclass(frozen=True, repr=False)
class Raid:
    """What came of it.

    Attributes:
        thief: Who was there, and still is.
        answers: By the attempts' names.
        before: What there was.
        after: What there is.
    """

    thief: Thief
    answers: Mapping[str, Answer]
    before: Mapping[tuple[str, str, str], Any]
    after: Mapping[tuple[str, str, str], Any]


@pytest.fixture(scope="module")
def raid(berth: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raid]:
    with things_to_attack(berth):
        thief = Thief(berth, tmp_path_factory.mktemp("thief"))
        before = fingerprint(berth)
        yield Raid(thief, thief.attempt(EVERYTHING), before, fingerprint(berth))


@pytest.mark.parametrize("attempt", [pytest.param(each, id=each.name) for each in EVERYTHING])
def test_from_inside_its_pod_a_stolen_token_does_not(attempt: Attempt, raid: Raid) -> None:
    answer = raid.answers[attempt.name]
    assert (answer.status, attempt.rule.phrase in answer.message) == (attempt.rule.status, True), answer.message


def test_after_all_that_everything_is_as_it_was(raid: Raid) -> None:
    assert raid.before.keys() == raid.after.keys()
    assert {name: thing for name, thing in raid.after.items() if thing != raid.before[name]} == {}


def test_the_mounted_token_is_good_for_what_it_is_meant_for(raid: Raid) -> None:
    """Or every refusal above could be for another reason."""
    requests = (
        Request("GET", f"{GROUP}/virtualmachines"),
        apply(f"{status_of('mine')}?dryRun=All", "evil", {"status": {"phase": "Running"}}),
        apply(f"{HYPERVISORS}/node-1/status?dryRun=All", "evil", {"status": {"accelerator": "tcg"}}),
    )
    answers = raid.thief.fire([Shot(typed(request)) for request in requests])
    assert [answer.status for answer in answers] == [200, 200, 200], [answer.message for answer in answers]


def test_what_an_operator_tells_everybody_names_nobody(raid: Raid) -> None:
    """Metrics are for whoever reaches the Pod."""
    (answer,) = raid.thief.fire([raid.thief.operator_metrics()])
    assert answer.status == 200
    assert "berth_" in answer.message
    assert not [name for name in ("mine", "theirs", "nobodys", "leaving", "user-data") if name in answer.message]
