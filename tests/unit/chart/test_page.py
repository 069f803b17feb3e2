"""Commands and manifests that docs/install.md tells people to use: they are at least such that tools take them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml
from tests.unit.chart.renders import PROJECT

from berth_agent.network.chains import parse_chain
from berth_api.virtualmachineimages import ClusterVirtualMachineImage
from berth_api.virtualmachines import VirtualMachine
from berth_api.virtualnetworks import VirtualNetwork
from berth_dev import commands

PAGE = (PROJECT / "docs" / "install.md").read_text()
_STAND_IN = """#!/bin/sh
if [ "$1" = get ]; then
  echo customresourcedefinition.apiextensions.k8s.io/virtualmachines.berth.dev
  echo customresourcedefinition.apiextensions.k8s.io/others.example.com
  exit
fi
exec "$KUBECTL" --server=http://127.0.0.1:1 --request-timeout=5s "$@"
"""


def test_commands_that_remove_everything_are_refused_by_no_kubectl(tmp_path: Path) -> None:
    """With no server to ask, what kubectl says about its arguments comes before that it cannot connect."""
    commands = [line.partition("#")[0] for line in PAGE.splitlines() if line.startswith("kubectl delete ")]
    assert len(commands) >= 4
    kubectl = shutil.which("kubectl")
    assert kubectl is not None
    stand_in = tmp_path / "kubectl"
    stand_in.write_text(_STAND_IN)
    stand_in.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECTL": kubectl, "HOME": str(tmp_path)}
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert re.search(r"127\.0\.0\.1:1 was refused|dial tcp 127\.0\.0\.1:1", done.stderr), (command, done.stderr)


def test_the_kustomization_takes_every_image_from_the_registry_that_it_names(tmp_path: Path) -> None:
    """An image that is a setting's value is none to kustomize, and would be pulled from wherever the default leads."""
    (sample,) = re.findall(r"```yaml\n(apiVersion: kustomize.*?)```", PAGE, re.DOTALL)
    commands.run(["cp", "-a", str(PROJECT / "charts" / "kustomize"), str(tmp_path / "kustomize")])
    local = re.sub(r"github\.com/\S+?/charts/(kustomize/[a-z-]+)(\?ref=[v0-9.]+)?", r"\1", sample)
    assert "github.com" not in local
    (tmp_path / "kustomization.yaml").write_text(local)
    built = list(yaml.safe_load_all(commands.run(["kubectl", "kustomize", str(tmp_path)]).stdout))
    (operator,) = [each for each in built if each["kind"] == "Deployment"]
    (agent,) = [each for each in built if each["kind"] == "DaemonSet"]
    pods = [each["spec"]["template"]["spec"]["containers"] for each in (operator, agent)]
    settings = {each["name"]: each.get("value") for each in pods[0][0]["env"]}
    named = [container["image"] for containers in pods for container in containers]
    registry = "registry.example.com/virtualization/"
    assert {each.rpartition(":")[0] for each in (*named, settings["BERTH_OPERATOR_ANCHOR_IMAGE"])} == {
        f"{registry}berth-{name}" for name in ("operator", "agent", "pause")
    }
    assert len(settings) > 5, "the others are still there"


def test_the_first_vm_is_what_the_shell_makes_of_it_and_refers_to_what_is_there() -> None:
    (text,) = re.findall(r"kubectl apply -f - <<END\n(.*?)^END\n", PAGE, re.DOTALL | re.MULTILINE)
    shell = f"ssh_key() {{ echo 'ssh-ed25519 AAAA me@home'; }}; cat <<END\n{text.replace('$(cat ', '$(ssh_key ')}END\n"
    address = "https://images.example/first.qcow2"
    environment = {"PATH": os.environ["PATH"], "URL": address, "SUM": "a" * 64}
    said = subprocess.run(
        ["sh", "-c", shell], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    image_body, network_body, vm_body = yaml.safe_load_all(said)
    image = ClusterVirtualMachineImage.from_api(image_body)
    network = VirtualNetwork.from_api(network_body)
    vm = VirtualMachine.from_api(vm_body)
    assert image.spec.source.http is not None
    assert (image.spec.source.http.url, image.spec.checksum) == (address, f"sha256:{'a' * 64}")
    (root,), (nic,) = vm.spec.disks, vm.spec.networks or ()
    assert root.image_ref is not None
    assert (root.image_ref.kind, root.image_ref.name) == (image_body["kind"], image.metadata.name)
    assert nic.network_name == network.metadata.name
    assert vm.spec.cloud_init is not None
    assert vm.spec.cloud_init.ssh_authorized_keys == ("ssh-ed25519 AAAA me@home",)
    assert {"ips", "mac"} <= parse_chain(network_body["spec"]["cni"], default_name="first").capabilities
