"""The plugin chain of a network: its own, or that of a NetworkAttachmentDefinition."""

from dataclasses import replace

from berth_agent.network.chains import Chain, parse_chain
from berth_agent.network.errors import ChainInvalid
from berth_api.client import Api, NotFound
from berth_api.kinds import NETWORK_ATTACHMENT_DEFINITION
from berth_api.virtualnetworks import NetworkAttachmentDefinitionReference, VirtualNetwork

_PREFIX = "berth-"
"""Before the names of our networks: a CNI network name of another runtime must never be ours, or a GC by one of the two
would free the other's addresses."""


async def chain_of(api: Api, network: VirtualNetwork) -> Chain:
    """The chain to run for a NIC on this network.

    Raises:
        ChainInvalid: there is no such chain, or it is none.
        PodNetworkUnsupported: it has a plugin that needs a Pod.
        ApiError: the NetworkAttachmentDefinition could not be read.
    """
    reference = network.spec.network_attachment_definition_ref
    if reference is not None:
        return _ours(parse_chain(await _config_of(api, reference), default_name=network.metadata.name))
    if network.spec.cni is None:
        raise ChainInvalid(f"VirtualNetwork {network.metadata.name} has neither cni nor a reference to one")
    return _ours(parse_chain(network.spec.cni.to_api(), default_name=network.metadata.name))


def _ours(chain: Chain) -> Chain:
    return replace(chain, name=_PREFIX + chain.name.removeprefix(_PREFIX))


async def _config_of(api: Api, reference: NetworkAttachmentDefinitionReference) -> str:
    where = f"NetworkAttachmentDefinition {reference.namespace}/{reference.name}"
    try:
        found = await api.get(NETWORK_ATTACHMENT_DEFINITION, reference.name, reference.namespace)
    except NotFound as error:
        raise ChainInvalid(f"there is no {where}") from error
    spec = found.get("spec")
    config = spec.get("config") if isinstance(spec, dict) else None
    if not isinstance(config, str) or not config:
        raise ChainInvalid(f"{where} names a network on the node's disk: write its configuration into spec.config")
    return config
