"""The images hold what they need and nothing else, run as the chart runs them, and are the same each time."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.images.conftest import Image

from berth_dev import archives, containers
from berth_dev.buildah import EPOCH
from berth_dev.caches import cache_root
from berth_dev.progress import silent
from berth_dev.startup import project_root
from berth_dev.tools import CNI_PLUGINS
from berth_libvirt import contents, trees

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800), pytest.mark.xdist_group("images")]

Images = Callable[[str], Image]
_TOOLS = {
    "sh",
    "bash",
    "dash",
    "busybox",
    "apt",
    "apt-get",
    "dpkg",
    "pip",
    "pip3",
    "perl",
    "curl",
    "wget",
    "gcc",
    "cc",
}
_UNCHECKED = 0b01
"""PEP 552: a pyc that names its source by hash, and is never compared with it."""


@pytest.fixture
def operator(image: Images) -> Image:
    return image("operator")


@pytest.fixture
def agent(image: Images) -> Image:
    return image("agent")


@pytest.fixture
def libvirt(image: Images) -> Image:
    return image("libvirt")


@pytest.fixture(params=["operator", "agent", "libvirt"])
def either(request: pytest.FixtureRequest, image: Images) -> Image:
    return image(request.param)


def test_the_operator_answers_as_nobody_in_a_root_that_it_cannot_write_to(operator: Image) -> None:
    assert operator.config["User"] == "65532:65532"
    said = operator.run(*operator.config["Entrypoint"], "--help")
    assert said.returncode == 0, said.stderr
    assert "apply-crds" in said.stdout
    wrote = operator.run("/usr/bin/python3", "-c", "import os; print(os.getuid()); open('/here', 'w')")
    assert wrote.stdout == "65532\n"
    assert "Read-only file system" in wrote.stderr


def test_the_operator_has_nothing_of_libvirt(operator: Image) -> None:
    others = [path for path in operator.entries if "/berth_operator/" not in path]
    assert [path for path in others if "libvirt" in path or "qemu" in path or "berth_agent" in path] == []
    assert "No module named 'libvirt'" in operator.run("/usr/bin/python3", "-c", "import libvirt").stderr


def test_the_operator_asks_for_its_cluster_by_verified_tls(operator: Image) -> None:
    said = operator.run(
        "/usr/bin/python3", "-c", "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 100)"
    )
    assert said.stdout == "True\n", said.stderr


def test_the_agent_starts_and_says_which_setting_is_missing(agent: Image) -> None:
    said = agent.run(*agent.config["Entrypoint"])
    assert said.returncode == 1
    assert "node_name" in said.stderr
    assert "Field required" in said.stderr


def test_the_agent_has_the_programs_that_it_runs(agent: Image) -> None:
    said = agent.run("/usr/bin/qemu-img", "--version")
    assert said.stdout.startswith("qemu-img version"), said.stderr
    said = agent.run("/usr/sbin/dnsmasq", "--version")
    assert said.stdout.startswith("Dnsmasq version"), said.stderr
    for program in ("nsenter", "prlimit", "nft", "iptables", "ip6tables"):
        said = agent.run("/usr/bin/python3", "-c", f"import subprocess; subprocess.run(['{program}', '--version'])")
        assert (said.returncode, said.stderr) == (0, "")


def test_the_agent_makes_a_disk_within_limits(agent: Image) -> None:
    program = (
        "import subprocess as s;"
        "s.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '/tmp/disk', '1M'], check=True);"
        "s.run(['prlimit', '--as=1000000000', '--', 'qemu-img', 'info', '--output=json', '/tmp/disk'], check=True)"
    )
    said = agent.run("/usr/bin/python3", "-c", program)
    assert json.loads(said.stdout)["format"] == "qcow2", said.stderr


def test_the_agents_qemu_boots_the_probe_that_tells_whether_kvm_works(agent: Image) -> None:
    program = "import asyncio; from berth_agent.hypervisor.accelerators import probe; print(asyncio.run(probe('tcg')))"
    said = agent.run("/usr/bin/python3", "-c", program)
    assert said.stdout == "None\n", said


def test_the_agent_speaks_to_libvirt(agent: Image) -> None:
    program = "import libvirt, libvirtaio; print(libvirt.open('test:///default').getHostname() != '')"
    said = agent.run("/usr/bin/python3", "-c", program)
    assert said.stdout == "True\n", said.stderr


def test_what_is_laid_out_on_a_node_is_what_the_image_holds(libvirt: Image, tmp_path: Path) -> None:
    tree = trees.lay_out(libvirt.root, tmp_path)
    name, entries = contents.load(libvirt.root)
    assert tree.name == name
    listed = {entry.path for entry in entries}
    assert {path for path in libvirt.entries if not Path(path).name.startswith(".wh.")} <= listed
    assert {"dev", "proc", "sys", "run", "tmp", "etc/libvirt", "var/lib/libvirt"} <= listed, "places to mount at"


def test_libvirt_and_qemu_have_all_that_they_load(libvirt: Image) -> None:
    for program in ("/usr/sbin/libvirtd", "/usr/sbin/virtlogd", "/usr/bin/virsh", "/usr/bin/qemu-img"):
        said = libvirt.run(program, "--version")
        assert (said.returncode, said.stderr) == (0, ""), program
    said = libvirt.run("/usr/bin/qemu-system-x86_64", "-accel", "help")
    assert {"kvm", "tcg"} <= set(said.stdout.split()), said.stderr
    said = libvirt.run(*libvirt.config["Entrypoint"], "watch")
    assert "BERTH_LIBVIRT_ROOT_DIR" in said.stderr


def test_every_cni_plugin_answers(agent: Image) -> None:
    plugins = {path.name for path in (agent.root / "opt/cni/bin").iterdir()}
    assert plugins == {plugin.partition("/")[2] for plugin in CNI_PLUGINS}
    said = agent.run("/opt/cni/bin/bridge", stdin='{"cniVersion": "1.0.0"}', CNI_COMMAND="VERSION")
    assert "1.0.0" in json.loads(said.stdout)["supportedVersions"]


def test_there_is_neither_a_shell_nor_a_package_tool(either: Image) -> None:
    assert {path.name for path in _files(either)} & _TOOLS == set()
    assert {path.name for path in (either.root / "usr/bin").iterdir()} >= {"python3"}


def test_nothing_gives_rights_and_nothing_but_tmp_can_be_written_to(either: Image) -> None:
    files = {path: entry for path, entry in either.entries.items() if not entry.issym()}
    assert [path for path, entry in files.items() if entry.mode & 0o6000] == []
    assert {path for path, entry in files.items() if entry.mode & 0o002} <= {"tmp", "var/tmp"}
    assert {(entry.uid, entry.gid) for entry in files.values()} == {(0, 0)}
    assert [path for path, entry in files.items() if entry.pax_headers.get("SCHILY.xattr.security.capability")] == []


def test_everything_is_of_one_date(either: Image) -> None:
    assert {int(entry.mtime) for entry in either.entries.values()} == {EPOCH}
    compiled = [path for path in either.entries if path.endswith(".pyc")]
    assert compiled
    flags = {struct.unpack("<I", (either.root / path).read_bytes()[4:8])[0] for path in compiled}
    assert flags == {_UNCHECKED}


def test_nothing_names_the_machine_that_built_it(either: Image) -> None:
    home = str(Path.home()).encode()
    names = [str(project_root()).encode(), str(cache_root()).encode(), *([home] if home != b"/root" else [])]
    for path in _files(either):
        content = path.read_bytes()
        assert not [name for name in names if name in content], path


def test_the_bill_of_materials_is_whole_and_beside_the_archive(image: Images) -> None:
    wanted = {
        "operator": {"pkg:pypi/kopf", "pkg:pypi/numpy", "pkg:deb/debian/libssl3", "pkg:deb/debian/python3.11-minimal"},
        "agent": {
            "pkg:deb/debian/libvirt0",
            "pkg:pypi/libvirt-python",
            "pkg:golang/github.com/containernetworking/cni",
        },
        "libvirt": {"pkg:deb/debian/libvirt-daemon", "pkg:deb/debian/qemu-system-x86", "pkg:deb/debian/ovmf"},
    }
    for target, names in wanted.items():
        built = image(target)
        bill = built.archive.with_name(f"berth-{target}.cdx.json")
        document = json.loads(bill.read_bytes())
        assert bill.read_bytes() == (built.root / "usr/share/sbom" / bill.name).read_bytes()
        assert document["bomFormat"] == "CycloneDX"
        assert document["metadata"]["component"]["name"] == f"berth-{target}"
        found = {component["purl"].partition("@")[0] for component in document["components"]}
        assert names <= found
        installed = {
            path.name.partition("-")[0].lower() for path in built.root.glob("usr/local/lib/python3.11/*/*.dist-info")
        }
        told = {name.rpartition("/")[2].replace("-", "_") for name in found if name.startswith("pkg:pypi/")}
        assert installed <= told | {"berth"}


def test_every_library_is_of_a_package_that_the_bill_names(either: Image) -> None:
    recorded = {path.name for path in (either.root / "var/lib/dpkg/status.d").iterdir()}
    copyrights = {path.parent.name for path in (either.root / "usr/share/doc").glob("*/copyright")}
    assert recorded <= copyrights
    assert "libc6" in recorded


def test_built_anew_it_is_the_same(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    containers.copy_sources(project_root(), sources)
    archives_made = []
    for folder, anew in (("once", False), ("again", True)):
        (tmp_path / folder).mkdir()
        made = containers.build_archive("operator", cache_root(), sources, tmp_path / folder, silent, anew=anew)
        archives_made.append(made)
    once, again = archives_made
    assert archives.digest(again) == archives.digest(once)
    assert again.read_bytes() == once.read_bytes()


def test_an_image_stays_small(either: Image, capsys: pytest.CaptureFixture[str]) -> None:
    most = {"berth-operator": (65, 190), "berth-agent": (115, 290), "berth-libvirt": (80, 210)}[either.archive.stem]
    packed = either.archive.stat().st_size / 1e6
    unpacked = sum(entry.size for entry in either.entries.values()) / 1e6
    with capsys.disabled():
        print(f"\n{either.archive.stem}: {packed:.0f} MB compressed, {unpacked:.0f} MB unpacked")  # noqa: T201 - the sizes are told
    assert packed < most[0]
    assert unpacked < most[1]


def _files(image: Image) -> Iterator[Path]:
    for path, entry in image.entries.items():
        if entry.isfile():
            yield image.root / path
