"""What the chart says of a node, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from berth_libvirt.errors import NodeUnsuited
from berth_libvirt.trees import STATE


@dataclass(frozen=True)
class Settings:
    """Where things are on the node.

    Attributes:
        folder: Where trees and libvirt's state are; the container sees it under the same path.
        sockets: Where libvirtd listens; likewise.
        shared: Folders in which agents keep disks and images: libvirtd and guests see these, and no others of the node;
            likewise.
        devices: Where the container sees the node's /dev.
        system: Where the container sees the node's /sys.
        node: The node's name, for logs.
    """

    folder: Path
    sockets: Path
    shared: tuple[Path, ...]
    devices: Path
    system: Path
    node: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            NodeUnsuited: Something is missing, or is no absolute path.
        """
        given = {name: environment.get(f"BERTH_LIBVIRT_{name}", "") for name in ("ROOT_DIR", "SOCKET_DIR", "SHARED")}
        paths = {name: [Path(each) for each in value.split(":") if each] for name, value in given.items()}
        for name, values in paths.items():
            if not values or not all(each.is_absolute() and ".." not in each.parts for each in values):
                raise NodeUnsuited(f"BERTH_LIBVIRT_{name} must be an absolute path, not {given[name]!r}")
        return cls(
            folder=paths["ROOT_DIR"][0],
            sockets=paths["SOCKET_DIR"][0],
            shared=tuple(paths["SHARED"]),
            devices=Path(environment.get("BERTH_LIBVIRT_DEVICES", "/host/dev")),
            system=Path(environment.get("BERTH_LIBVIRT_SYSTEM", "/host/sys")),
            node=environment.get("BERTH_LIBVIRT_NODE_NAME", ""),
        )

    @property
    def state(self) -> Path:
        """What libvirt keeps, whichever tree it runs from."""
        return self.folder / STATE

    @property
    def serving(self) -> Path:
        """Leads to `socket` while it is our libvirtd that listens there; the chart's readiness probe goes by it."""
        return self.folder / "serving"

    @property
    def socket(self) -> Path:
        """Where libvirtd is asked."""
        return self.sockets / "libvirt-sock"
