"""Rights: the chart's are those of the files that tests try out on a real API server, and no wider."""

import pytest
import yaml
from tests.unit.chart.cases import rendered
from tests.unit.chart.renders import CHART, NAMESPACE, Object, Release, leaves, named, render

FILES = CHART / "files"
OURS = "berth-system"
OF_ANCHORS = {"pods", "pods/resize", "poddisruptionbudgets"}


def of_the_files(folder: str) -> list[Object]:
    texts = [path.read_text() for path in sorted(FILES.glob(folder))]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def without_labels(thing: Object) -> Object:
    metadata = {name: value for name, value in thing["metadata"].items() if name != "labels"}
    return {**thing, "metadata": metadata}


@pytest.mark.parametrize("folder", ["rbac-*.yaml", "policies/*.yaml"])
def test_rights_and_policies_are_those_of_the_files_in_the_releases_namespace(folder: str) -> None:
    release = rendered("defaults on 1.36")
    for wanted in of_the_files(folder):
        text = yaml.safe_dump(wanted).replace(OURS, NAMESPACE)
        found = release.one(wanted["kind"], wanted["metadata"]["name"])
        assert without_labels(found) == without_labels(yaml.safe_load(text)), named(wanted)
        assert (wanted["metadata"].get("labels") or {}).items() <= found["metadata"]["labels"].items()


def test_nothing_names_a_namespace_that_is_not_the_releases(release: Release) -> None:
    for thing in release.objects:
        for path, value in leaves(thing):
            assert OURS not in str(value), f"{named(thing)}: {'.'.join(path)}"


def test_namespaced_objects_are_in_the_releases_namespace(release: Release) -> None:
    cluster_wide = ("ClusterRole", "ClusterRoleBinding", "PriorityClass", "StoragePool", "VirtualNetwork")
    for thing in release.objects:
        if thing["kind"] in cluster_wide or "AdmissionPolicy" in thing["kind"]:
            assert "namespace" not in thing["metadata"], named(thing)
        else:
            assert thing["metadata"]["namespace"] == NAMESPACE, named(thing)


def test_no_rule_has_a_wildcard(release: Release) -> None:
    for role in release.of("Role", "ClusterRole"):
        for rule in role.get("rules") or ():
            for part in ("apiGroups", "resources", "verbs", "nonResourceURLs"):
                assert not any("*" in each for each in rule.get(part, ())), named(role)


def test_no_rule_hands_out_rights_or_identities(release: Release) -> None:
    for role in release.of("Role", "ClusterRole"):
        for rule in role.get("rules") or ():
            assert not {"escalate", "bind", "impersonate", "approve", "sign"} & set(rule["verbs"]), named(role)
            assert "rbac.authorization.k8s.io" not in rule["apiGroups"], named(role)
            assert not {"pods/exec", "nodes/proxy", "serviceaccounts/token"} & set(rule["resources"]), named(role)


def test_bindings_are_to_roles_of_the_chart_and_to_accounts_of_the_chart(release: Release) -> None:
    for binding in release.of("RoleBinding", "ClusterRoleBinding"):
        role = binding["roleRef"]
        assert release.has(role["kind"], role["name"]), named(binding)
        for subject in binding["subjects"]:
            if subject["kind"] == "ServiceAccount":
                assert subject["namespace"] == NAMESPACE
                assert release.has("ServiceAccount", subject["name"]), named(binding)
            else:
                assert (named(binding), subject["name"]) == (
                    "ClusterRoleBinding berth-catalog-view",
                    "system:authenticated",
                )


def test_only_the_job_may_write_definitions_and_only_those_of_berth() -> None:
    release = rendered("defaults on 1.36")
    writers = {}
    for role in release.of("Role", "ClusterRole"):
        for rule in role["rules"]:
            if "customresourcedefinitions" in rule["resources"] and {"create", "patch", "update"} & set(rule["verbs"]):
                writers.setdefault(named(role), []).append(rule)
    (rules,) = writers.values()
    assert list(writers) == ["ClusterRole berth-crds"]
    names = {path.name.removesuffix(".yaml") + ".berth.dev" for path in (CHART / "crds").glob("*.yaml")}
    (patching,) = [rule for rule in rules if "patch" in rule["verbs"]]
    assert set(patching["resourceNames"]) == names
    assert [rule["verbs"] for rule in rules if rule is not patching] == [["create"]]


def test_the_jobs_rights_are_there_before_it_and_go_with_it() -> None:
    release = rendered("defaults on 1.36")
    weights = {}
    for kind in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"):
        annotations = release.one(kind, "berth-crds")["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]
        weights[kind] = int(annotations["helm.sh/hook-weight"])
    assert max(weight for kind, weight in weights.items() if kind != "Job") < weights["Job"]


def test_the_finalizer_policy_is_there_where_the_server_has_such_policies() -> None:
    assert not rendered("defaults on 1.32").of("MutatingAdmissionPolicy")
    assert rendered("defaults on 1.36").of("MutatingAdmissionPolicy")


def test_an_operator_whose_anchors_are_turned_off_may_take_them_away_and_nothing_else() -> None:
    with_them, without = rendered("defaults on 1.36"), render(values={"anchor": {"enabled": False}})
    assert without.one("ClusterRole", "berth-operator") == with_them.one("ClusterRole", "berth-operator")
    kept, all_of_them = (each.one("Role", "berth-operator")["rules"] for each in (without, with_them))
    assert [rule for rule in all_of_them if not OF_ANCHORS & set(rule["resources"])] == [
        rule for rule in kept if not OF_ANCHORS & set(rule["resources"])
    ]
    assert [rule for rule in kept if OF_ANCHORS & set(rule["resources"])] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"]},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["list", "delete"]},
    ]
    assert without.one("ClusterRole", "berth-agent") == with_them.one("ClusterRole", "berth-agent")


def test_roles_that_nobody_has_by_themselves_are_there_without_those_that_users_get() -> None:
    release = render(values={"rbac": {"userRoles": False}})
    assert release.has("ClusterRole", "berth-cluster-admin")
    assert release.has("ClusterRole", "berth-explain")
    assert release.has("Role", "berth-explain")
    for role in release.of("ClusterRole"):
        assert not any("aggregate-to" in label for label in role["metadata"]["labels"]), named(role)
    groups = [subject for each in release.of("ClusterRoleBinding") for subject in each["subjects"]]
    assert {subject["kind"] for subject in groups} == {"ServiceAccount"}


def test_the_job_outlasts_helms_own_patience_so_that_its_pod_can_be_asked() -> None:
    job = rendered("defaults on 1.36").one("Job", "berth-crds")
    assert job["spec"]["activeDeadlineSeconds"] > 300
