"""The agent with a thread beside it that looks where its threads are: `python -m benchmarks.agent.sampling FOLDER`.

While there is a file `FOLDER/NAME.on`, every thread's stack is taken once in an interval, and calls that leave the
process are counted: libvirt's, processes that are started, syncs, requests to the API server. When the file goes, what
was found is written to `FOLDER/NAME.txt`. A thread that waits is told apart by where it waits, so one that waits within
an extension (libvirt) looks busy there: its row is what calls to libvirt took. Sampling itself slows the agent down a
little: its times are not results.
"""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

import libvirt
from aiohttp import ClientSession

from berth_agent.__main__ import main as agent

_PAUSE = 0.05
_ROWS = 45
_WAITS = frozenset({"select", "wait", "_wait_for_tstate_lock", "acquire", "poll", "get", "virEventRunDefaultImpl"})
"""Functions in which a thread does nothing but wait."""
_OURS = ("berth_agent", "berth_api")


class Calls:
    """Counts calls and the seconds that they took, by name; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()

    def reset(self) -> None:
        """Begin anew."""
        with self._lock:
            self._counts.clear()
            self._seconds.clear()

    def add(self, name: str, seconds: float) -> None:
        """One call."""
        with self._lock:
            self._counts[name] += 1
            self._seconds[name] += seconds  # type: ignore[assignment]  # a Counter of seconds

    def lines(self) -> list[str]:
        """A line a name, those that took longest first."""
        with self._lock:
            names = sorted(self._counts, key=lambda name: -self._seconds[name])
            return [f"{self._counts[name]:6d} calls {self._seconds[name]:9.3f} s  {name}" for name in names]

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted."""

        @wraps(function)
        def counted(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.add(name, time.perf_counter() - begun)

        return counted

    def watch_all(self) -> None:
        """Count what leaves the process."""
        libvirt.open = self.timed("libvirt open", libvirt.open)
        for kind in (libvirt.virConnect, libvirt.virDomain, libvirt.virStoragePool):
            for name, function in list(vars(kind).items()):
                if not name.startswith("_") and callable(function):
                    setattr(kind, name, self.timed(f"libvirt {kind.__name__}.{name}", function))
        os.fsync = self.timed("fsync", os.fsync)
        start = subprocess.Popen.__init__
        request = ClientSession._request  # noqa: SLF001 - the one way of all its requests

        @wraps(start)
        def counted_start(process: Any, argv: Any, *arguments: Any, **named: Any) -> None:
            begun = time.perf_counter()
            start(process, argv, *arguments, **named)
            self.add(f"process {_program(argv)}", time.perf_counter() - begun)

        @wraps(request)
        async def counted_request(session: Any, method: str, url: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await request(session, method, url, **named)
            finally:
                self.add(f"request {method} {_target(str(url))}", time.perf_counter() - begun)

        popen: Any = subprocess.Popen
        session_class: Any = ClientSession
        popen.__init__, session_class._request = counted_start, counted_request  # noqa: SLF001 - as above


class Samples:
    """Where threads were."""

    def __init__(self) -> None:
        self._taken = 0
        self._main_busy = 0
        self._inner: Counter[str] = Counter()
        self._outer: Counter[str] = Counter()
        self._threads: Counter[str] = Counter()

    def take(self) -> None:
        """Look at all threads but this one."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        main, mine = threading.main_thread().ident, threading.get_ident()
        self._taken += 1
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way
            if ident == mine or frame.f_code.co_name in _WAITS:
                continue
            self._threads[_kind_of(names.get(ident, "?"))] += 1
            if ident == main:
                self._main_busy += 1
                self._note(frame)

    def _note(self, frame: FrameType) -> None:
        self._inner[_place(frame)] += 1
        ours: set[str] = set()
        at: FrameType | None = frame
        while at is not None:
            if any(part in at.f_code.co_filename for part in _OURS):
                ours.add(_place(at))
            at = at.f_back
        self._outer.update(ours)

    def lines(self) -> list[str]:
        """What was found, in parts of a thousand of all samples."""

        def rows(title: str, counted: Counter[str]) -> list[str]:
            found = [f"{1000 * count / max(1, self._taken):7.1f}  {what}" for what, count in counted.most_common(_ROWS)]
            return ["", f"per thousand samples, {title}", *found]

        busy = 100 * self._main_busy / max(1, self._taken)
        return [
            f"{self._taken} samples; the event loop's thread is at work in {busy:.0f} % of them",
            *rows("threads that do not wait, by name (those in libvirt wait for it)", self._threads),
            *rows("event loop: where it is", self._inner),
            *rows("event loop: our functions that it is within", self._outer),
        ]


def _kind_of(name: str) -> str:
    return name.split("_", maxsplit=1)[0] if name.startswith("asyncio") else name.split("-call", maxsplit=1)[0]


def _place(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{'/'.join(path.parts[-2:])}:{frame.f_code.co_name}"


def _program(argv: Any) -> str:
    words = [str(word) for word in argv] if not isinstance(argv, str) else [argv]
    inside = words.index("--") + 1 if words[0] == "nsenter" and "--" in words else 0
    return ("nsenter " if inside else "") + Path(words[inside]).name


def _target(url: str) -> str:
    path = url.split("://", 1)[-1].partition("/")[2].partition("?")[0].split("/")
    kinds = [part for part in path if part.endswith("s") or part == "status"]
    return "/".join(kinds[-2:]) or path[-1]


def _work(folder: Path, interval: float, calls: Calls) -> None:
    while True:
        switch = next(iter(folder.glob("*.on")), None)
        if switch is None:
            time.sleep(_PAUSE)
            continue
        calls.reset()
        samples, before, begun = Samples(), os.times(), time.perf_counter()
        while switch.exists():
            samples.take()
            time.sleep(interval)
        after, seconds = os.times(), time.perf_counter() - begun
        used = f"{seconds:.2f} s; the agent used {after.user - before.user:.2f} s user and "
        used += f"{after.system - before.system:.2f} s system, its children "
        used += f"{after.children_user - before.children_user:.2f} and "
        used += f"{after.children_system - before.children_system:.2f}"
        report = [used, *samples.lines(), "", "calls that leave the process", *calls.lines()]
        switch.with_suffix(".txt").write_text("\n".join(report) + "\n", encoding="utf-8")


def main() -> None:
    """Start the thread, then be the agent."""
    folder, interval = Path(sys.argv[1]), float(sys.argv[2])
    calls = Calls()
    calls.watch_all()
    threading.Thread(target=_work, args=(folder, interval, calls), name="sampling", daemon=True).start()
    agent()


if __name__ == "__main__":
    main()
