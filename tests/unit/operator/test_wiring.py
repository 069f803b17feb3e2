"""Settings, kopf's registry, and what ends the process."""

import asyncio
from typing import Any

import kopf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from berth_api import quantities
from berth_api.client import Connection
from berth_api.watching import Forever, WatchDied, connection_info, supervise, watch_settings
from berth_operator.cluster import Cluster
from berth_operator.handlers.registry import build_registry
from berth_operator.scheduling.macs import generate
from berth_operator.settings import Settings


async def nothing(*_: Any) -> Any:
    return None


def registry(cluster: Cluster) -> kopf.OperatorRegistry:
    return build_registry(cluster, login=nothing, start=nothing, stop=nothing)


def test_two_registries_live_side_by_side() -> None:
    first, second = registry(Cluster("a")), registry(Cluster("b"))
    for one in (first, second):
        handlers = one._watching.get_all_handlers()
        assert len(handlers) == len(Cluster("x").collections) - len(Cluster("x").busy)
        assert not one._changing.get_all_handlers()
        assert not one._spawning.get_all_handlers()


async def test_an_event_goes_into_the_store_and_a_deletion_out_of_it() -> None:
    cluster = Cluster("berth-system")
    handlers = {handler.id: handler for handler in registry(cluster)._watching.get_all_handlers()}
    take_in: Any = handlers["watch-nodes"].fn
    body = {"metadata": {"name": "n", "uid": "u", "resourceVersion": "5"}}
    await take_in(event={"type": None, "object": body})
    assert cluster.nodes.get("n") is not None
    await take_in(event={"type": "DELETED", "object": body})
    assert cluster.nodes.get("n") is None


def test_kopf_neither_peers_nor_posts() -> None:
    settings = watch_settings({})
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert isinstance(settings.watching.server_timeout, int)


def test_what_changes_all_the_time_is_not_kopfs_and_leases_are_of_one_namespace() -> None:
    cluster = Cluster("berth-system")
    ids = {handler.id for handler in registry(cluster)._watching.get_all_handlers()}
    assert [(each.kind.plural, each.namespace) for each in cluster.busy] == [
        ("leases", "berth-system"),
        ("virtualmachines", ""),
    ]
    assert ids.isdisjoint({"watch-leases", "watch-virtualmachines"})


def test_kopf_never_gives_up() -> None:
    pauses = iter(Forever(last=5.0))
    assert [next(pauses) for _ in range(200)][-1] == 5.0
    assert next(iter(Forever())) < 1


def test_kopf_logs_in_as_we_do() -> None:
    info = connection_info(
        Connection("https://server", "token", "/ca", None, None, insecure=False, tls_server_name=None)
    )
    assert (info.server, info.token, info.ca_path, info.insecure) == ("https://server", "token", "/ca", False)


async def test_a_watch_that_dies_is_noticed() -> None:
    async def die() -> None:
        await asyncio.sleep(0.05)
        raise RuntimeError("403 for ever")

    task = asyncio.create_task(die(), name="watcher for nodes.v1@None")
    with pytest.raises(WatchDied, match="403 for ever"):
        await asyncio.wait_for(supervise(), 5)
    assert task.done()


async def test_a_watch_that_is_cancelled_with_its_kind_is_no_failure() -> None:
    task = asyncio.create_task(asyncio.sleep(100), name="watcher for nodes.v1@None")
    guard = asyncio.create_task(supervise())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({guard}, timeout=0.1)
    assert not done
    guard.cancel()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_OPERATOR_HEARTBEAT_TIMEOUT", "12.5")
    assert Settings().heartbeat_timeout == 12.5


def test_each_process_has_an_identity_of_its_own() -> None:
    assert Settings().identity != Settings().identity


@pytest.mark.parametrize("prefix", ["01:00", "00", "02:be:00:00:00:00", "xx"])
def test_a_prefix_that_is_not_locally_administered_and_unicast_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError):
        Settings(mac_prefix=prefix)


@given(st.text(), st.text(min_size=1), st.integers(0, 15))
def test_generated_macs_are_valid_local_and_repeatable(uid: str, name: str, attempt: int) -> None:
    mac = generate("02:be", uid, name, attempt)
    octets = bytes.fromhex(mac.replace(":", ""))
    assert len(octets) == 6
    assert octets[0] & 0b11 == 0b10
    assert mac == generate("02:be", uid, name, attempt)


@given(st.integers(0, 2**62))
def test_quantities_in_claims_round_trip(amount: int) -> None:
    assert quantities.to_bytes(quantities.from_bytes(amount)) == amount
    assert quantities.to_millis(quantities.from_millis(amount)) == amount
