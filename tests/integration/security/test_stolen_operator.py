"""A stolen operator token can bind VMs as it likes, and change nothing that is users', nodes' or others' Pods."""

from collections.abc import Callable

import pytest
from tests.integration.security.attempts_by_operators import OPERATOR_ATTEMPTS, anchor
from tests.integration.security.calls import Answer, Request, apply, patch
from tests.integration.security.conftest import Fingerprint
from tests.integration.security.rules import BUDGETS, CORE, OWNER, SYSTEM, VMS, Attempt

from berth_api.anchors import Size
from berth_operator.controllers.anchorpods import anchor_pod, anchor_spec
from berth_operator.controllers.budgets import budget

pytestmark = pytest.mark.integration
Attack = Callable[[Request, str], Answer]


@pytest.mark.parametrize("attempt", [pytest.param(each, id=each.name) for each in OPERATOR_ATTEMPTS])
def test_a_stolen_operator_token_does_not(attempt: Attempt, attack: Attack, world: Fingerprint) -> None:
    before = world()
    answer = attack(attempt.request, attempt.token)
    assert (answer.status, attempt.rule.phrase in answer.message) == (attempt.rule.status, True), answer.message
    assert world() == before


def test_it_does_what_the_operator_does(attack: Attack, world: Fingerprint) -> None:
    """Or every refusal above could be for another reason."""
    spec = anchor_spec("pause", ["pull"])
    real = anchor_pod("node-2", owner=OWNER["uid"], namespace="berth-system", spec=spec, size=Size(1, 2**20))
    labels = {"berth.dev/hypervisor": "true", "capacity.berth.dev/cpu": "4", "cpu-model.berth.dev/Haswell": "true"}
    for request in (
        apply(f"{CORE}/nodes/node-1?dryRun=All", "berth-operator", {"metadata": {"labels": labels}}),
        patch(f"{VMS}/mine?dryRun=All", ("remove", "/metadata/finalizers/0")),
        Request("POST", f"{SYSTEM}/pods?dryRun=All", real),
        anchor(),
        Request("DELETE", f"{SYSTEM}/pods/evil?gracePeriodSeconds=0"),
        Request("POST", BUDGETS, budget("node-2", owner=OWNER["uid"], namespace="berth-system")),
        Request("DELETE", f"{BUDGETS}/berth-anchor-node-2"),
    ):
        answer = attack(request, "operator")
        assert answer.status in {200, 201}, answer.message
