"""The chart's way through a cluster's life: installed, upgraded, removed, installed again."""

import datetime as dt
import json

import pytest
import yaml
from tests.integration.api.apiserver import ApiServer
from tests.integration.chart.conftest import Helm, Operator
from tests.unit.chart.cases import MATRIX, rendered
from tests.unit.chart.renders import CHART, PROJECT, Object

pytestmark = pytest.mark.integration

FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
"""Kinds of an operator that is not there."""
WITHOUT_A_KUBELET = "--no-hooks"
"""Hooks are Pods, which nothing here runs."""
VM = {
    "apiVersion": "berth.dev/v1alpha1",
    "kind": "VirtualMachine",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"className": "small", "disks": [{"name": "root", "size": "1Gi"}]},
}


def names(server: ApiServer, *what: str) -> list[str]:
    return server.kubectl("get", *what, "-o", "name").split()


def test_the_server_takes_everything_that_is_rendered(bare: ApiServer) -> None:
    # A Pod is refused, dry run or not, where its account is not there.
    bare.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(rendered("everything").of("ServiceAccount")))
    for case in MATRIX:
        objects = [each for each in rendered(case).objects if each["kind"] not in FOREIGN]
        text = yaml.safe_dump_all(objects)
        # Strict: a field that is misspelt is an error, not a warning.
        bare.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict", "-f", "-", stdin=text)


def test_all_but_agents_keep_to_the_restricted_pod_security_standard(bare: ApiServer) -> None:
    release = rendered("everything")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": labels}}
    bare.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    bare.kubectl("-n", "strict", "create", "serviceaccount", "some", check=False)

    def refusal(owner: str, pod: Object) -> str:
        spec = {**pod["spec"], "serviceAccountName": "some", "priorityClassName": ""}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried", "namespace": "strict"}, "spec": spec}
        (bare.folder / "tried.json").write_text(json.dumps(body))
        done = bare.kubectl(
            "create", "--dry-run=server", "-o", "name", "-f", str(bare.folder / "tried.json"), check=False
        )
        return "" if done.strip() == "pod/tried" else owner

    assert [owner for owner, pod in release.pods if refusal(owner, pod)] == ["DaemonSet berth-agent"]


def test_the_kustomize_base_is_taken_as_well(fresh: ApiServer) -> None:
    base = str(PROJECT / "charts" / "kustomize" / "base")
    fresh.kubectl("apply", "--server-side", "-k", base, check=False)
    fresh.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    fresh.kubectl("apply", "--server-side", "--validate=strict", "-k", base)
    assert names(fresh, "-n", "berth-system", "deployments,daemonsets") == [
        "deployment.apps/berth-operator",
        "daemonset.apps/berth-agent",
    ]


def test_a_release_comes_changes_and_goes_and_leaves_what_vms_need(bare: ApiServer, helm: Helm) -> None:
    notes = helm("install", "berth", str(CHART), "--create-namespace", WITHOUT_A_KUBELET).stdout
    assert "kubectl get hypervisors" in notes
    assert "EXPERIMENTAL" not in notes
    assert "mutatingadmissionpolicy.admissionregistration.k8s.io/berth-vm-finalizer" in names(
        bare, "mutatingadmissionpolicies"
    )
    bare.kubectl("create", "-f", "-", stdin=json.dumps(VM))

    managed = "libvirt.mode=managed,libvirt.managed.image.repository=example.com/libvirt,policies.enabled=false"
    warned = helm("upgrade", "berth", str(CHART), WITHOUT_A_KUBELET, "--set", managed).stdout
    assert "EXPERIMENTAL" in warned
    assert "policies.enabled is false" in warned
    assert names(bare, "validatingadmissionpolicies") == []

    helm("rollback", "berth", "1", WITHOUT_A_KUBELET)
    assert "validatingadmissionpolicy.admissionregistration.k8s.io/berth-agent-leases" in names(
        bare, "validatingadmissionpolicies"
    )

    helm("uninstall", "berth", WITHOUT_A_KUBELET)
    assert names(bare, "virtualmachines") == ["virtualmachine.berth.dev/web"]
    assert names(bare, "storagepools") == ["storagepool.berth.dev/default"]
    for kind in ("deployments,daemonsets,roles,rolebindings,services,poddisruptionbudgets", "serviceaccounts"):
        left = [each for each in names(bare, "-n", "machines", kind) if not each.endswith("/default")]
        assert left == []
    cluster_wide = "clusterroles,clusterrolebindings,validatingadmissionpolicies,mutatingadmissionpolicies"
    assert [each for each in names(bare, cluster_wide) if "/berth" in each] == []

    helm("install", "berth", str(CHART), WITHOUT_A_KUBELET)
    assert names(bare, "virtualmachines") == ["virtualmachine.berth.dev/web"]


