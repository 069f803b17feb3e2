"""The bare loop as the benchmark drives it: its process on the node, and the template of its guests.

The template is made from a VM that Berth made: the same domain, with its disk, seed, tap and MAC exchanged. Berth's
metadata is taken out, or the agent would take the domain for its own, find no VM, and destroy it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from benchmarks.agent.bareloop import Template, request
from benchmarks.agent.machines import DISK, Guest
from berth_dev import runs
from berth_dev.clusters import Cluster
from berth_dev.nodes import NodeHandle
from berth_dev.startup import project_root

FOLDER = "/var/lib/berth/bare"
_PATIENCE = 30.0


class Peer:
    """A bare loop that runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, guests: Iterable[Guest]) -> float:
        """Make guests; seconds from the first command until the last one runs."""
        return float(self._ask(request("up", guests))["seconds"])

    def remove(self, guests: Iterable[Guest]) -> float:
        """Take guests down; seconds until nothing is left."""
        return float(self._ask(request("down", guests))["seconds"])

    def _ask(self, line: str) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both are pipes")
        self._process.stdin.write(line)
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the bare loop has ended; its last words are above")
        found: dict[str, Any] = json.loads(answer)
        return found


@contextmanager
def running(cluster: Cluster, node: NodeHandle, template: Template) -> Iterator[Peer]:
    """A bare loop on the node, connected and warm, ended at the end."""
    node.exec(["mkdir", "-p", FOLDER])
    argv = [*node.entering, sys.executable, "-m", "benchmarks.agent.bareloop"]
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=project_root(),
        env={**runs.environment(cluster.run.run_id), "PYTHONPATH": str(project_root())},
    ) as process:
        try:
            peer = Peer(process)
            peer._ask(json.dumps(asdict(template)) + "\n")  # noqa: SLF001 - the first line is the template
            yield peer
            if process.stdin is not None:
                process.stdin.close()
            process.wait(_PATIENCE)
        finally:
            process.kill()


def template_of(xml: str, vm: Mapping[str, Any], info: Mapping[str, Any], *, cni: str, workers: int) -> Template:
    """The template that a VM of Berth's gives.

    Args:
        xml: Its inactive domain, as `virsh dumpxml` prints it.
        vm: Its object.
        info: What `qemu-img info` says of its disk.
        cni: Holds the CNI plugins.
        workers: Guests at once.

    Raises:
        ValueError: The domain does not name what it must.
    """
    uid, nic = vm["metadata"]["uid"], vm["status"]["interfaces"][0]
    claimed = vm["status"]["claim"]["interfaces"][0]
    replaced = {
        vm["status"]["disks"][0]["source"]: "@DISK@",
        f"/var/lib/berth/seeds/{uid}.iso": "@SEED@",
        f"/var/lib/berth/consoles/{uid}.log": "@CONSOLE@",
        nic["device"]: "@TAP@",
        claimed["macAddress"]: "@MAC@",
        f"<name>{vm['metadata']['namespace']}_{vm['metadata']['name']}</name>": "<name>@NAME@</name>",
        uid: "@UUID@",
    }
    xml = re.sub(r"\s*<metadata>.*?</metadata>", "", xml, flags=re.DOTALL)
    for old, new in replaced.items():
        if old not in xml:
            raise ValueError(f"the domain of {vm['metadata']['name']} does not name {old}")
        xml = xml.replace(old, new)
    return Template(
        xml=xml,
        image=info["full-backing-filename"],
        image_format=info["backing-filename-format"],
        disk_bytes=DISK,
        folder=FOLDER,
        cni=cni,
        workers=workers,
    )
