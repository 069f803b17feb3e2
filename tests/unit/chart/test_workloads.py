"""What holds for every Pod of the chart, whatever the values; what does not is named here, with its reason."""

import re
from collections.abc import Mapping

import pytest
from tests.unit.chart.cases import rendered
from tests.unit.chart.renders import Container, Release, render

from berth_operator.controllers.anchorpods import ACCOUNT

PRIVILEGED: Mapping[tuple[str, str], str] = {
    ("DaemonSet berth-agent", "agent"): "mounts sandboxes that outlive it: mountPropagation Bidirectional takes it",
    (
        "DaemonSet berth-agent",
        "libvirtd",
    ): "starts libvirtd in a control group and mounts that are not its own, with the node's devices",
}
ROOT = {*PRIVILEGED, ("DaemonSet berth-agent", "libvirt-layout")}
"""Containers that are root; libvirt-layout writes what is root's, and may do nothing else that root may."""
HOST_PATHS = {
    "/run/libvirt",
    "/run/netns",
    "/var/lib/berth",
    "/var/lib/cni",
    "/var/lib/berth-libvirt",
    # With libvirt.mode managed:
    "/dev",
    "/sys",
    # Named by the values of a case:
    "/srv/pool",
    "/mnt/nfs",
    "/srv/images",
    "/usr/lib/cni",
}


def key(container: Container) -> tuple[str, str]:
    return container.owner, str(container.spec["name"])


def long_running(release: Release) -> list[Container]:
    return [
        each for each in release.containers if not each.is_init and each.owner.startswith(("Deployment", "DaemonSet"))
    ]


def test_every_image_names_a_version(release: Release) -> None:
    for container in release.containers:
        image = container.spec["image"]
        assert "@sha256:" in image or re.search(r":[A-Za-z0-9._-]+$", image), f"{container}: {image}"
        assert not image.endswith(":latest"), container


def test_every_container_says_what_it_needs_and_what_memory_it_may_take(release: Release) -> None:
    for container in release.containers:
        resources = container.spec["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), container
        assert "memory" in resources["limits"], container


def test_roots_are_read_only(release: Release) -> None:
    for container in release.containers:
        assert container.spec["securityContext"]["readOnlyRootFilesystem"] is True, container


def test_nothing_gains_privileges_but_what_is_listed_with_a_reason(release: Release) -> None:
    for container in release.containers:
        context = container.spec["securityContext"]
        if context.get("privileged"):
            assert key(container) in PRIVILEGED, container
            continue
        assert context["allowPrivilegeEscalation"] is False, container
        assert context["capabilities"]["drop"] == ["ALL"], container
        if key(container) not in ROOT:
            assert "add" not in context["capabilities"], container
            assert container.pod["securityContext"]["runAsNonRoot"] is True, container
            assert container.pod["securityContext"]["runAsUser"] > 0, container
            assert container.pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, container


def test_an_agent_without_privileges_shares_no_mounts() -> None:
    agent = rendered("little").one("DaemonSet", "berth-agent")["spec"]["template"]["spec"]
    (container,) = agent["containers"]
    assert "privileged" not in container["securityContext"]
    assert "ALL" not in container["securityContext"]["capabilities"]["add"]
    assert "Bidirectional" not in {each.get("mountPropagation") for each in container["volumeMounts"]}


def test_only_agents_are_in_the_hosts_namespaces_and_only_with_a_libvirtd_among_its_processes(release: Release) -> None:
    for owner, pod in release.pods:
        spec = pod["spec"]
        assert not spec.get("hostIPC"), owner
        assert bool(spec.get("hostNetwork")) == (owner == "DaemonSet berth-agent"), owner
        managed = any(each["name"] == "libvirtd" for each in spec["containers"])
        assert bool(spec.get("hostPID")) == managed, owner


def test_only_agents_see_the_nodes_files_and_only_what_is_listed(release: Release) -> None:
    for owner, pod in release.pods:
        paths = {each["hostPath"]["path"] for each in pod["spec"].get("volumes", ()) if "hostPath" in each}
        assert paths <= HOST_PATHS, owner
        assert not paths or owner == "DaemonSet berth-agent", owner


def test_only_sandboxes_are_shared_both_ways(release: Release) -> None:
    for container in release.containers:
        shared = [each for each in container.spec["volumeMounts"] if each.get("mountPropagation") == "Bidirectional"]
        assert {each["mountPath"] for each in shared} <= {"/run/netns"}, container


def test_what_runs_for_long_is_probed(release: Release) -> None:
    for container in long_running(release):
        assert "readinessProbe" in container.spec, container
        # The one that watches over libvirtd has nothing that could hang; libvirtd itself is not its child.
        if container.spec["name"] != "libvirtd":
            assert {"livenessProbe", "startupProbe"} <= container.spec.keys(), container


def test_parts_run_only_where_their_images_do() -> None:
    """The Dockerfile takes libraries and programs of one architecture."""
    release = rendered("defaults on 1.36")
    assert len(release.pods) >= 4
    for owner, pod in release.pods:
        assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}, owner


