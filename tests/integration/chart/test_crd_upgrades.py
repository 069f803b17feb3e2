"""`berth-operator apply-crds` on clusters that have definitions of another day, and objects in them."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml
from tests.integration.api.apiserver import PROJECT, ApiServer
from tests.integration.chart.conftest import Operator, git, on_each_release
from tests.unit.chart.renders import render

from berth_api.customresources import CUSTOM_RESOURCES, definition

pytestmark = pytest.mark.integration

DEFINITIONS = {f"{each.kind.plural}.{each.kind.group}": definition(each) for each in CUSTOM_RESOURCES}
POOL = {
    "apiVersion": "berth.dev/v1alpha1",
    "kind": "StoragePool",
    "metadata": {"name": "default"},
    "spec": {"type": "dir", "path": "/var/lib/berth/pools/default"},
}


def create(server: ApiServer, *things: Mapping[str, Any]) -> None:
    server.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(things))


def install(server: ApiServer, definitions: Sequence[Mapping[str, Any]]) -> None:
    """Create definitions as `helm install` does."""
    create(server, *definitions)
    server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")


def read(server: ApiServer, *what: str) -> Any:
    return json.loads(server.kubectl("get", *what, "-o", "json"))


def served(server: ApiServer, name: str) -> Any:
    """The schema that the server goes by."""
    return read(server, "crd", name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def kept(schema: Any) -> Any:
    """A schema as the server keeps it: without empty properties."""
    if isinstance(schema, dict):
        return {name: kept(value) for name, value in schema.items() if not (name == "properties" and value == {})}
    return [kept(each) for each in schema] if isinstance(schema, list) else schema


def former_commit() -> str:
    """The last commit whose definitions are not the present ones; the oldest that there is, where all are the same."""
    commits = git("log", "--format=%H", "--", "crds/*.yaml").split()
    present = {path.name: path.read_text() for path in (PROJECT / "crds").glob("*.yaml")}
    return next((each for each in commits if definitions_of(each) != present), commits[-1])


def definitions_of(commit: str) -> dict[str, str]:
    paths = git("ls-tree", "--name-only", commit, "crds/").split()
    return {path.split("/")[1]: git("show", f"{commit}:{path}") for path in paths if path.endswith(".yaml")}


def test_objects_that_the_former_definitions_stored_are_read_and_valid_afterwards(
    fresh: ApiServer, operator: Operator
) -> None:
    commit = former_commit()
    install(fresh, [yaml.safe_load(text) for text in definitions_of(commit).values()])
    examples = [path for path in git("ls-tree", "--name-only", commit, "examples/").split() if path.endswith(".yaml")]
    text = "\n---\n".join(git("show", f"{commit}:{path}") for path in examples)
    create(fresh, *yaml.safe_load_all(text), POOL)
    kinds = "virtualmachines,virtualmachineclasses,clustervirtualmachineimages,virtualnetworks,storagepools"
    before = read(fresh, kinds)["items"]
    assert {each["kind"] for each in before} >= {"VirtualMachine", "VirtualNetwork", "StoragePool"}

    done = operator("apply-crds", fresh.kubeconfig)

    assert done.returncode == 0, done.stderr
    assert read(fresh, kinds)["items"] == before
    for name, wanted in DEFINITIONS.items():
        assert served(fresh, name) == kept(wanted["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    # Every one can still be written, with all validations: stored ones are not merely readable.
    for each in before:
        where = ["-n", each["metadata"]["namespace"]] if "namespace" in each["metadata"] else []
        fresh.kubectl("label", *where, f"{each['kind']}.berth.dev", each["metadata"]["name"], "looked=at")
    fresh.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text)


@on_each_release
def test_a_field_that_is_new_can_be_used_at_once(fresh: ApiServer, operator: Operator) -> None:
    former = copy.deepcopy(DEFINITIONS)
    schema = former["storagepools.berth.dev"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["shared"]
    schema.pop("x-kubernetes-validations", None)
    former["storagepools.berth.dev"]["spec"]["versions"][0]["additionalPrinterColumns"] = []
    install(fresh, list(former.values()))
    create(fresh, POOL)

    done = operator("apply-crds", fresh.kubeconfig)

    assert done.returncode == 0, done.stderr
    fresh.kubectl("patch", "storagepool", "default", "--type=merge", "-p", '{"spec": {"shared": true}}')
    assert read(fresh, "storagepool", "default")["spec"]["shared"] is True
    assert "SHARED" in fresh.kubectl("get", "storagepools")


@on_each_release
def test_a_cluster_without_any_gets_them_all(fresh: ApiServer, operator: Operator) -> None:
    done = operator("apply-crds", fresh.kubeconfig)

    assert done.returncode == 0, done.stderr
    create(fresh, POOL)
    again = operator("apply-crds", fresh.kubeconfig)
    assert again.returncode == 0, again.stderr


def test_a_downgrade_below_what_is_stored_writes_nothing(fresh: ApiServer, operator: Operator) -> None:
    newer = copy.deepcopy(DEFINITIONS)
    versions = newer["storagepools.berth.dev"]["spec"]["versions"]
    versions.append({**copy.deepcopy(versions[0]), "name": "v1beta1"})
    versions[0]["storage"] = False
    del newer["hypervisors.berth.dev"]["spec"]["versions"][0]["additionalPrinterColumns"]
    install(fresh, list(newer.values()))
    create(fresh, POOL)
    before = read(fresh, "crd")["items"]

    done = operator("apply-crds", fresh.kubeconfig)

    assert done.returncode == 1
    assert "storagepools.berth.dev has objects stored as v1beta1" in done.stderr
    assert [each["metadata"]["resourceVersion"] for each in read(fresh, "crd")["items"]] == [
        each["metadata"]["resourceVersion"] for each in before
    ]


def test_the_jobs_account_may_do_just_this(bare: ApiServer, operator: Operator) -> None:
    release = render()
    account = [release.one(kind, "berth-crds") for kind in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")]
    create(bare, *account)
    token = bare.kubectl("create", "token", "berth-crds", "-n", "machines").strip()
    kubeconfig = bare.write_kubeconfig("crds", token)

    done = operator("apply-crds", kubeconfig)

    assert done.returncode == 0, done.stderr

    def may(verb: str, what: str) -> bool:
        asked = bare.kubectl("--kubeconfig", str(kubeconfig), "auth", "can-i", verb, what, check=False)
        return asked.strip() == "yes"

    assert may("patch", "crd/virtualmachines.berth.dev")
    for verb, what in (
        ("patch", "crd/others.example.com"),
        ("delete", "crd/virtualmachines.berth.dev"),
        ("list", "crd"),
        ("get", "virtualmachines.berth.dev"),
        ("get", "secrets"),
    ):
        assert not may(verb, what), f"{verb} {what}"


def test_without_the_rights_the_error_says_which_are_missing(bare: ApiServer, operator: Operator) -> None:
    bare.kubectl("create", "serviceaccount", "nobody", check=False)
    token = bare.kubectl("create", "token", "nobody").strip()

    done = operator("apply-crds", bare.write_kubeconfig("nobody", token))

    assert done.returncode == 2
    assert "the right to get, create and patch customresourcedefinitions" in done.stderr
