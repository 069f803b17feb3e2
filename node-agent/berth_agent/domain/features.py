"""`<features>`: what the machine has beside its devices.

Under TCG the cache of translated code is bounded: without a bound QEMU takes up to 1 GiB for it, whatever the guest's
size, and no claim would hold. The bound is the one that the claim counted.
"""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element, OnOff
from berth_agent.domain.requests import DomainRequest
from berth_api.overhead import translation_cache_mib


class Acpi(Element, tag="acpi"):
    """ACPI: the power button is how a guest is asked to stop."""


class Apic(Element, tag="apic"):
    """Local interrupt controllers, needed for more than one CPU."""


class Smm(Element, tag="smm"):
    """System management mode, behind which secure boot keeps its variables."""

    state: OnOff = attr(default="on")


class VmCoreInfo(Element, tag="vmcoreinfo"):
    """Lets a memory dump of the guest be read by crash(8)."""

    state: OnOff = attr(default="on")


class TranslationCache(Element, tag="tb-cache"):
    """Bound of TCG's translated code."""

    unit: Literal["MiB"] = attr(default="MiB")
    size: int


class Tcg(Element, tag="tcg"):
    """Settings of the emulator."""

    cache: TranslationCache


class Features(Element, tag="features"):
    """What the machine has beside its devices."""

    acpi: Acpi = Acpi()
    apic: Apic = Apic()
    smm: Smm | None = None
    vmcoreinfo: VmCoreInfo = VmCoreInfo()
    tcg: Tcg | None = None


def features_element(request: DomainRequest) -> Features:
    """`<features>` for the accelerator and the firmware."""
    cache = translation_cache_mib(request.memory)
    return Features(
        smm=Smm() if request.firmware.secure_boot else None,
        tcg=Tcg(cache=TranslationCache(size=cache)) if request.accelerator == "tcg" else None,
    )
