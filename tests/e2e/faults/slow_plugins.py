"""A CNI plugin that takes its time: put into a chain, it holds an ADD for as long as a test wants."""

import time
from pathlib import Path

from berth_dev.processes import poll_until

NAME = "slow"
_SCRIPT = """\
#!/usr/bin/python3
import json, os, sys, time
folder = {folder!r}
config = json.load(sys.stdin)
command = os.environ["CNI_COMMAND"]
if command == "VERSION":
    print(json.dumps({{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}}))
elif command == "ADD":
    open(os.path.join(folder, "adding"), "w").close()
    deadline = time.monotonic() + 60
    while not os.path.exists(os.path.join(folder, "go")) and time.monotonic() < deadline:
        time.sleep(0.05)
    print(json.dumps(config["prevResult"]))
elif command == "DEL":
    open(os.path.join(folder, "deleted"), "w").close()
"""


class SlowPlugin:
    """The plugin, in a folder of plugins.

    Args:
        folder: Where the nodes look for plugins.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f"{NAME}.state"
        self._folder.mkdir(exist_ok=True)
        for name in ("adding", "go", "deleted"):
            (self._folder / name).unlink(missing_ok=True)
        program = folder / NAME
        program.write_text(_SCRIPT.format(folder=str(self._folder)), encoding="utf-8")
        program.chmod(0o755)

    def wait_for_add(self) -> None:
        """Wait until a node runs it."""
        deadline = time.monotonic() + 30
        while not (self._folder / "adding").exists():
            assert poll_until(deadline, interval=0.05), "no node runs the plugin"

    @property
    def was_deleted(self) -> bool:
        """Whether its DEL was run."""
        return (self._folder / "deleted").exists()

    def go(self) -> None:
        """Let every ADD end, now and later."""
        (self._folder / "go").touch()
