"""What an agent does without libvirt, and without the API server: it lives, beats, says so, and ends when told to."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.agent.conftest import NODE, Agent
from tests.integration.api.apiserver import ApiServer, free_ports
from tests.integration.hypervisor.nodes import Node

from berth_agent.endings import END_WITHIN

pytestmark = pytest.mark.integration
Start = Callable[[Path, str], Agent]
Condition = Callable[[str], tuple[str, str]]


def renewed(server: ApiServer) -> str:
    return server.kubectl(
        "get", "lease", NODE, "-n", "berth-system", "-o", "jsonpath={.spec.renewTime}", check=False
    ).strip()


def test_an_agent_comes_up_without_libvirt_and_says_when_it_goes_hangs_and_returns(
    server: ApiServer, kubeconfig: Path, libvirt: Node, start: Start, condition: Condition
) -> None:
    libvirt.kill_libvirtd()
    agent = start(kubeconfig, libvirt.uri)
    agent.until(lambda: condition("LibvirtReady") == ("False", "HypervisorUnavailable"), "the start is not told")
    assert condition("Ready") == ("False", "LibvirtNotReady")
    beat = renewed(server)
    agent.until(lambda: renewed(server) not in ("", beat), "no heartbeat")
    assert agent.get(agent.liveness_url) == (200, "ok")
    assert agent.figure("berth_agent_libvirt_up") == 0

    libvirt.start_libvirtd()
    agent.until(lambda: condition("LibvirtReady") == ("True", "LibvirtAnswers"), "the return is not told")
    assert condition("Ready") == ("True", "HypervisorReady")
    assert server.kubectl("get", "hypervisors.berth.dev", NODE).split()[7:9] == [NODE, "True"]
    agent.until(lambda: agent.figure("berth_agent_libvirt_up") == 1, "no figures of guests")

    libvirt.stop_answering()
    try:
        agent.until(lambda: condition("LibvirtReady")[0] == "False", "that it hangs is not told")
        begun = time.monotonic()
        assert agent.figure("berth_agent_libvirt_up") == 0
        assert time.monotonic() - begun < 5, "a scrape hung"
        assert agent.get(agent.liveness_url) == (200, "ok")
        beat = renewed(server)
        agent.until(lambda: renewed(server) != beat, "no heartbeat")
        assert agent.terminate() < 10
    finally:
        libvirt.answer_again()
    assert agent.process.returncode == 0


def test_an_agent_that_has_nothing_to_do_ends_at_once(
    kubeconfig: Path, libvirt: Node, start: Start, condition: Condition
) -> None:
    agent = start(kubeconfig, libvirt.uri)
    agent.until(lambda: condition("LibvirtReady")[0] == "True", "it does not come up")
    agent.until(lambda: "reports" in agent.get(agent.metrics_url)[1], "it does not work")
    assert agent.terminate() < END_WITHIN
    assert agent.process.returncode == 0
    assert "not all had ended" not in agent.log.read_text()


def test_an_agent_comes_up_without_the_api_server_and_waits(
    server: ApiServer, kubeconfig: Path, libvirt: Node, start: Start
) -> None:
    (nowhere,) = free_ports(1)
    away = kubeconfig.with_name("away.kubeconfig")
    away.write_text(kubeconfig.read_text().replace(server.url, f"https://127.0.0.1:{nowhere}"))
    agent = start(away, libvirt.uri)
    agent.until(lambda: agent.figure("berth_agent_heartbeat_age_seconds") > 3, "it is not there")
    assert agent.get(agent.liveness_url) == (200, "ok")
    assert agent.terminate() < 10
