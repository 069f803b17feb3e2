"""NICs: the network's plugins are run in a sandbox, and a tap leads out of it."""

from ipaddress import ip_interface, ip_network

from berth_agent.network.attachments import AttachmentRequest
from berth_agent.network.chains import Chain
from berth_agent.reconcile.plan.steps import AttachInterface, DetachInterface
from berth_agent.reconcile.rounds import Round
from berth_agent.reconcile.steps.chains import chain_of
from berth_api.virtualmachines import ClaimedInterface, NetworkInterface
from berth_api.virtualnetworks import Subnet, VirtualNetwork


async def attach(step: AttachInterface, work: Round) -> None:
    """Attach the NIC with the addresses of the claim; an intact attachment stays as it is."""
    nic = next(nic for nic in work.vm.spec.interfaces if nic.name == step.interface)
    network = work.tools.view.network(nic.network_name)
    work.attachments[nic.name] = await work.tools.attachments.attach(await _request(work, nic, network))


async def detach(step: DetachInterface, work: Round) -> None:
    """Detach the NIC, with the configuration that it was attached with."""
    await work.tools.attachments.detach(work.owner.uid, step.interface)


async def _request(work: Round, nic: NetworkInterface, network: VirtualNetwork) -> AttachmentRequest:
    claim = work.vm.status.claim
    claimed = next((c for c in claim.interfaces if c.name == nic.name), None) if claim is not None else None
    addresses = claimed.ip_addresses if claimed is not None else ()
    subnets = [subnet for subnet in network.spec.subnets if _serves(subnet, addresses)]
    chain = await chain_of(work.tools.api, network)
    return AttachmentRequest(
        owner_uid=work.owner.uid,
        namespace=work.owner.namespace,
        vm_name=work.owner.name,
        interface=nic.name,
        network_name=nic.network_name,
        chain=chain,
        mac_address=_mac(nic, claimed, chain),
        ip_addresses=addresses,
        gateway=next((subnet.gateway for subnet in subnets if subnet.gateway), None),
        dns_servers=tuple(server for subnet in subnets for server in subnet.dns_servers),
        mtu=network.spec.mtu,
        hostname=work.owner.name,
    )


def _serves(subnet: Subnet, addresses: tuple[str, ...]) -> bool:
    network = ip_network(subnet.cidr)
    return any(ip_interface(address).ip in network for address in addresses)


def _mac(nic: NetworkInterface, claimed: ClaimedInterface | None, chain: Chain) -> str | None:
    """The claim's MAC where the chain takes one; else only one that the user insists on, which then fails clearly."""
    if claimed is None or (nic.mac_address is None and "mac" not in chain.capabilities):
        return nic.mac_address
    return claimed.mac_address
