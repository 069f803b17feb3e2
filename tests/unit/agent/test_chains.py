"""The plugin chain of a network: its own, or a NetworkAttachmentDefinition's."""

import json
from typing import Any

import pytest
from tests.fakes.api import FakeApi

from berth_agent.network.errors import ChainInvalid
from berth_agent.reconcile.steps.chains import chain_of
from berth_api.client import Unavailable
from berth_api.kinds import NETWORK_ATTACHMENT_DEFINITION
from berth_api.virtualnetworks import VirtualNetwork

PLUGINS = [{"type": "bridge", "bridge": "br0"}, {"type": "tuning"}]
REFERENCE = {"networkAttachmentDefinitionRef": {"namespace": "infra", "name": "lan"}}


def network(**spec: Any) -> VirtualNetwork:
    return VirtualNetwork.from_api({"metadata": {"name": "tenant", "uid": "n"}, "spec": spec})


def definition(spec: Any) -> FakeApi:
    api = FakeApi()
    api.add(NETWORK_ATTACHMENT_DEFINITION, {"metadata": {"name": "lan", "namespace": "infra"}, "spec": spec})
    return api


async def test_its_own_chain_is_under_a_name_that_is_nobody_elses() -> None:
    chain = await chain_of(FakeApi(), network(cni={"plugins": PLUGINS}))
    assert chain.plugin_types == ("bridge", "tuning")
    assert chain.name == "berth-tenant"


async def test_a_definitions_chain_is_read_from_its_object() -> None:
    config = {"cniVersion": "1.0.0", "name": "lan", "plugins": PLUGINS}
    chain = await chain_of(definition({"config": json.dumps(config)}), network(**REFERENCE))
    assert chain.plugin_types == ("bridge", "tuning")


async def test_a_definition_that_is_missing_is_named() -> None:
    with pytest.raises(ChainInvalid, match="there is no NetworkAttachmentDefinition infra/lan"):
        await chain_of(FakeApi(), network(**REFERENCE))


@pytest.mark.parametrize("spec", [{}, None, {"config": ""}, {"config": 7}, "none"])
async def test_a_definition_on_the_nodes_disk_is_refused_with_what_to_change(spec: Any) -> None:
    with pytest.raises(ChainInvalid, match=r"write its configuration into spec\.config"):
        await chain_of(definition(spec), network(**REFERENCE))


@pytest.mark.parametrize("config", ["{", "[]", "null", "{}", '{"plugins": []}', '{"plugins": [{"type": "../../sh"}]}'])
async def test_a_definition_that_is_no_chain_is_refused(config: str) -> None:
    with pytest.raises(ChainInvalid):
        await chain_of(definition({"config": config}), network(**REFERENCE))


async def test_an_api_server_that_is_away_is_no_missing_definition() -> None:
    api = FakeApi()
    api.fail(Unavailable(503, "", "down"))
    with pytest.raises(Unavailable):
        await chain_of(api, network(**REFERENCE))


async def test_a_network_with_neither_is_refused() -> None:
    with pytest.raises(ChainInvalid, match="neither"):
        await chain_of(FakeApi(), network())