def test_no_directory_that_a_node_lacks_keeps_its_agent_away() -> None:
    pod = rendered("everything").one("DaemonSet", "berth-agent")["spec"]["template"]["spec"]
    types = {each["hostPath"]["path"]: each["hostPath"]["type"] for each in pod["volumes"] if "hostPath" in each}
    assert {"/srv/pool", "/mnt/nfs", "/srv/images", "/usr/lib/cni"} <= types.keys()
    assert set(types.values()) == {"DirectoryOrCreate"}


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, {"/run/libvirt": "/run/libvirt"}),
        ({"socketDir": "/var/run/libvirt"}, {"/run/libvirt": "/var/run/libvirt"}),
        ({"socketDir": "/srv/virt"}, {"/run/libvirt": "/srv/virt"}),
        (
            {"socketDir": "/srv/virt", "uri": "qemu:///system?socket=/srv/virt/libvirt-sock"},
            {"/run/libvirt": "/srv/virt", "/srv/virt": "/srv/virt"},
        ),
    ],
)
def test_the_agent_has_libvirts_sockets_where_its_client_looks(
    given: Mapping[str, str], seen: Mapping[str, str]
) -> None:
    pod = render(values={"libvirt": given}).one("DaemonSet", "berth-agent")["spec"]["template"]["spec"]
    paths = {each["name"]: each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    mounts = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "libvirt"]
    assert {each["mountPath"]: paths[each["name"]] for each in mounts} == seen


def test_critical_pods_are_admitted_by_a_quota_where_that_is_asked_for() -> None:
    assert not rendered("defaults on 1.36").of("ResourceQuota")
    (quota,) = rendered("everything").of("ResourceQuota")
    assert quota["spec"]["hard"] == {"pods": "10000"}
    (scope,) = quota["spec"]["scopeSelector"]["matchExpressions"]
    assert scope["scopeName"] == "PriorityClass"
    used = {pod["spec"].get("priorityClassName") for _, pod in rendered("everything").pods} - {None}
    assert set(scope["values"]) == used == {"system-cluster-critical", "system-node-critical"}


def test_probes_and_services_name_ports_that_are_there(release: Release) -> None:
    for container in release.containers:
        ports = {each["name"] for each in container.spec.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = container.spec.get(probe, {}).get("httpGet", {}).get("port")
            assert port is None or port in ports or isinstance(port, int), f"{container}: {probe}"
    for service in release.of("Service"):
        selected = [pod for _, pod in release.pods if selects(service["spec"]["selector"], pod)]
        assert selected, service["metadata"]["name"]
        for pod in selected:
            names = {port["name"] for each in pod["spec"]["containers"] for port in each.get("ports", ())}
            assert {each["targetPort"] for each in service["spec"]["ports"]} <= names


def test_agents_answer_probes_on_the_nodes_loopback_alone(release: Release) -> None:
    (agent,) = [each for each in release.containers if key(each) == ("DaemonSet berth-agent", "agent")]
    given = {each["name"]: each.get("value") for each in agent.spec["env"]}
    for probe, what in (("startupProbe", "LIVENESS"), ("livenessProbe", "LIVENESS"), ("readinessProbe", "READINESS")):
        get = agent.spec[probe]["httpGet"]
        assert f"http://{get['host']}:{get['port']}{get['path']}" == given[f"BERTH_AGENT_{what}_URL"]
        assert get["host"] == "127.0.0.1"


def test_operators_answer_probes_where_they_are_asked(release: Release) -> None:
    (operator,) = [each for each in release.containers if each.owner == "Deployment berth-operator"]
    given = {each["name"]: each.get("value") for each in operator.spec["env"]}
    ports = {each["name"]: each["containerPort"] for each in operator.spec["ports"]}
    for probe, what in (("startupProbe", "LIVENESS"), ("livenessProbe", "LIVENESS"), ("readinessProbe", "READINESS")):
        get = operator.spec[probe]["httpGet"]
        assert f"http://[::]:{ports[get['port']]}{get['path']}" == given[f"BERTH_OPERATOR_{what}_URL"]


def selects(labels: Mapping[str, str], pod: Mapping[str, Mapping[str, Mapping[str, str]]]) -> bool:
    return labels.items() <= pod["metadata"]["labels"].items()


def test_every_selector_selects_its_own_pods_and_no_others(release: Release) -> None:
    for workload in release.of("Deployment", "DaemonSet"):
        wanted = workload["spec"]["selector"]["matchLabels"]
        name = f"{workload['kind']} {workload['metadata']['name']}"
        assert [owner for owner, pod in release.pods if selects(wanted, pod)] == [name]
    for budget in release.of("PodDisruptionBudget", "NetworkPolicy"):
        spec = budget["spec"]
        wanted = (spec.get("selector") or spec.get("podSelector"))["matchLabels"]
        assert [owner for owner, pod in release.pods if selects(wanted, pod)] == ["Deployment berth-operator"]


def test_a_selector_holds_nothing_that_a_release_changes(release: Release) -> None:
    for workload in release.of("Deployment", "DaemonSet"):
        assert workload["spec"]["selector"]["matchLabels"].keys() == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/component",
        }


