"""VirtualNetwork: a CNI plugin chain, and the subnets whose addresses the operator hands out."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from berth_api.markers import Cel, InWords, ListMap, OpenObject, SetList
from berth_api.objects import NAME_IS_LABEL, Condition, Label, Model, ObjectName, Resource
from berth_api.virtualmachines import IPAddress

CIDR = Annotated[str, Field(min_length=4, max_length=49)]


class CniPlugin(Model):
    """One plugin of the chain. Fields beside these are the plugin's own and are passed on as they are."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow", use_attribute_docstrings=True
    )

    type: Annotated[
        str,
        Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),
        InWords("must be the name of a plugin's executable, without a path"),
    ]
    """Name of the plugin's executable in the nodes' CNI directories."""
    capabilities: dict[str, bool] = Field(default_factory=dict)


class CniChain(Model):
    """A CNI network configuration list (CNI specification 1.1, section 1)."""

    cni_version: Annotated[
        str,
        Field(max_length=16, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$"),
        InWords("must be a version of the CNI specification, such as 1.0.0"),
    ] = "1.0.0"
    name: (
        Annotated[
            str,
            Field(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
            InWords("must start with a letter or digit, followed by letters, digits, '_', '.' and '-'"),
        ]
        | None
    ) = None
    """Left out: berth- and the object's name."""
    disable_check: bool = False
    plugins: Annotated[tuple[Annotated[CniPlugin, OpenObject()], ...], Field(min_length=1, max_length=16)]


class NetworkAttachmentDefinitionReference(Model):
    """A NetworkAttachmentDefinition (k8s.cni.cncf.io/v1) whose config is used."""

    namespace: Label
    name: ObjectName


class AddressRange(Model):
    """Addresses from start to end, both included."""

    start: IPAddress
    end: IPAddress

    rules = (
        Cel(
            "isIP(self.start) && isIP(self.end) && ip(self.start).family() == ip(self.end).family()",
            "start and end must be IP addresses of one family",
        ),
    )


class Subnet(Model):
    """A range of addresses on the network."""

    cidr: CIDR
    gateway: IPAddress | None = None
    range: AddressRange | None = None
    """Left out: the whole subnet, but for its first, its last and the gateway's address."""
    excluded: Annotated[tuple[CIDR, ...], Field(max_length=64), SetList()] = ()
    """Addresses or CIDRs that are never handed out."""
    dns_servers: Annotated[tuple[IPAddress, ...], Field(max_length=8)] = ()

    rules = (
        Cel(
            "isCIDR(self.cidr) && cidr(self.cidr) == cidr(self.cidr).masked()",
            "cidr must be a network such as 10.1.1.0/24, with no host bits set",
        ),
        Cel(
            "!has(self.gateway) || !isCIDR(self.cidr)"
            " || (isIP(self.gateway) && cidr(self.cidr).containsIP(self.gateway))",
            "gateway must be an address of the subnet",
        ),
        Cel(
            "!has(self.range) || !isCIDR(self.cidr) || !isIP(self.range.start) || !isIP(self.range.end)"
            " || (cidr(self.cidr).containsIP(self.range.start) && cidr(self.cidr).containsIP(self.range.end))",
            "range must lie within the subnet",
        ),
        Cel(
            "!has(self.excluded) || self.excluded.all(e, isIP(e) || isCIDR(e))",
            "excluded must be IP addresses, or networks such as 10.1.1.0/28",
        ),
        Cel("!has(self.dnsServers) || self.dnsServers.all(d, isIP(d))", "dnsServers must be IP addresses"),
    )


class VirtualNetworkSpec(Model):
    """How NICs are plugged in, and which addresses they get."""

    cni: CniChain | None = None
    network_attachment_definition_ref: NetworkAttachmentDefinitionReference | None = None
    subnets: Annotated[tuple[Subnet, ...], Field(max_length=8), ListMap(("cidr",))] = ()
    """With subnets, the operator allocates the addresses, and a plugin of the chain must declare the capability ips.
    Without, the chain's own IPAM does."""
    mtu: Annotated[int, Field(ge=576, le=9216)] | None = None
    allowed_namespaces: Annotated[tuple[Label, ...], Field(max_length=256), SetList()] | None = None
    """Namespaces whose VMs may use the network. Left out: all."""

    rules = (
        Cel(
            "has(self.cni) != has(self.networkAttachmentDefinitionRef)",
            "give exactly one of cni and networkAttachmentDefinitionRef",
        ),
        Cel(
            "!has(self.cni) || !has(self.subnets) || size(self.subnets) == 0"
            " || self.cni.plugins.exists(p, has(p.capabilities) && 'ips' in p.capabilities && p.capabilities['ips'])",
            "with subnets, Berth gives each NIC its address: a plugin of the chain must declare"
            " capabilities: {ips: true} (with ipam type static)",
        ),
        # Of two networks that overlap, one has the other's first address. Before Kubernetes 1.33 containsCIDR says no.
        Cel(
            "!has(self.subnets) || self.subnets.all(a, !isCIDR(a.cidr) || self.subnets.all(b,"
            " a.cidr == b.cidr || !isCIDR(b.cidr) || !cidr(a.cidr).containsIP(cidr(b.cidr).ip())))",
            "subnets must not overlap",
        ),
    )


class SubnetStatus(Model):
    """Use of one subnet."""

    cidr: str
    allocated: int
    free: int


class VirtualNetworkStatus(Model):
    """Use of the network's addresses."""

    subnets: Annotated[tuple[SubnetStatus, ...], ListMap(("cidr",))] = ()
    allocated: int | None = None
    free: int | None = None
    conditions: Annotated[tuple[Condition, ...], ListMap(("type",))] = ()


class VirtualNetwork(Resource):
    """A network that VMs can be plugged into."""

    kind: str = "VirtualNetwork"
    spec: VirtualNetworkSpec
    status: VirtualNetworkStatus = Field(default_factory=VirtualNetworkStatus)

    rules = (NAME_IS_LABEL,)
