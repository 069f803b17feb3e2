"""What the API server tells of objects while something happens to a cluster: every change, not what is left."""

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from berth_dev import runs
from berth_dev.clusters import Cluster
from berth_dev.processes import poll_until

_START_TIMEOUT = 20.0
_END_TIMEOUT = 10.0


class Watch:
    """Follows all objects of a kind until it is left.

    Attributes:
        changes: Afterwards: what each of them was changed to, one after the other, by name.
    """

    def __init__(self, cluster: Cluster, kind: str) -> None:
        self.changes: dict[str, list[Mapping[str, Any]]] = {}
        self._cluster, self._kind = cluster, kind
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name) / "events"

    def __enter__(self) -> Self:
        run = self._cluster.run
        watch = ("get", self._kind, "--all-namespaces", "--watch", "--output-watch-events", "--output=json")
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [str(run.artifacts.bin / "kubectl"), *watch],
                stdout=said,
                env=runs.environment(run.run_id, {"KUBECONFIG": str(self._cluster.kubeconfig)}),
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._said.stat().st_size:
            assert poll_until(deadline), f"the watch of {self._kind} does not begin"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(_END_TIMEOUT)
        for event in _documents(self._said.read_text(encoding="utf-8")):
            if event["type"] != "ADDED":
                self.changes.setdefault(event["object"]["metadata"]["name"], []).append(event["object"])
        self._folder.cleanup()


def _documents(text: str) -> list[Mapping[str, Any]]:
    """JSON documents one after the other; the last one may be cut off."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            break
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found
