"""A domain's record is given to another VM, while its guest runs and knows nothing of it.

Of an active domain there are two records, and libvirt answers with the one of the guest that runs. The one that will
be left when the guest ends is written first: killed in between, the domain is still found under its former owner and
handed over again; and a guest that ends in between leaves a domain that is the new owner's already.
"""

from typing import Any

import libvirt

from berth_agent.domain.metadata import NAMESPACE_URI, PREFIX, MetadataError, handed_over
from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.hypervisor.failures import is_code
from berth_agent.hypervisor.states import DomainOwner

_KIND = libvirt.VIR_DOMAIN_METADATA_ELEMENT


def write_owner(domain: Any, owner: DomainOwner, cluster: str) -> None:
    """Write the owner into the definition, and into the record of the guest that runs, if one does.

    Raises:
        OperationFailed: what is there is not a record of ours.
        libvirt.libvirtError: libvirt did not take it.
    """
    _write(domain, owner, cluster, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    if not domain.isActive():
        return
    try:
        _write(domain, owner, cluster, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_OPERATION_INVALID) or domain.isActive():
            raise


def _write(domain: Any, owner: DomainOwner, cluster: str, where: int) -> None:
    before = domain.metadata(_KIND, NAMESPACE_URI, where)
    try:
        after = handed_over(before, namespace=owner.namespace, name=owner.name, uid=owner.uid, cluster=cluster)
    except MetadataError as error:
        raise OperationFailed(f"the domain {domain.name()} cannot be handed over: {error}") from error
    domain.setMetadata(_KIND, after, PREFIX, NAMESPACE_URI, where)
