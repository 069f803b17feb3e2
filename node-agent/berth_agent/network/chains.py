"""CNI network configuration lists, read strictly, and what each plugin of one is handed.

Pure: a chain comes from an object that any administrator wrote, and everything a plugin gets on stdin is built here,
so the rules of the specification (CNI SPEC 1.1, sections 1 and 4) are in one place that needs no plugin to be tested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from berth_agent.network.errors import CapabilityMissing, ChainInvalid, PodNetworkUnsupported

Json = dict[str, Any]

SUPPORTED_VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
PLUGIN_TYPE = re.compile(r"^[A-Za-z0-9._-]+$")
NETWORK_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")

POD_PLUGINS: Mapping[str, str] = {
    "multus": "Multus answers with an empty result when the Pod it looks up is absent",
    "multus-shim": "Multus answers with an empty result when the Pod it looks up is absent",
    "calico": "Calico reads its policy from the Pod",
    "canal": "Calico reads its policy from the Pod",
    "cilium-cni": "Cilium makes an endpoint per Pod",
    "aws-cni": "the AWS VPC plugin asks its daemon for the Pod",
    "azure-vnet": "the Azure plugin asks for the Pod",
    "antrea": "Antrea asks its agent for the Pod",
    "kube-ovn": "Kube-OVN reads the Pod's annotations",
    "ovn-k8s-cni-overlay": "OVN-Kubernetes reads the Pod's annotations",
}
POD_IPAM: Mapping[str, str] = {
    "whereabouts": "its reconciler frees the addresses of absent Pods, which are then given out twice",
    "calico-ipam": "Calico's address garbage collection looks for the Pod",
    "kube-ovn": "Kube-OVN reads the Pod's annotations",
    "azure-vnet-ipam": "the Azure plugin asks for the Pod",
}


@dataclass(frozen=True, slots=True)
class Chain:
    """A network configuration list that this runtime can run.

    Attributes:
        plugins: configurations in order of ADD, as their authors wrote them.
        disable_check: the list asks never to be sent CHECK.
    """

    name: str
    cni_version: str
    plugins: tuple[Json, ...]
    disable_check: bool = False

    @property
    def capabilities(self) -> frozenset[str]:
        """What at least one plugin takes as runtime configuration."""
        return frozenset(name for plugin in self.plugins for name in _declared(plugin))

    def declares(self, capability: str) -> bool:
        """Whether a plugin takes this as runtime configuration."""
        return capability in self.capabilities

    @property
    def plugin_types(self) -> tuple[str, ...]:
        """Every executable that the chain runs, IPAM plugins among them."""
        kinds = [(plugin["type"], plugin.get("ipam", {}).get("type")) for plugin in self.plugins]
        return tuple(dict.fromkeys(kind for pair in kinds for kind in pair if kind))

    @property
    def has_check(self) -> bool:
        """Whether CHECK exists in this version and is wanted."""
        return not self.disable_check and at_least(self.cni_version, "0.4.0")

    @property
    def del_takes_result(self) -> bool:
        """Whether DEL is handed the result of ADD (libcni: from 0.4.0)."""
        return at_least(self.cni_version, "0.4.0")


def at_least(version: str, minimum: str) -> bool:
    """Compare two versions as numbers, not as text."""
    return _numbers(version) >= _numbers(minimum)


def parse_chain(source: str | Mapping[str, Any], *, default_name: str | None = None) -> Chain:
    """Read a conflist, or wrap a single plugin configuration into one.

    Args:
        source: JSON text, or what it parses to.
        default_name: the name where the configuration has none (as for a NetworkAttachmentDefinition).

    Raises:
        ChainInvalid: what is wrong with it.
        PodNetworkUnsupported: it has a plugin that needs a Pod.
    """
    document = _load(source)
    if "plugins" not in document:
        if "type" not in document:
            raise ChainInvalid("a CNI configuration needs either 'plugins' (a list) or 'type' (a single plugin)")
        document = {
            **{key: document[key] for key in ("name", "cniVersion", "cniVersions") if key in document},
            "plugins": [document],
        }
    name = document.get("name") or default_name
    if not isinstance(name, str) or not NETWORK_NAME.fullmatch(name):
        raise ChainInvalid(f"the CNI network name {name!r} must be letters, digits, '_', '.' and '-'")
    chain = Chain(
        name=name,
        cni_version=_choose_version(document),
        plugins=tuple(_check_plugin(index, plugin) for index, plugin in enumerate(_plugins(document))),
        disable_check=_boolean(document, "disableCheck"),
    )
    refuse_pod_networks(chain)
    return chain


def refuse_pod_networks(chain: Chain) -> None:
    """Raise PodNetworkUnsupported for plugins that are known to look for a Pod and fail, or leak, without one."""
    for plugin in chain.plugins:
        kind = plugin["type"]
        ipam = plugin.get("ipam", {}).get("type", "")
        why = POD_PLUGINS.get(kind) or POD_IPAM.get(ipam)
        if why:
            culprit = kind if kind in POD_PLUGINS else ipam
            raise PodNetworkUnsupported(
                f"network {chain.name!r} uses the CNI plugin {culprit!r}, which works for Pods only: {why}. "
                "Use a chain that needs no Pod, such as bridge, macvlan or ptp with static or host-local addresses."
            )


def require_capabilities(chain: Chain, supplied: Mapping[str, Any]) -> None:
    """Refuse to supply what the chain would ignore.

    Raises:
        CapabilityMissing: no plugin declares one of `supplied`'s keys.
    """
    missing = sorted(supplied.keys() - chain.capabilities)
    if missing:
        raise CapabilityMissing(
            f"network {chain.name!r} cannot be given {', '.join(missing)}: add "
            f'"capabilities": {json.dumps(dict.fromkeys(missing, True))} to the plugin of its chain that takes it, '
            "or leave the choice to the chain"
        )


def plugin_config(chain: Chain, plugin: Json, capability_args: Json, prev_result: Json | None) -> Json:
    """Build what a plugin reads on stdin (SPEC 1.1, section 4, "Deriving execution configuration from runtime")."""
    config = {key: value for key, value in plugin.items() if key != "capabilities"}
    config.update(name=chain.name, cniVersion=chain.cni_version)
    runtime = {key: value for key, value in capability_args.items() if key in _declared(plugin)}
    if runtime:
        config["runtimeConfig"] = runtime
    if prev_result is not None:
        config["prevResult"] = prev_result
    return config


def _load(source: str | Mapping[str, Any]) -> Json:
    if isinstance(source, str):
        try:
            source = json.loads(source)
        except ValueError as error:
            raise ChainInvalid(f"the CNI configuration is no JSON: {error}") from error
    if not isinstance(source, Mapping):
        raise ChainInvalid("the CNI configuration must be a JSON object")
    return dict(source)


def _plugins(document: Json) -> list[Any]:
    plugins = document["plugins"]
    if not isinstance(plugins, list) or not plugins:
        raise ChainInvalid("'plugins' must be a list with at least one plugin")
    return plugins


def _check_plugin(index: int, plugin: Any) -> Json:
    if not isinstance(plugin, Mapping):
        raise ChainInvalid(f"plugins[{index}] must be an object")
    kind = plugin.get("type")
    if not isinstance(kind, str) or not PLUGIN_TYPE.fullmatch(kind) or kind in {".", ".."}:
        raise ChainInvalid(f"plugins[{index}].type {kind!r} must be a file name of A-Z, a-z, 0-9, '.', '_' and '-'")
    for key in ("capabilities", "ipam"):
        if not isinstance(plugin.get(key, {}), Mapping):
            raise ChainInvalid(f"plugins[{index}].{key} must be an object")
    ipam = plugin.get("ipam", {}).get("type", "none")
    if not isinstance(ipam, str) or not PLUGIN_TYPE.fullmatch(ipam) or ipam in {".", ".."}:
        raise ChainInvalid(f"plugins[{index}].ipam.type {ipam!r} must be a file name")
    return dict(plugin)


def _choose_version(document: Json) -> str:
    offered = [document.get("cniVersion", ""), *(document.get("cniVersions") or [])]
    supported = [version for version in SUPPORTED_VERSIONS if version in offered]
    if not supported:
        raise ChainInvalid(
            f"cniVersion {document.get('cniVersion')!r} is not supported: use one of {', '.join(SUPPORTED_VERSIONS)}"
        )
    return supported[-1]


def _boolean(document: Json, key: str) -> bool:
    # The specification has allowed the strings "true" and "false" since 0.4.0.
    value = document.get(key, False)
    if value not in {True, False, "true", "false"}:
        raise ChainInvalid(f"{key} must be true or false, not {value!r}")
    return value is True or value == "true"


def _declared(plugin: Json) -> frozenset[str]:
    return frozenset(name for name, wanted in plugin.get("capabilities", {}).items() if wanted is True)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