def test_every_volume_is_mounted_and_every_mount_has_its_volume(release: Release) -> None:
    for owner, pod in release.pods:
        volumes = [each["name"] for each in pod["spec"].get("volumes", ())]
        mounted = {
            mount["name"]
            for part in ("initContainers", "containers")
            for each in pod["spec"].get(part, ())
            for mount in each["volumeMounts"]
        }
        assert set(volumes) == mounted, owner
        assert len(volumes) == len(set(volumes)), owner


def test_what_pods_refer_to_exists(release: Release) -> None:
    for owner, pod in release.pods:
        account = pod["spec"].get("serviceAccountName")
        assert account not in {None, "default"}, owner
        assert release.has("ServiceAccount", account), owner
        for volume in pod["spec"].get("volumes", ()):
            if "configMap" in volume:
                assert release.has("ConfigMap", volume["configMap"]["name"]), owner
            assert "secret" not in volume, f"{owner}: no part of Berth reads a Secret from a file"


def test_operators_are_kept_apart_and_disturbed_one_at_a_time() -> None:
    release = rendered("defaults on 1.36")
    operator = release.one("Deployment", "berth-operator")["spec"]
    assert operator["replicas"] == 2
    (term,) = operator["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert selects(term["podAffinityTerm"]["labelSelector"]["matchLabels"], operator["template"])
    assert release.one("PodDisruptionBudget", "berth-operator")["spec"]["maxUnavailable"] == 1


def test_agents_stay_on_their_nodes_whatever_befalls_these() -> None:
    agent = rendered("defaults on 1.36").one("DaemonSet", "berth-agent")["spec"]
    pod = agent["template"]["spec"]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"
    assert agent["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0},
    }


def test_the_operator_is_let_out_to_the_ports_of_the_api_server_and_to_dns() -> None:
    policy = rendered("everything").one("NetworkPolicy", "berth-operator")
    ports = [(each["port"], each["protocol"]) for rule in policy["spec"]["egress"] for each in rule["ports"]]
    assert ports == [(443, "TCP"), (16443, "TCP"), (53, "UDP"), (53, "TCP")]


def test_anchors_have_an_account_of_their_own_and_the_secrets_to_pull_their_image() -> None:
    release = rendered("everything")
    assert release.has("ServiceAccount", ACCOUNT)
    (operator,) = release.one("Deployment", "berth-operator")["spec"]["template"]["spec"]["containers"]
    assert {"name": "BERTH_OPERATOR_ANCHOR_PULL_SECRETS", "value": "pull,other"} in operator["env"]
    for case in ("everything", "defaults on 1.36"):
        release = rendered(case)
        assert release.one("ServiceAccount", ACCOUNT)["automountServiceAccountToken"] is False
        bindings = release.of("RoleBinding", "ClusterRoleBinding")
        assert ACCOUNT not in {subject["name"] for binding in bindings for subject in binding["subjects"]}
    assert not rendered("little").has("ServiceAccount", ACCOUNT)


def test_a_libvirtd_of_berths_sees_disks_under_the_names_that_agents_give_them() -> None:
    pod = rendered("managed").one("DaemonSet", "berth-agent")["spec"]["template"]["spec"]
    agent, libvirtd = pod["containers"]
    (layout,) = pod["initContainers"]
    mounts = [{each["name"]: each["mountPath"] for each in one["volumeMounts"]} for one in (agent, libvirtd)]
    shared = [name for name in mounts[0] if name == "state" or name.startswith("storage-")]
    assert {name: mounts[0][name] for name in (*shared, "libvirt")}.items() <= mounts[1].items()
    given = {each["name"]: each.get("value") for each in libvirtd["env"]}
    assert (
        given["BERTH_LIBVIRT_SHARED"].split(":")
        == [mounts[0][name] for name in shared]
        == [
            "/var/lib/berth",
            "/srv/pool",
        ]
    )
    assert layout["image"] == libvirtd["image"], "what is laid out is what is started"
    assert [each for each in libvirtd["env"] if each not in layout["env"]] == libvirtd["env"][len(layout["env"]) :]
    assert layout["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "Bidirectional" not in {each.get("mountPropagation") for each in libvirtd["volumeMounts"]}


def test_a_node_with_a_libvirtd_of_its_own_gets_no_container_for_it() -> None:
    pod = rendered("defaults on 1.36").one("DaemonSet", "berth-agent")["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["containers"]] == ["agent"]
    assert "initContainers" not in pod
    assert not {"libvirt-root", "libvirt-devices", "libvirt-system"} & {each["name"] for each in pod["volumes"]}
