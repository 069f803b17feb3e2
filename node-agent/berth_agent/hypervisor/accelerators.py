"""Which accelerator runs guests here. Found out by booting, not by looking.

/dev/kvm can be there and yet run no ordinary guest: a hypervisor below may offer a KVM that emulates real mode well
enough for the firmware, and then stops at the first exception taken in 64-bit mode. So the probe is a ROM of its own
that does what every kernel does first: it switches to long mode with paging, loads an interrupt table, reloads CR3 and
takes an exception; the handler then leaves through QEMU's isa-debug-exit device. Where KVM works that takes some
tens of milliseconds.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import structlog

from berth_agent.domain.requests import Accelerator
from berth_agent.hypervisor.errors import AcceleratorUnusable

log = structlog.get_logger()

AcceleratorWish = Literal["auto", "kvm", "tcg"]

QEMU = "qemu-system-x86_64"
DEADLINE = 5.0
"""Seconds. A probe under TCG takes 0.1."""
_EXIT_CODE = 0x10
_ROM_SIZE = 0x10000
_RESET_VECTOR = 0xFFF0
_MAX_OUTPUT = 4096

# The ROM is mapped at 0xF0000; the CPU starts in real mode at its reset vector, which jumps to its first byte.
_CODE = bytes.fromhex(
    # real mode: clear 0x1000-0x3fff and map the first 4 MiB there with two 2 MiB pages
    "fa 31c0 8ed8 8ec0"  # cli; ax = ds = es = 0
    "bf0010 b90018 f3ab"  # di = 0x1000; cx = 0x1800 words; rep stosw
    "66c7060010 03200000"  # PML4[0] = 0x2003
    "66c7060020 03300000"  # PDPT[0] = 0x3003
    "66c7060030 83000000"  # PD[0] = 0, 2 MiB, writable
    "66c7060830 83002000"  # PD[1] = 2 MiB
    "2e660f01160801"  # lgdt cs:[0x108]
    "66b820000000 0f22e0"  # cr4 = PAE
    "66b800100000 0f22d8"  # cr3 = 0x1000
    "66b9800000c0 0f32 660d00010000 0f30"  # EFER.LME = 1
    "0f20c0 660d01000080 0f22c0"  # cr0 |= PE | PG
    "66ea70000f000800"  # jmp 8:0xf0070
    # long mode: a stack, an interrupt gate for vector 3, the table, CR3 once more, then the exception
    "b810000000 8ed8 8ed0 bc00800000"  # ds = ss = 16; esp = 0x8000
    "b8df000f00"  # eax = the handler, 0xf00df
    "668904253040 0000"  # gate[3].offset_low
    "66c704253240 00000800"  # gate[3].selector = 8
    "66c704253440 0000008e"  # gate[3].type = present interrupt gate
    "c1e810 668904253640 0000"  # gate[3].offset_middle
    "c704253840 0000 00000000"  # gate[3].offset_high
    "c704253c40 0000 00000000"
    "4883ec10 66c70424ff0f 48c7442402 00400000 0f011c24"  # lidt {0xfff, 0x4000}
    "0f20d8 0f22d8"  # cr3 = cr3
    "cc f4"  # int3; never gets past it
    # the handler: leave QEMU with (0x10 << 1) | 1
    "b010 66bafe04 ee f4 ebfd"  # out 0x4fe, 0x10; hlt
)
_GDT_OFFSET = 0xF0
_GDT = bytes.fromhex(
    "0000000000000000"
    "ffff0000009baf00"  # 8: code, 64 bits
    "ffff00000093cf00"  # 16: data
    "1700 f0000f00"  # at 0x108: limit and address of the table
)
_RESET = bytes.fromhex("ea000000f0")  # jmp 0xf000:0


async def choose_accelerator(wish: AcceleratorWish, *, qemu: str = QEMU, deadline: float = DEADLINE) -> Accelerator:
    """The accelerator that guests get on this node.

    Raises:
        AcceleratorUnusable: `kvm` was asked for, and does not run guests here; or QEMU itself does not run.
    """
    if wish == "tcg":
        return "tcg"
    problem = await probe("kvm", qemu=qemu, deadline=deadline)
    if problem is None:
        return "kvm"
    if wish == "kvm":
        raise AcceleratorUnusable(
            f"KVM does not run guests on this node: {problem}; set the accelerator to auto or tcg"
        )
    log.info("guests run under TCG: KVM does not run them here", problem=problem)
    return "tcg"


async def probe(accelerator: Accelerator, *, qemu: str = QEMU, deadline: float = DEADLINE) -> str | None:
    """Boot the probe under an accelerator; returns what is wrong with it, or None.

    Args:
        accelerator: kvm or tcg.
        qemu: The emulator's program.
        deadline: Seconds.
    """
    if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is not there, or may not be used"
    with TemporaryDirectory(prefix="berth-probe-") as folder:
        rom = Path(folder) / "probe.rom"
        await asyncio.to_thread(rom.write_bytes, rom_image())
        return await _boot(rom, accelerator, qemu, deadline)


def rom_image() -> bytes:
    """The probe's ROM."""
    image = bytearray(_ROM_SIZE)
    image[: len(_CODE)] = _CODE
    image[_GDT_OFFSET : _GDT_OFFSET + len(_GDT)] = _GDT
    image[_RESET_VECTOR : _RESET_VECTOR + len(_RESET)] = _RESET
    return bytes(image)


async def _boot(rom: Path, accelerator: Accelerator, qemu: str, deadline: float) -> str | None:
    arguments = [
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35,usb=off", "-accel", accelerator, "-m", "16", "-bios", str(rom)),
        *("-device", "isa-debug-exit,iobase=0x4fe,iosize=1"),
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            qemu,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return f"{qemu} cannot be run: {error.strerror}"
    try:
        async with asyncio.timeout(deadline):
            said = await _wait(process)
    except TimeoutError:
        return f"a guest hangs: it did not get through its first instructions within {deadline:g} s"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode == (_EXIT_CODE << 1) | 1:
        return None
    return f"a guest does not get through its first instructions: {said}"


async def _wait(process: asyncio.subprocess.Process) -> str:
    """Wait until QEMU ends, or says that KVM failed (it then stops the guest and stays); returns what it said."""
    if process.stderr is None:
        raise AssertionError("stderr is a pipe")
    said = b""
    while line := await process.stderr.readline():
        said = (said + line)[:_MAX_OUTPUT]
        if b"KVM internal error" in line or b"emulation failure" in line:
            return _one_line(line)
    await process.wait()
    return _one_line(said) or f"QEMU ended with {process.returncode}"


def _one_line(text: bytes) -> str:
    return " ".join(text.decode(errors="replace").split())
