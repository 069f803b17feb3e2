"""What happened when, for whoever has to understand a failure."""

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Timeline:
    """Lines with their times; any thread may add to it."""

    begun: float = field(default_factory=time.monotonic)
    _lines: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, text: str) -> None:
        with self._lock:
            clock = time.strftime("%H:%M:%S", time.gmtime())
            self._lines.append(f"{time.monotonic() - self.begun:7.2f} s  {clock}  {text}")

    def __str__(self) -> str:
        with self._lock:
            return "\n".join(self._lines)
