"""What libvirt's states and reasons are called here. Source: include/libvirt/libvirt-domain.h."""

import libvirt

from berth_agent.hypervisor.states import DomainPower

_POWERS = {
    libvirt.VIR_DOMAIN_NOSTATE: DomainPower.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: DomainPower.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainPower.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainPower.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainPower.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainPower.SHUT_OFF,
    libvirt.VIR_DOMAIN_CRASHED: DomainPower.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainPower.PM_SUSPENDED,
}
"""The QEMU driver uses neither NOSTATE nor BLOCKED; a guest of which no more is known counts as running."""

_REASONS: dict[int, tuple[str, ...]] = {
    libvirt.VIR_DOMAIN_RUNNING: (
        "Unknown",
        "Booted",
        "Migrated",
        "Restored",
        "FromSnapshot",
        "Unpaused",
        "MigrationCanceled",
        "SaveCanceled",
        "Wakeup",
        "Crashed",
        "PostCopy",
        "PostCopyFailed",
    ),
    libvirt.VIR_DOMAIN_PAUSED: (
        "Unknown",
        "User",
        "Migration",
        "Save",
        "Dump",
        "IOError",
        "Watchdog",
        "FromSnapshot",
        "ShuttingDown",
        "Snapshot",
        "Crashed",
        "StartingUp",
        "PostCopy",
        "PostCopyFailed",
    ),
    libvirt.VIR_DOMAIN_SHUTDOWN: ("Unknown", "User"),
    libvirt.VIR_DOMAIN_SHUTOFF: (
        "Unknown",
        "Shutdown",
        "Destroyed",
        "Crashed",
        "Migrated",
        "Saved",
        "Failed",
        "FromSnapshot",
        "Daemon",
    ),
    libvirt.VIR_DOMAIN_CRASHED: ("Unknown", "Panicked"),
}


def power_of(state: int, reason: int) -> tuple[DomainPower, str]:
    """State and reason by name. A guest that libvirt stops for good counts as shutting down, not as paused."""
    name = name_in(_REASONS.get(state, ()), reason)
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN:
        return DomainPower.SHUTTING_DOWN, name
    return _POWERS.get(state, DomainPower.RUNNING), name


def name_in(names: tuple[str, ...], number: int) -> str:
    """The name with this number; a newer libvirt may have more than are known here."""
    return names[number] if 0 <= number < len(names) else "Unknown"