def test_a_second_release_is_refused_as_the_names_are_taken(helm: Helm) -> None:
    helm("install", "berth", str(CHART), "--create-namespace", WITHOUT_A_KUBELET)
    second = helm("install", "other", str(CHART), WITHOUT_A_KUBELET, check=False)
    assert second.returncode != 0
    assert "exists and cannot be imported into the current release" in second.stderr


def test_a_release_of_another_name_takes_over_what_the_former_left(bare: ApiServer, helm: Helm) -> None:
    helm("install", "berth", str(CHART), "--create-namespace", WITHOUT_A_KUBELET)
    helm("uninstall", "berth", WITHOUT_A_KUBELET)
    refused = helm("install", "other", str(CHART), WITHOUT_A_KUBELET, check=False)
    assert 'StoragePool "default"' in refused.stderr
    assert "exists and cannot be imported into the current release" in refused.stderr
    helm("install", "other", str(CHART), WITHOUT_A_KUBELET, "--take-ownership")
    helm("uninstall", "other", WITHOUT_A_KUBELET)
    assert names(bare, "storagepools") == ["storagepool.berth.dev/default"], "kept by the second as by the first"


def test_a_sync_leaves_no_difference(bare: ApiServer, helm: Helm) -> None:
    """As a GitOps tool sees it: what was applied, applied once more, changes nothing."""
    helm("install", "berth", str(CHART), "--create-namespace", WITHOUT_A_KUBELET)
    manifest = helm("get", "manifest", "berth").stdout
    assert bare.kubectl("diff", "-f", "-", stdin=manifest) == ""
    # The same as tools do that apply on the server, as examples/gitops has them do.
    by_the_server = ("--server-side", "--field-manager=gitops", "--force-conflicts", "-f", "-")
    bare.kubectl("apply", *by_the_server, stdin=manifest)
    assert bare.kubectl("diff", *by_the_server, stdin=manifest) == ""


def test_the_operators_account_can_tell_whether_the_installation_works(
    bare: ApiServer, helm: Helm, operator: Operator
) -> None:
    helm("install", "berth", str(CHART), "--create-namespace", WITHOUT_A_KUBELET)
    token = bare.kubectl("create", "token", "berth-operator", "-n", "machines").strip()
    kubeconfig = bare.write_kubeconfig("operator", token)

    missing = operator("selfcheck", kubeconfig, "--timeout", "0")

    assert missing.returncode == 1
    assert "no operator leads" in missing.stderr
    assert "there is no Hypervisor" in missing.stderr

    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for name, holder in (("berth-operator", "operator-1"), ("node-1", "node-1")):
        spec = {"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": 40}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        bare.kubectl("-n", "machines", "create", "-f", "-", stdin=json.dumps(lease))
    hypervisor = {"apiVersion": "berth.dev/v1alpha1", "kind": "Hypervisor", "metadata": {"name": "node-1"}, "spec": {}}
    bare.kubectl("create", "-f", "-", stdin=json.dumps(hypervisor))
    ready = {"type": "Ready", "status": "True", "reason": "Up", "message": "", "lastTransitionTime": now[:19] + "Z"}
    status = json.dumps({"status": {"conditions": [ready]}})
    bare.kubectl("patch", "hypervisor", "node-1", "--subresource=status", "--type=merge", "-p", status)

    well = operator("selfcheck", kubeconfig, "--timeout", "0")

    assert well.returncode == 0, well.stderr
    assert well.stdout == "operator-1 leads; nodes that can run VMs: node-1\n"
