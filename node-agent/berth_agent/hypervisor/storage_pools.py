"""The node's storage pools in libvirt."""

from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element, SubElement, tostring

import libvirt

from berth_agent.hypervisor.descriptions import parse
from berth_agent.hypervisor.errors import PoolConflict
from berth_agent.hypervisor.failures import is_code
from berth_agent.hypervisor.states import PoolInfo


def ensure_pool(connection: Any, name: str, kind: Literal["dir"], path: Path) -> PoolInfo:
    """A pool of this name, type and path that is active and starts with libvirtd, with its room as it is now."""
    pool = _find(connection, name) or connection.storagePoolDefineXML(_xml(name, kind, path))
    _check_same(pool, name, kind, path)
    if not pool.isActive():
        pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
    else:
        pool.refresh()
    if not pool.autostart():
        pool.setAutostart(1)
    _state, capacity, allocation, available = pool.info()
    return PoolInfo(name, path, capacity, allocation, available)


def _find(connection: Any, name: str) -> Any | None:
    try:
        return connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_STORAGE_POOL):
            return None
        raise


def _check_same(pool: Any, name: str, kind: str, path: Path) -> None:
    root = parse(pool.XMLDesc())
    has_kind, has_path = root.get("type"), root.findtext("target/path")
    if (has_kind, has_path) != (kind, str(path)):
        raise PoolConflict(
            f"libvirt has a pool {name} of type {has_kind} at {has_path}, not of type {kind} at {path}: "
            "remove it, or give the StoragePool another name"
        )


def _xml(name: str, kind: str, path: Path) -> str:
    root = Element("pool", type=kind)
    SubElement(root, "name").text = name
    SubElement(SubElement(root, "target"), "path").text = str(path)
    return tostring(root, encoding="unicode")
