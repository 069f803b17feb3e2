"""What the script that collects a cluster's state cuts out, whatever tool applied the objects."""

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.chart.renders import CHART, Object

_STAND_IN = """#!/bin/sh
case $* in
*" get virtualmachines.berth.dev "*json) cat "$SAID" ;;
*" version "*) echo '{}' ;;
esac
"""
MANIFEST = {"spec": {"image": "debian", "cloudInit": {"userData": '#cloud-config\npassword: "hidden"\n'}}}


@pytest.fixture
def gathered(tmp_path: Path) -> Callable[[Object], str]:
    """Runs the script with a cluster that has this object, and gives what the archive has of it."""
    stand_in, said, archive = tmp_path / "kubectl", tmp_path / "said.json", tmp_path / "out.tar.gz"
    stand_in.write_text(_STAND_IN)
    stand_in.chmod(0o755)

    def gather(thing: Object) -> str:
        said.write_text(json.dumps(thing, indent=4).replace("&", "\\u0026"))
        environment = {"PATH": os.environ["PATH"], "KUBECTL": str(stand_in), "SAID": str(said)}
        command = ["sh", str(CHART / "files" / "must-gather.sh"), "-o", str(archive)]
        subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=True)
        with tarfile.open(archive) as opened:
            (member,) = [each for each in opened.getmembers() if each.name.endswith("/virtualmachines.json")]
            content = opened.extractfile(member)
            assert content is not None
            return content.read().decode()

    return gather


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
