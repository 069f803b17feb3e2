"""What the benchmark of Berth's footprint counts must be right, or its figures are none."""

import gzip
import io
import os
import tarfile

import pytest
from benchmarks.footprint import options
from benchmarks.footprint.images import layer_of
from benchmarks.footprint.reports import watch


def test_a_layer_is_as_big_as_its_files_and_as_what_is_transferred() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("one", "other"):
            entry = tarfile.TarInfo(name)
            entry.size = 1_000_000
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    data = gzip.compress(stream.getvalue())
    layer = layer_of(data)
    assert layer.unpacked == 2.0
    assert layer.packed == len(data) / 1e6


async def test_a_footprint_is_a_processs_memory_and_its_time_over_the_watch() -> None:
    checked: list[bool] = []
    seen = await watch(os.getpid(), 0.01, lambda: checked.append(True))
    assert seen.resident >= seen.proportional > 1
    assert seen.cpu_percent >= 0
    assert checked == [True]


def test_sizes_are_told_from_words() -> None:
    assert options.parse([]) == options.Options()
    assert options.parse(["--smoke", "--vms", "7", "--part", "c,a"]) == options.Options(
        parts=("a", "c"), nodes=5, vms=7, seconds=10, rounds=1
    )
    with pytest.raises(SystemExit):
        options.parse(["--vms", "0"])
