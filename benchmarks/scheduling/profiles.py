"""Where the time of a profiled run went."""

import pstats
from pathlib import Path

from benchmarks.scheduling.clients import Client

_LINES = 25
_SAMPLED = 5
"""Seconds."""


def profile_path(folder: Path | None, name: str) -> Path | None:
    """The file for one profile; None where none is wanted."""
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute() / f"{name}.pstats"


async def sample_apiserver(client: Client, profile: Path | None) -> None:
    """Have the API server sample itself, beside the file of a profiled round, for `go tool pprof -top -cum FILE`."""
    if profile is not None:
        sampled = await client.send("GET", f"/debug/pprof/profile?seconds={_SAMPLED}")
        profile.with_name(f"{profile.stem}-apiserver.pprof").write_bytes(sampled)


def print_all(folder: Path) -> None:
    """Print the functions that took most of the time, of every profile in the folder."""
    for path in sorted(folder.glob("*.pstats")):
        print(f"\n### {path.name}\n\n```")
        stats = pstats.Stats(str(path))
        stats.sort_stats("tottime").print_stats(_LINES)
        stats.sort_stats("cumulative").print_stats(_LINES)
        print("```")
