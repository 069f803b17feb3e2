"""A plugin that does what its configuration says, and records how it was called.

It is a real executable beside the real plugins: `{"type": "scripted", "log": FILE, "on": {"ADD": "hang"}}`. What `on`
may say: `fail CODE`, `hang`, `garble`, `slow`, `kill-agent`, `busy-once`; nothing: pass the previous result on.
"""

import json
import sys
from pathlib import Path
from typing import Any

SOURCE = f"""#!{sys.executable} -SE
import json, os, signal, subprocess, sys, time
config = json.load(sys.stdin)
command = os.environ["CNI_COMMAND"]
act = config.get("on", {{}}).get(command, "")
names = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")
before = open(config["log"]).read() if os.path.exists(config["log"]) else ""
with open(config["log"], "a") as log:
    env = {{name: os.environ.get(name) for name in names}}
    call = {{"command": command, "config": config, "env": env, "has_netns": os.path.exists(env["CNI_NETNS"])}}
    log.write(json.dumps(call) + chr(10))
if act.startswith("fail"):
    print(json.dumps({{"cniVersion": "1.0.0", "code": int(act.split()[1]), "msg": "told to fail", "details": "twice"}}))
    sys.exit(1)
if act == "garble":
    print("this is no JSON")
    sys.exit(0)
if act == "busy-once" and command not in before:
    print(json.dumps({{"code": 11, "msg": "busy"}}))
    sys.exit(1)
if act == "hang":
    subprocess.Popen(["sleep", "1000"])
    time.sleep(1000)
if act == "slow":
    time.sleep(0.5)
if act == "kill-agent":
    os.kill(os.getppid(), signal.SIGKILL)
if command == "ADD":
    print(json.dumps(config["prevResult"]))
"""


def install(root: Path) -> Path:
    """Write the plugin into a directory of its own, and return that."""
    folder = root / "plugins"
    folder.mkdir(exist_ok=True)
    executable = folder / "scripted"
    executable.write_text(SOURCE)
    executable.chmod(0o755)
    return folder


def plugin(log: Path, **on: str) -> dict[str, Any]:
    """Return the configuration of one."""
    return {"type": "scripted", "log": str(log), "on": on}


def calls(log: Path) -> list[dict[str, Any]]:
    """Return what it was called with, in order."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def commands(log: Path) -> list[str]:
    """Return only which commands it was called with."""
    return [call["command"] for call in calls(log)]
