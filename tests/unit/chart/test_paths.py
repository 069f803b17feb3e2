"""Directories: no two are mounted at one place, and what managed libvirt needs is hidden or removed by none."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.chart.cases import rendered
from tests.unit.chart.renders import render

from berth_dev.errors import CommandError


def managed(libvirt: Mapping[str, Any] | None = None, **agent: object) -> dict[str, Any]:
    return {"libvirt": {"mode": "managed", **(libvirt or {})}, "agent": agent}


def at(root: str) -> dict[str, Any]:
    return {"managed": {"rootDir": root}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"agent": {"storageDirs": ["/var/lib/berth"]}},
            "agent.storageDirs[0]: /var/lib/berth is mounted for agent.stateDir",
        ),
        (
            {"agent": {"storageDirs": ["/srv/a", "/srv/./a"]}},
            "agent.storageDirs[1]: /srv/a is mounted for agent.storageDirs[0]",
        ),
        (
            {"agent": {"storageDirs": ["/a"], "imageFileDir": "/a"}},
            "agent.imageFileDir: /a is mounted for agent.storageDirs[0]",
        ),
        ({"agent": {"storageDirs": ["/run/netns"]}}, "/run/netns is mounted for the chart itself"),
        ({"agent": {"storageDirs": ["/run/libvirt"]}}, "agent.storageDirs[0]: /run/libvirt is mounted"),
        (
            {"agent": {"extraVolumeMounts": [{"name": "a", "mountPath": "/var/lib/cni"}]}},
            "agent.extraVolumeMounts[0]: /var/lib/cni",
        ),
        (managed(privileged=False), "agent.privileged: false is not to be had with libvirt.mode: managed"),
        (managed({"uri": "test:///default"}), "libvirt.uri: with libvirt.mode: managed it begins with qemu:///system"),
        (managed(at("/var/lib")), "libvirt.managed.rootDir: /var/lib and /var/lib/berth (agent.stateDir)"),
        (managed(at("/var/lib/berth")), "libvirt.managed.rootDir: /var/lib/berth and /var/lib/berth (agent.stateDir)"),
        (managed(at("/var/lib/berth/libvirt")), "libvirt.managed.rootDir: /var/lib/berth/libvirt and"),
        (managed(at("/srv"), storageDirs=["/mnt", "/srv/a"]), "/srv and /srv/a (agent.storageDirs[1])"),
        (managed(at("/srv/images"), imageFileDir="/srv/images"), "/srv/images and /srv/images (agent.imageFileDir)"),
        (managed(at("/run/libvirt/root")), "/run/libvirt/root and /run/libvirt (libvirt.socketDir)"),
        (managed(at("/srv/a"), storageDirs=["/var"]), "agent.storageDirs[0]: /var would hide /var/cache/libvirt"),
        (managed(storageDirs=["/mnt", "/usr"]), "agent.storageDirs[1]: /usr would hide /usr"),
        (managed(storageDirs=["/etc"]), "agent.storageDirs[0]: /etc would hide /etc"),
        (managed(storageDirs=["/lib"]), "agent.storageDirs[0]: /lib would hide /lib"),
        (managed(storageDirs=["/var/lib/libvirt"]), "agent.storageDirs[0]: /var/lib/libvirt would hide"),
    ],
)
def test_directories_that_stand_in_each_others_way_are_refused(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(CommandError) as refused:
        render(values=values)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"agent": {"storageDirs": ["/var", "/usr"]}},
        {"agent": {"privileged": False}, "libvirt": {"uri": "qemu+unix:///system"}},
        {"libvirt": at("/var/lib/berth")},
        managed(
            at("/var/lib/berthlibvirt"), storageDirs=["/var/lib/libvirt/images", "/srv"], imageFileDir="/home/images"
        ),
        managed({"socketDir": "/run/berth", "uri": "qemu:///system?socket=/run/berth/libvirt-sock"}),
    ],
)
def test_others_are_taken(values: Mapping[str, Any]) -> None:
    assert render(values=values).has("DaemonSet", "berth-agent")


def test_virsh_in_the_container_asks_the_managed_libvirtd_and_readiness_no_other_one() -> None:
    values = managed({"socketDir": "/run/berth", **at("/srv/libvirt")})
    pod = render(values=values).one("DaemonSet", "berth-agent")["spec"]["template"]["spec"]
    (container,) = [each for each in pod["containers"] if each["name"] == "libvirtd"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["LIBVIRT_DEFAULT_URI"] == "qemu:///system?socket=/run/berth/libvirt-sock"
    assert container["readinessProbe"]["exec"]["command"][-2:] == ["qemu:///system?socket=/srv/libvirt/serving", "uri"]


def test_the_charts_own_volumes_of_managed_libvirt_leave_usual_names_to_others() -> None:
    pod = rendered("managed").one("DaemonSet", "berth-agent")["spec"]["template"]["spec"]
    assert not {"devices", "system"} & {each["name"] for each in pod["volumes"]}
