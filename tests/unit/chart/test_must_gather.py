"""What the script that collects a cluster's state cuts out, whatever tool applied the objects."""

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.chart.renders import CHART, Object

_STAND_IN = """#!/bin/sh
echo " $* " >>"$CALLS"
case $* in
*" get virtualmachines.berth.dev "*json) cat "$SAID" ;;
*" version "*) echo '{}' ;;
*" get deployments,daemonsets,pods "*) for place in $PLACES; do echo "$place"; done ;;
*" get pods "*go-template*) for place in $PLACES; do echo "berth-0 operator"; done ;;
esac
"""
MANIFEST = {"spec": {"image": "debian", "cloudInit": {"userData": '#cloud-config\npassword: "hidden"\n'}}}


@dataclass(frozen=True)
class Bench:
    """The script, beside a kubectl that answers what the test says."""

    folder: Path

    @property
    def archive(self) -> Path:
        return self.folder / "out.tar.gz"

    def run(self, *arguments: str, thing: Object | None = None, places: str = "") -> "subprocess.CompletedProcess[str]":
        """Run it on a cluster with this object, where something of Berth's is in these namespaces."""
        stand_in, said = self.folder / "kubectl", self.folder / "said.json"
        stand_in.write_text(_STAND_IN)
        stand_in.chmod(0o755)
        said.write_text(json.dumps(thing, indent=4).replace("&", "\\u0026"))
        environment = {"KUBECTL": str(stand_in), "SAID": str(said), "CALLS": str(self.folder / "calls")}
        return subprocess.run(
            ["sh", str(CHART / "files" / "must-gather.sh"), "-o", str(self.archive), *arguments],
            env={"PATH": os.environ["PATH"], "PLACES": places, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def gathered(bench: Bench) -> Callable[[Object], str]:
    """Runs the script with a cluster that has this object, and gives what the archive has of it."""

    def gather(thing: Object) -> str:
        done = bench.run(thing=thing, places="berth-system")
        assert done.returncode == 0, done.stderr
        with tarfile.open(bench.archive) as opened:
            (member,) = [each for each in opened.getmembers() if each.name.endswith("/virtualmachines.json")]
            content = opened.extractfile(member)
            assert content is not None
            return content.read().decode()

    return gather


def test_it_finds_berth_in_whatever_namespace_it_is(bench: Bench) -> None:
    done = bench.run(places="machines machines")
    assert (done.returncode, done.stderr) == (0, "")
    assert any(" logs -n machines berth-0 -c operator " in call for call in bench.calls)
    assert not any("berth-system" in call for call in bench.calls)


def test_it_does_not_guess_which_of_two_is_meant(bench: Bench) -> None:
    done = bench.run(places="one two")
    assert done.returncode == 1
    assert done.stderr == "something of Berth's is in several namespaces; say which with -n NAMESPACE:\none\ntwo\n"
    assert not bench.archive.exists()


@pytest.mark.parametrize("arguments", [(), ("-n", "wrong")])
def test_an_archive_without_logs_is_said_to_be_one(bench: Bench, arguments: tuple[str, ...]) -> None:
    done = bench.run(*arguments)
    assert done.returncode == 1
    namespace = arguments[-1] if arguments else "berth-system"
    assert done.stderr == (
        f"namespace {namespace} has no Deployment, DaemonSet or Pod of Berth's: no logs are in the archive\n"
    )
    assert bench.archive.exists()


def test_it_asks_for_no_secret(bench: Bench) -> None:
    bench.run(places="berth-system")
    assert len(bench.calls) > 20
    assert not [call for call in bench.calls if "secret" in call.lower()]


@pytest.mark.parametrize(
    "annotations",
    [
        {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(MANIFEST)},
        {"kapp.k14s.io/original": json.dumps(MANIFEST, separators=(",", ":"))},
        {"example.com/copy": json.dumps(MANIFEST, indent=2)},
        {"example.com/twice": json.dumps({"copy": json.dumps(MANIFEST)})},
        {"example.com/yaml": "cloudInit:\n  userData: hidden\n"},
        {"example.com/last-applied": "aGlkZGVu hidden"},
    ],
)
def test_no_annotation_keeps_a_copy_of_user_data(
    gathered: Callable[[Object], str], annotations: dict[str, str]
) -> None:
    text = gathered({"metadata": {"annotations": annotations, "name": "web"}, **MANIFEST})
    assert "hidden" not in text
    found = json.loads(text)
    assert found["metadata"] == {"annotations": dict.fromkeys(annotations, "(redacted)"), "name": "web"}
    assert found["spec"] == {"image": "debian", "cloudInit": {"userData": "(redacted)"}}


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("https://user:hidden@images.example/a", "https://(redacted)@images.example/a"),
        ("HTTPS://user:hidden@images.example/a", "HTTPS://(redacted)@images.example/a"),
        ("https://user:hid&hidden@images.example/a", "https://(redacted)@images.example/a"),
        ("https://user:hidden@hidden@images.example/a", "https://(redacted)@images.example/a"),
        ("https://user:[hidden]@images.example/a", "https://(redacted)@images.example/a"),
        ("https://images.example/a?expires=1&signature=hidden", "https://images.example/a?(redacted)"),
        ("https://images.example/a&b?signature=hidden", "https://images.example/a&b?(redacted)"),
        ("https://images.example/@v1/a", "https://images.example/@v1/a"),
    ],
)
def test_a_url_keeps_its_host_and_no_password(gathered: Callable[[Object], str], url: str, left: str) -> None:
    copy = {"example.com/copy": json.dumps({"url": url, "size": "1"}).replace("&", "\\u0026")}
    text = gathered({"metadata": {"annotations": copy}, "status": {"message": f"cannot get {url}: refused"}})
    assert "hidden" not in text
    found = json.loads(text)
    assert found["status"]["message"] == f"cannot get {left}{'' if '?' in left else ':'} refused"
    assert json.loads(found["metadata"]["annotations"]["example.com/copy"]) == {"url": left, "size": "1"}


def test_what_only_names_user_data_stays(gathered: Callable[[Object], str]) -> None:
    thing = {
        "spec": {"cloudInit": {"userDataSecretRef": {"name": "cloud", "key": "userData"}}},
        "status": {"message": "the Secret cloud has no key userData"},
    }
    assert json.loads(gathered(thing)) == thing
