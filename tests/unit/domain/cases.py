"""The VMs whose domain XML is kept as golden files."""

from dataclasses import replace
from typing import Final

from berth_agent.domain.requests import DirectKernel, DomainDisk, DomainInterface, DomainRequest
from berth_api.hardware import CPU
from berth_api.virtualmachines import Firmware, ImageReference, KernelBoot

MIB = 1024 * 1024
_IMAGE = ImageReference(name="kernel")
_ROOT = DomainDisk(name="root", path="/var/lib/berth/disks/6b1f2b1e/root.qcow2")
_HOSTILE = "&lt;'\"]]><!--<disk/>-->&#x0; $(reboot) %n ünï"

SMALL: Final = DomainRequest(
    namespace="default",
    name="small",
    uid="6b1f2b1e-41c5-4c8e-9d3b-2f0f6a3b7c01",
    claim_id="c-8f14e45f",
    generation=1,
    cpu=CPU(),
    memory=96 * MIB,
    accelerator="tcg",
    machine_type="pc-q35-7.2",
    disks=(_ROOT,),
    seed_path="/var/lib/berth/seeds/6b1f2b1e.iso",
    interfaces=(DomainInterface(name="default", tap_device="bt6b1f2b1e0", mac_address="52:54:00:12:34:56"),),
    console_log_path="/var/lib/berth/consoles/6b1f2b1e.log",
    parts={"cpu": "30a5c0e1", "disks": "fd6f14de", "networks": "4cbd98c2"},
)
"""The usual small VM under TCG: one disk from an image, a seed, a NIC."""

CASES: Final[dict[str, DomainRequest]] = {
    "small-tcg": SMALL,
    "small-kvm": replace(
        SMALL,
        accelerator="kvm",
        generation=2,
        claim_id="c-c9f0f895",
        restarted_at="2026-01-01T00:00:00+00:00",
        parts={},
    ),
    "sized-by-class": replace(
        SMALL,
        name="classy",
        namespace="tenant-a",
        uid="00000000-0000-4000-8000-000000000002",
        cpu=CPU(cores=2, sockets=2, threads=2, max_sockets=4),
        memory=4096 * MIB + 1,
        memory_max=8192 * MIB,
        accelerator="kvm",
    ),
    "adopted": replace(
        SMALL, cluster="5d0e9a4c-7f21-4e55-8a53-0c3f6b1d2e04", machine_id="0a4d55a8-d778-422f-8bbe-2c4d1e6f7a05"
    ),
    "named-cpu": replace(SMALL, cpu=CPU(cores=2, model="Westmere"), machine_type="pc-q35-7.1"),
    "cpu-features": replace(SMALL, cpu=CPU(features=("sse4.2", "avx2")), machine_type="pc-q35-7.1"),
    "host-passthrough": replace(SMALL, cpu=CPU(model="host-passthrough"), accelerator="kvm"),
    "maximum-cpu": replace(SMALL, cpu=CPU(model="maximum")),
    "several-disks": replace(
        SMALL,
        disks=(
            replace(_ROOT, boot_order=2),
            DomainDisk(name="data", path="/srv/pool/data.raw", format="raw", bus="scsi", boot_order=1),
            DomainDisk(name="old", path="/srv/pool/old.qcow2", bus="sata"),
            DomainDisk(name="a-name-longer-than-a-serial-may", path="/srv/pool/long.qcow2"),
        ),
    ),
    "blank-disk": replace(
        SMALL, disks=(_ROOT, DomainDisk(name="scratch", path="/var/lib/berth/disks/6b1f2b1e/scratch.qcow2"))
    ),
    "efi": replace(SMALL, firmware=Firmware(type="EFI")),
    "efi-secure-boot": replace(
        SMALL,
        accelerator="kvm",
        memory=1024 * MIB,
        firmware=Firmware(type="EFI", secure_boot=True, uuid="11111111-2222-4333-8444-555555555555"),
    ),
    "direct-kernel": replace(
        SMALL,
        disks=(),
        seed_path=None,
        firmware=Firmware(kernel=KernelBoot(image_ref=_IMAGE)),
        kernel=DirectKernel(
            path="/var/lib/berth/images/kernel",
            initrd_path="/var/lib/berth/images/initrd",
            command_line="console=ttyS0",
        ),
    ),
    "direct-kernel-and-disk": replace(SMALL, kernel=DirectKernel(path="/var/lib/berth/images/kernel")),
    "several-nics": replace(
        SMALL,
        cpu=CPU(cores=4),
        interfaces=(
            DomainInterface(name="default", tap_device="bt6b1f2b1e0", mac_address="52:54:00:12:34:56", mtu=9000),
            DomainInterface(name="storage", tap_device="bt6b1f2b1e1", mac_address="52:54:00:12:34:57", queues=4),
        ),
    ),
    "no-networks": replace(SMALL, interfaces=()),
    "hostile-strings": replace(
        SMALL,
        disks=(DomainDisk(name="root", path=f"/pool/{_HOSTILE}.qcow2"),),
        seed_path="/pool/seed,readonly=off'/><disk>.iso",
        kernel=DirectKernel(path='/pool/kernel" onload="', command_line=_HOSTILE),
        console_log_path="/logs/<log>&amp;.log",
    ),
}
