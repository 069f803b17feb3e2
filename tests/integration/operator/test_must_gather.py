"""The script that collects what is wrong: what is in its archive, and above all what is not. On a real API server."""

import asyncio
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.integration.operator.apiserver import STATIC
from tests.integration.operator.worlds import World

from berth_api import kinds
from berth_api.fields import SYSTEM_NAMESPACE
from berth_api.kinds import Kind

pytestmark = pytest.mark.integration
POD = Kind("Pod", "pods", namespaced=True, group="", version="v1")
LIMIT_RANGE = Kind("LimitRange", "limitranges", namespaced=True, group="", version="v1")
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def gather(folder: Path, kubeconfig: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "HOME": str(folder)}
    return await asyncio.to_thread(
        subprocess.run,
        ["sh", str(STATIC / "must-gather.sh"), "-o", str(folder / "out.tar.gz"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=folder,
    )


def contents(folder: Path) -> dict[str, str]:
    """Texts of the archive's files, by their names below its one folder."""
    found = {}
    with tarfile.open(folder / "out.tar.gz") as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if content is not None:
                found[member.name.partition("/")[2]] = content.read().decode()
    return found


async def test_it_holds_what_is_there_and_no_secret(world: World, tmp_path: Path) -> None:
    await world.add_node("node-1")
    secret = {"metadata": {"name": "cloud", "namespace": "default"}, "stringData": {"userData": "#hidden-1"}}
    await world.api.create(kinds.SECRET, secret, "default")
    hidden = '#cloud-config\npassword: "hidden-2"\n'
    await world.create_vm("inline", cloudInit={"userData": hidden})
    body = await world.create_vm("sealed", cloudInit={"userDataSecretRef": {"name": "cloud", "key": "userData"}})
    note = [{"op": "add", "path": "/metadata/annotations", "value": {APPLIED: '{"spec":{"userData":"hidden-3"}}'}}]
    await world.api.patch_json(kinds.VIRTUAL_MACHINE, body["metadata"]["name"], "default", note)
    image = {
        "source": {"http": {"url": "http://images.example/a.qcow2?expires=9&token=hidden-4"}},
        "checksum": "sha256:" + "b" * 64,
    }
    await world.api.create(kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, {"metadata": {"name": "other"}, "spec": image})
    container = {"name": "operator", "image": "berth-operator"}
    labels = {"app.kubernetes.io/name": "berth", "app.kubernetes.io/component": "operator"}
    containers = {"initContainers": [container | {"name": "layout"}], "containers": [container]}
    pod = {"metadata": {"name": "berth-operator-0", "labels": labels}, "spec": {"nodeName": "node-1", **containers}}
    await world.api.create(POD, pod, SYSTEM_NAMESPACE)
    limits = {"metadata": {"name": "usual"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}}
    await world.api.create(LIMIT_RANGE, limits, SYSTEM_NAMESPACE)
    try:
        async with world.operator():
            sealed = await world.bound("sealed")
            await world.bound("inline")
        done = await gather(tmp_path, world.server.kubeconfig)
    finally:
        await world.api.delete(POD, "berth-operator-0", SYSTEM_NAMESPACE)
        await world.api.delete(LIMIT_RANGE, "usual", SYSTEM_NAMESPACE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out.tar.gz")
    found = contents(tmp_path)
    whole = "\n".join(found.values())
    assert '"name": "sealed"' in found["objects/virtualmachines.json"]
    assert "inline" in found["objects/virtualmachines.txt"]
    assert "node-1" in found["nodes.txt"]
    assert "berth-operator" in found["leases.json"]
    assert "Scheduled" in found["events/virtualmachines.txt"]
    assert "berth-operator-0" in found["berth/pods.txt"]
    assert '"name": "usual"' in found["berth/limits.json"]
    assert "logs -n berth-system berth-operator-0 -c operator" in found["errors.txt"]  # it has no kubelet
    assert "logs -n berth-system berth-operator-0 -c layout" in found["errors.txt"]
    assert [number for number in range(1, 5) if f"hidden-{number}" in whole] == []
    assert sealed["status"]["claim"]["sealedUserData"] not in whole
    assert (tmp_path / "out.tar.gz").stat().st_mode & 0o077 == 0


async def test_what_may_not_be_read_is_named_and_the_rest_is_there(world: World, tmp_path: Path) -> None:
    done = await gather(tmp_path, world.server.operator_kubeconfig)
    assert done.returncode == 0, done.stderr
    assert "see errors.txt" in done.stderr
    found = contents(tmp_path)
    assert "objects/virtualnetworks.json" in found
    assert "forbidden" in found["errors.txt"].lower()


async def test_a_wrong_namespace_is_no_success(world: World, tmp_path: Path) -> None:
    done = await gather(tmp_path, world.server.kubeconfig, "-n", "default")
    assert done.returncode == 1
    assert "namespace default has no Deployment, DaemonSet or Pod of Berth's" in done.stderr


async def test_without_an_api_server_it_says_so(world: World, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.write_text(world.server.kubeconfig.read_text().replace(world.server.url, "https://127.0.0.1:1"))
    done = await gather(tmp_path, nowhere)
    assert done.returncode == 1
    assert "the API server cannot be reached" in done.stderr
    assert not (tmp_path / "out.tar.gz").exists()


@pytest.mark.parametrize("arguments", [("-x",), ("surplus",)])
async def test_wrong_arguments_are_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = await gather(tmp_path, tmp_path / "none", *arguments)
    assert done.returncode == 2
    assert "usage: must-gather.sh" in done.stderr
