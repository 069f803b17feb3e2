"""Any valid request becomes well-formed XML that says what the request said, and nothing else."""

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from berth_agent.domain.disks import serial
from berth_agent.domain.documents import build
from berth_agent.domain.memory import BLOCK
from berth_agent.domain.metadata import owner_of
from berth_agent.domain.requests import DirectKernel, DomainDisk, DomainInterface, DomainRequest
from berth_agent.hypervisor.descriptions import LiveFacts, describe, owner_in, parse
from berth_agent.hypervisor.states import DomainPower
from berth_api.hardware import CPU
from berth_api.virtualmachines import Firmware

LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=40)
PARTS = TEXT.filter(lambda part: "/" not in part and part not in (".", ".."))
PATHS = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
UUIDS = st.uuids().map(str)
MACS = st.integers(0, 2**40 - 1).map(
    lambda number: "52:" + ":".join(f"{number:010x}"[index : index + 2] for index in range(0, 10, 2))
)
CPUS = st.builds(
    CPU,
    cores=st.integers(1, 8),
    sockets=st.integers(1, 4),
    threads=st.integers(1, 2),
    max_sockets=st.none() | st.integers(4, 64),
    features=st.lists(st.sampled_from(["avx", "avx2", "sse4.2", "3dnow", "amd-ssbd"]), unique=True).map(tuple),
    model=st.none() | st.sampled_from(["host-model", "host-passthrough", "maximum", "Haswell-noTSX", "EPYC"]),
)


@st.composite
def requests(draw: st.DrawFn) -> DomainRequest:
    kernel = draw(
        st.none() | st.builds(DirectKernel, path=PATHS, initrd_path=st.none() | PATHS, command_line=TEXT | st.just(""))
    )
    names = draw(st.lists(LABELS, unique=True, max_size=6, min_size=0 if kernel else 1))
    paths = draw(st.lists(PATHS, unique=True, min_size=len(names), max_size=len(names)))
    ordered = draw(st.booleans())
    disks = tuple(
        DomainDisk(
            name=name,
            path=path,
            format=draw(st.sampled_from(["qcow2", "raw"])),
            bus=draw(st.sampled_from(["virtio", "scsi", "sata"])),
            boot_order=index + 1 if ordered else None,
        )
        for index, (name, path) in enumerate(zip(names, paths, strict=True))
    )
    macs = draw(st.lists(MACS, unique=True, max_size=4))
    interfaces = tuple(
        DomainInterface(
            name=f"nic-{index}",
            tap_device=f"tap{index}",
            mac_address=mac,
            mtu=draw(st.none() | st.integers(576, 9216)),
            queues=draw(st.integers(1, 8)),
        )
        for index, mac in enumerate(macs)
    )
    secure = draw(st.booleans()) and kernel is None
    return DomainRequest(
        namespace=draw(LABELS),
        name=draw(LABELS),
        uid=draw(UUIDS),
        claim_id=draw(LABELS),
        generation=draw(st.integers(0, 2**31)),
        cpu=draw(CPUS),
        memory=draw(st.integers(16 * 2**20, 2**42)),
        accelerator=draw(st.sampled_from(["kvm", "tcg"])),
        machine_type="pc-q35-7.2",
        firmware=Firmware(type="EFI" if secure else "BIOS", secure_boot=secure, uuid=draw(st.just("") | UUIDS)),
        disks=disks,
        seed_path=draw(st.none() | PATHS),
        interfaces=interfaces,
        kernel=kernel,
        console_log_path=draw(PATHS),
    )


@settings(deadline=None, max_examples=60)
@given(requests())
def test_what_is_read_back_is_what_was_asked_for(request: DomainRequest) -> None:
    root = parse(build(request))
    owner = owner_in(root)
    assert owner == owner_of(request)
    assert owner is not None
    state = describe(root, owner, LiveFacts(DomainPower.SHUT_OFF, "Unknown"))
    assert (state.owner.namespace, state.owner.name, state.owner.uid) == (request.namespace, request.name, request.uid)
    assert (state.uuid, state.name) == (request.domain_uuid, f"{request.namespace}_{request.name}")
    assert state.machine_type == request.machine_type
    assert [(nic.mac_address, nic.device) for nic in state.interfaces] == [
        (nic.mac_address, nic.tap_device) for nic in request.interfaces
    ]
    wanted = [(disk.path, serial(disk.name)) for disk in request.disks]
    seed = [] if request.seed_path is None else [(request.seed_path, "cidata")]
    assert [(disk.source, disk.serial) for disk in state.disks] == wanted + seed
    assert len({disk.target for disk in state.disks}) == len(state.disks)


@settings(deadline=None, max_examples=60)
@given(requests())
def test_sizes_and_strings_arrive_whole(request: DomainRequest) -> None:
    root = parse(build(request))
    kib = int(root.findtext("memory", "0"))
    assert kib * 1024 >= request.memory > (kib - 1) * 1024
    sockets = request.cpu.max_sockets or request.cpu.sockets
    assert int(root.findtext("vcpu", "0")) == sockets * request.cpu.cores * request.cpu.threads
    vcpu = root.find("vcpu")
    assert vcpu is not None
    assert int(vcpu.get("current", root.findtext("vcpu", ""))) == request.cpu.count
    asked = [(feature.get("name"), feature.get("policy")) for feature in root.iterfind("cpu/feature")]
    assert asked == [(name, "require") for name in sorted(request.cpu.features)]
    log = root.find("devices/serial/log")
    assert log is not None
    assert log.get("file") == request.console_log_path
    if request.kernel is not None:
        assert root.findtext("os/kernel") == request.kernel.path
        assert root.findtext("os/initrd") == request.kernel.initrd_path
        assert root.findtext("os/cmdline", "") == request.kernel.command_line


@settings(deadline=None, max_examples=60)
@given(requests())
def test_no_string_brings_an_element_of_its_own(request: DomainRequest) -> None:
    devices = parse(build(request)).find("devices")
    assert devices is not None
    disks = len(request.disks) + (request.seed_path is not None)
    controllers = 1 + any(disk.bus == "scsi" for disk in request.disks)
    assert len(devices) == disks + controllers + len(request.interfaces) + len(
        ("serial", "channel", "memballoon", "rng", "panic")
    )


@given(LABELS, LABELS)
def test_different_disks_have_different_serials(one: str, other: str) -> None:
    assume(one != other)
    assert serial(one) != serial(other)
    assert len(serial(one)) <= 20


@settings(deadline=None, max_examples=60)
@given(requests(), st.integers(0, 2**42))
def test_memory_reaches_from_what_was_asked_for_to_its_maximum(request: DomainRequest, more: int) -> None:
    root = parse(build(replace(request, memory_max=request.memory + more)))
    owner = owner_in(root)
    assert owner is not None
    state = describe(root, owner, LiveFacts(DomainPower.SHUT_OFF, "Unknown"))
    assert request.memory <= state.memory < request.memory + 2**20
    assert request.memory + more <= state.max_memory < request.memory + more + 2**20 + BLOCK
    assert (state.max_memory - state.memory) % BLOCK == 0
    assert int(root.findtext("memory", "0")) * 1024 == state.max_memory
    pluggable = state.max_memory > state.memory
    for path in ("maxMemory", "cpu/numa/cell", "devices/memory"):
        assert (root.find(path) is not None) is pluggable
