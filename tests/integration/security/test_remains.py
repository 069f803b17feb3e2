"""Guests that a node brings along are told of once: a token that is stolen later can hold up nobody's VM by them."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.api.apiserver import ApiServer
from tests.integration.security import tokens
from tests.integration.security.calls import Answer, Request, apply, merge, patch, send
from tests.integration.security.rules import AGENT, HYPERVISORS, policy

pytestmark = pytest.mark.integration
NODE = "node-7"
STATUS = f"{HYPERVISORS}/{NODE}/status"
MORE = policy("berth-agent-hypervisors", "status.remains may only become less after the first report")
MOST = 500
Tell = Callable[[list[dict[str, Any]]], Answer]


def guest(name: str, **more: Any) -> dict[str, Any]:
    return {"namespace": "default", "name": name, "uid": str(uuid4()), **more}


@pytest.fixture
def ask(server: ApiServer, stolen: Mapping[str, str]) -> Iterator[Callable[[Request], Answer]]:
    """Requests in the name of the agent of a node that has just joined."""
    assert stolen, "the policies are in force"
    server.kubectl(
        "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    )
    token = tokens.request(server.kubectl, "Node", NODE)
    assert send(server, token, Request("POST", HYPERVISORS, {"metadata": {"name": NODE}, "spec": {}})).status == 201
    yield lambda request: send(server, token, request)
    server.kubectl("delete", "hypervisors.berth.dev", NODE)
    server.kubectl("delete", "node", NODE)


@pytest.fixture
def tell(ask: Callable[[Request], Answer]) -> Tell:
    """As an agent does: it has told everything else before."""
    assert ask(apply(STATUS, AGENT, {"status": {"capacity": {"cpu": "4", "memory": "8Gi"}}})).status == 200
    return lambda remains: ask(patch(STATUS, ("add", "/status/remains", remains)))


def is_refused(answer: Answer) -> bool:
    return answer.status == MORE.status and MORE.phrase in answer.message


def test_what_is_told_at_first_may_change_and_become_less_but_never_more(
    ask: Callable[[Request], Answer], tell: Tell
) -> None:
    one, two = guest("one"), guest("two")
    assert tell([one, two]).status == 200
    assert tell([{**one, "cpu": "2"}, two]).status == 200
    assert is_refused(tell([one, two, guest("three")]))
    assert is_refused(tell([one, {**two, "name": "another"}])), "under a UID that was told"
    assert is_refused(ask(merge(STATUS, {"status": {"remains": None}}))), "to begin anew"
    assert is_refused(ask(apply(STATUS, "evil", {"status": {"remains": [one, two, guest("three")]}})))
    assert tell([two]).status == 200
    assert is_refused(tell([one, two]))
    assert ask(apply(STATUS, AGENT, {"status": {"capacity": {"cpu": "8", "memory": "8Gi"}}})).status == 200
    assert tell([]).status == 200
    assert is_refused(tell([two]))


def test_that_there_were_none_is_told_as_well(tell: Tell) -> None:
    assert tell([]).status == 200
    assert is_refused(tell([guest("late")]))


def test_the_most_that_can_be_told_is_not_too_much_for_the_policy(tell: Tell) -> None:
    nic = {"macAddress": "02:be:00:00:00:01", "networkName": "n" * 63, "ipAddresses": ["10.10.10.10", "fd00::1"]}
    pools = [{"name": "default", "size": "10Gi"}]
    most = [
        guest(f"{number:03}" + "x" * 60, interfaces=[{"name": "lan", **nic}], pools=pools) for number in range(MOST)
    ]
    assert tell(most).status == 200
    assert tell([{**each, "cpu": "1"} for each in most]).status == 200
    assert is_refused(tell([*most[:-1], guest("late")]))
    assert tell([*most, guest("too-many")]).status in {403, 422}
