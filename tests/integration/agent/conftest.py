"""An API server with Berth's rules in force, a node with a libvirtd of its own, and agents as processes."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.api.apiserver import ApiServer, free_ports
from tests.integration.api.conftest import equipped
from tests.integration.hypervisor.nodes import Node, running_node

from berth_dev.kubernetesreleases import NEWEST

NODE = "node-1"
_PATIENCE = 60.0


class Agent:
    """An agent as a process, started as a node's service would start it."""

    def __init__(self, folder: Path, kubeconfig: Path, libvirt_uri: str) -> None:
        liveness, metrics = free_ports(2)
        self.liveness_url = f"http://127.0.0.1:{liveness}/healthz"
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self.log = folder / "agent.log"
        settings = {
            "NODE_NAME": NODE,
            "KUBECONFIG": kubeconfig,
            "LIBVIRT_URI": libvirt_uri,
            "STATE_DIR": folder / "state",
            "NETNS_DIR": folder / "netns",
            "ACCELERATOR": "tcg",
            "HEARTBEAT": 1,
            "LIVENESS_URL": self.liveness_url,
            "METRICS_URL": self.metrics_url,
            "LOG_FORMAT": "text",
        }
        env = {**os.environ, **{f"BERTH_AGENT_{name}": str(value) for name, value in settings.items()}}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "berth_agent"], env=env, stdout=log, stderr=subprocess.STDOUT
            )

    def get(self, url: str) -> tuple[int, str]:
        """Status and text of a page; status 0: nobody listens."""
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def figure(self, name: str) -> float:
        """A figure without labels."""
        _, page = self.get(self.metrics_url)
        return next((float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} ")), -1.0)

    def terminate(self) -> float:
        """Tell it to stop; the seconds until it has."""
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(30)
        return time.monotonic() - begun

    def until(self, what: Callable[[], Any], text: str) -> None:
        """Wait until something is so."""
        end = time.monotonic() + _PATIENCE
        while not what():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, f"{text}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server, with everything of Berth's applied."""
    with equipped(tmp_path_factory.mktemp("api"), NEWEST) as ready:
        yield ready


@pytest.fixture(scope="session")
def libvirt() -> Iterator[Node]:
    """One node for all tests."""
    with running_node() as node:
        yield node


@pytest.fixture
def kubeconfig(server: ApiServer) -> Path:
    """With a token of the node's agent, as a Pod would have it."""
    bound = ("--bound-object-kind", "Node", "--bound-object-name", NODE)
    token = server.kubectl("create", "token", "berth-agent", "-n", "berth-system", *bound).strip()
    return server.write_kubeconfig("agent", token)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path, str], Agent]]:
    """Starts agents, with a kubeconfig and the URI of libvirt."""
    agents: list[Agent] = []

    def start(kubeconfig: Path, libvirt_uri: str) -> Agent:
        agents.append(Agent(tmp_path, kubeconfig, libvirt_uri))
        return agents[-1]

    yield start
    for agent in agents:
        agent.process.kill()
        agent.process.wait(30)


@pytest.fixture
def condition(server: ApiServer) -> Callable[[str], tuple[str, str]]:
    """Status and reason of a condition of the node's Hypervisor."""

    def condition(kind: str) -> tuple[str, str]:
        text = server.kubectl("get", "hypervisors.berth.dev", NODE, "-o", "json", check=False)
        conditions = json.loads(text or "{}").get("status", {}).get("conditions", [])
        return next(((each["status"], each["reason"]) for each in conditions if each["type"] == kind), ("", ""))

    return condition
