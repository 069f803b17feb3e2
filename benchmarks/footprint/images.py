"""(a) How much of an image goes over the wire and how much disk it takes, by layer: a release changes only the last."""

import asyncio
import io
import tarfile
from dataclasses import dataclass

from benchmarks.figures import Measured
from benchmarks.footprint.options import Options
from benchmarks.footprint.reports import markdown
from berth_dev import archives, containers
from berth_dev.caches import cache_root
from berth_dev.progress import Say
from berth_dev.startup import project_root

_BUILDERS = {
    "operator": containers.operator_image,
    "agent": containers.agent_image,
    "libvirt": containers.libvirt_image,
}
_MB = 1e6


@dataclass(frozen=True)
class Layer:
    """A layer's sizes, in megabytes: as it is transferred, and the files in it."""

    packed: float
    unpacked: float


async def measure(_: Options, say: Say) -> Measured:
    """Build what the cache does not have, print the sizes, and return them."""
    figures: dict[str, float] = {}
    rows = []
    for name, build in _BUILDERS.items():
        archive = await asyncio.to_thread(build, cache_root(), project_root(), say)
        layers = [layer_of(data) for data in archives.layers(archive)]
        packed, unpacked = sum(each.packed for each in layers), sum(each.unpacked for each in layers)
        each_packed = " + ".join(f"{each.packed:.1f}" for each in layers)
        rows.append((f"berth-{name}", f"{packed:.1f}", f"{unpacked:.1f}", each_packed))
        figures |= {f"{name}_image_mb": packed, f"{name}_image_unpacked_mb": unpacked}
        figures[f"{name}_release_mb"] = layers[-1].packed
    markdown("(a) images", ("", "compressed MB", "unpacked MB", "compressed, by layer"), rows)
    return [], figures


def layer_of(data: bytes) -> Layer:
    """The sizes of a layer as it is stored."""
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return Layer(len(data) / _MB, sum(entry.size for entry in opened) / _MB)
