"""The store: watches, lists and our own writes overtake one another, and the newest state wins."""

from typing import Any

import pytest

from berth_api import kinds
from berth_api.client import ObjectList
from berth_api.storagepools import StoragePool
from berth_operator.objects import Node
from berth_operator.store import Change, Collection


def node(name: str, version: int, *, uid: str = "", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version), "labels": labels}}


@pytest.fixture
def nodes() -> Collection[Node]:
    return Collection(kinds.NODE, Node.from_api)


@pytest.fixture
def changes(nodes: Collection[Node]) -> list[Change[Node]]:
    told: list[Change[Node]] = []
    nodes.listen(told.append)
    return told


def test_an_older_state_does_not_replace_a_newer_one(nodes: Collection[Node]) -> None:
    nodes.upsert(node("a", 10, v="new"))
    nodes.upsert(node("a", 9, v="old"))
    found = nodes.get("a")
    assert found is not None
    assert found.labels == {"v": "new"}


def test_versions_compare_as_numbers(nodes: Collection[Node]) -> None:
    nodes.upsert(node("a", 99, v="old"))
    nodes.upsert(node("a", 100, v="new"))
    found = nodes.get("a")
    assert found is not None
    assert found.labels == {"v": "new"}


def test_the_same_state_is_told_once(nodes: Collection[Node], changes: list[Change[Node]]) -> None:
    nodes.upsert(node("a", 1))
    nodes.upsert(node("a", 1))
    assert len(changes) == 1


def test_a_deleted_object_does_not_come_back_from_a_late_list(nodes: Collection[Node]) -> None:
    nodes.upsert(node("a", 1))
    nodes.remove(node("a", 2))
    nodes.replace(ObjectList([node("a", 1)], "1"))
    assert nodes.get("a") is None


def test_a_namesake_replaces_a_deleted_object_and_both_changes_are_told(
    nodes: Collection[Node], changes: list[Change[Node]]
) -> None:
    nodes.upsert(node("a", 1, uid="first"))
    nodes.upsert(node("a", 5, uid="second"))
    assert [(change.old is None, change.new is None) for change in changes] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    nodes.remove(node("a", 4, uid="first"))
    assert nodes.get("a") is not None


def test_a_complete_list_removes_what_it_does_not_name(nodes: Collection[Node], changes: list[Change[Node]]) -> None:
    nodes.upsert(node("a", 1))
    nodes.upsert(node("b", 2))
    nodes.replace(ObjectList([node("b", 2)], "10"))
    assert [one.name for one in nodes] == ["b"]
    assert changes[-1].new is None


def test_what_is_newer_than_the_list_stays(nodes: Collection[Node]) -> None:
    nodes.upsert(node("a", 11))
    nodes.replace(ObjectList([], "10"))
    assert nodes.get("a") is not None


def test_an_object_that_cannot_be_read_is_left_alone_and_logged(caplog: pytest.LogCaptureFixture) -> None:

    pools = Collection(kinds.STORAGE_POOL, StoragePool.from_api)
    pools.upsert({"metadata": {"name": "p", "uid": "u", "resourceVersion": "1"}, "spec": {"path": 5}})
    assert not len(pools)
    assert "cannot be read" in caplog.text
