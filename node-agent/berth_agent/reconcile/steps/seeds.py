"""The cloud-init seed: what the guest is told, from the object, the claim and what the network plugins gave."""

from berth_agent.network.attachments import Attachment
from berth_agent.reconcile.plan.adoptions import machine_id
from berth_agent.reconcile.plan.steps import DeleteSeed, WriteSeed
from berth_agent.reconcile.rounds import Round, StepFailed
from berth_agent.storage.cloud_init import Seed, SeedInterface, SeedRoute


async def write(_step: WriteSeed, work: Round) -> None:
    """Write the seed; an unchanged one stays as it is."""
    spec = work.vm.spec.cloud_init
    seed = Seed(
        vm_uid=work.owner.uid,
        machine_id=machine_id(work.vm, work.observed.domain_uuid),
        vm_name=work.owner.name,
        interfaces=tuple(_interface(work.attachments[nic.name]) for nic in work.vm.spec.interfaces),
        ssh_authorized_keys=spec.ssh_authorized_keys if spec is not None else (),
        user_data=_user_data(work),
    )
    try:
        await work.tools.seeds.ensure_seed(seed)
    except ValueError as error:
        raise StepFailed("InvalidSeed", f"the cloud-init seed cannot be made: {error}", retryable=False) from error


async def delete(_step: DeleteSeed, work: Round) -> None:
    """Delete the seed."""
    await work.tools.seeds.delete_seed(work.owner.uid)


def _user_data(work: Round) -> bytes | None:
    spec, claim = work.vm.spec.cloud_init, work.vm.status.claim
    if spec is None:
        return None
    if spec.user_data_secret_ref is not None and claim is not None and claim.sealed_user_data is not None:
        return work.tools.key.unseal(claim.sealed_user_data)
    return spec.user_data.encode() if spec.user_data is not None else None


def _interface(attachment: Attachment) -> SeedInterface:
    return SeedInterface(
        name=attachment.interface,
        mac_address=attachment.mac_address,
        addresses=attachment.ip_addresses,
        gateways=(attachment.gateway,) if attachment.gateway else (),
        routes=tuple(
            SeedRoute(to=route.destination, via=route.gateway)
            for route in attachment.routes
            if route.gateway is not None
        ),
        dns_servers=attachment.dns_servers,
        mtu=attachment.mtu,
    )
