"""What the guest's cloud-init is told, it does: with the user-data inline, or from a Secret that no agent can read."""

import base64
import time

import pytest
from tests.e2e.conftest import World, address_of, http_answer

from berth_dev.clusters import Cluster
from berth_dev.processes import poll_until


def console_has(cluster: Cluster, vm: dict[str, object], text: str, *, seconds: float) -> bool:
    """Whether the guest's console shows the text within so many seconds."""
    log = cluster.node(vm["status"]["nodeName"]).path(f"/var/lib/berth/consoles/{vm['metadata']['uid']}.log")  # type: ignore[index]
    deadline = time.monotonic() + seconds
    while text not in (log.read_text(errors="replace") if log.exists() else ""):
        if not poll_until(deadline, interval=0.2):
            return False
    return True


@pytest.mark.timeout(900)  # a whole Debian on emulated processors: 90 s alone, several times that beside other guests
def test_cloud_init_of_debian_sets_the_hostname_and_runs_user_data(world: World) -> None:
    debian = world.vm(
        "debian-guest",
        memory={"size": "512Mi"},
        disks=[{"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "debian"}, "size": "3Gi"}],
        cloudInit={"userData": '#!/bin/sh\necho "user-data ran on $(hostname)" > /dev/ttyS0\n'},
    )
    (vm,) = world.start(debian)
    assert console_has(world.cluster, vm, "user-data ran on debian-guest", seconds=700)
    world.kubectl("wait", "--for=condition=GuestAgentConnected", "vm/debian-guest", "--timeout=60s", timeout=70)


def test_user_data_of_a_secret_reaches_the_guest_sealed(world: World) -> None:
    script = "#!/bin/sh\necho 'the secret script ran' > /dev/ttyS0\n"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "boot"},
        "data": {"script": base64.b64encode(script.encode()).decode()},
    }
    world.apply(secret)
    (vm,) = world.start(world.vm("web", cloudInit={"userDataSecretRef": {"name": "boot", "key": "script"}}))
    assert console_has(world.cluster, vm, "the secret script ran", seconds=60)
    assert "secret script" not in str(world.get("web"))
    assert "secret script" not in base64.b64decode(vm["status"]["claim"]["sealedUserData"]).decode(errors="replace")


def test_a_secret_that_is_missing_is_named_and_waited_for(world: World) -> None:
    world.apply(world.vm("web", cloudInit={"userDataSecretRef": {"name": "later", "key": "script"}}))
    assert "later" in world.wait_for_reason("web", "Scheduled", "SecretNotFound")
    world.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later"}, "stringData": {"script": "#!/bin/sh\n"}}
    )
    world.kubectl("wait", "--for=condition=Ready", "vm/web", "--timeout=120s", timeout=130)
    assert http_answer(address_of(world.get("web")))["hostname"] == "web"
