"""The Dockerfile keeps to rules that nobody would see broken in a build that works."""

import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from berth_dev.buildah import EPOCH
from berth_dev.containers import PAUSE_REFERENCE, PAUSE_USER, SOURCES
from berth_dev.startup import project_root
from berth_dev.tools import CNI_PLUGINS, CNI_PLUGINS_VERSION

_IMAGES = ("operator", "agent", "libvirt")
_LABELS = ("title", "description", "version", "revision", "licenses")


@dataclass(frozen=True)
class Stage:
    """A stage: what it starts from, its name, and its instructions."""

    base: str
    name: str
    steps: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        """The arguments of every instruction of a kind."""
        return [arguments for name, arguments in self.steps if name == instruction]


def _instructions() -> list[tuple[str, str]]:
    text = (project_root() / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def _stages() -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    for name, arguments in _instructions():
        if name == "FROM":
            base, word, stage = arguments.split()
            assert word == "AS"
            current = Stage(base, stage, ())
        elif stages or name != "ARG":
            current = Stage(current.base, current.name, (*current.steps, (name, arguments)))
        else:
            continue
        stages[current.name] = current
    return stages


def _global_arguments() -> dict[str, str]:
    found = {}
    for name, arguments in _instructions():
        if name == "FROM":
            break
        assert name == "ARG"
        key, _, value = arguments.partition("=")
        found[key] = value
    return found


def test_what_is_pulled_is_named_by_an_argument_with_a_tag_that_does_not_move() -> None:
    arguments, stages = _global_arguments(), _stages()
    assert set(arguments) == {"BASE", "GO_BASE"}
    for value in arguments.values():
        tag = value.partition(":")[2]
        assert re.search(r"\d{8}|\d+\.\d+\.\d+", tag), f"{value} is another image tomorrow"
    for stage in stages.values():
        assert stage.base in {"${BASE}", "${GO_BASE}", "scratch", *stages}


def test_nothing_is_fetched_but_by_tools_that_verify_it() -> None:
    for name, arguments in _instructions():
        assert name != "ADD", "COPY what is here; what comes from elsewhere is verified by hash"
        assert not re.search(r"\b(curl|wget|git clone)\b|https?://", arguments)


def test_every_python_package_is_hashed_or_our_own_wheel() -> None:
    commands = [part for _, run in _instructions() for part in re.split(r"&&|;", run) if "pip install" in part]
    assert len(commands) == 3
    for command in commands:
        assert "--require-hashes" in command
        assert "--no-compile" in command
        assert "--only-binary :all:" in command
    script = (project_root() / "dev/container-images/project.sh").read_text(encoding="utf-8")
    assert re.findall(r"pip install .*", script)
    assert all("--no-deps --no-index" in line for line in re.findall(r"pip install .*", script))


def test_debian_packages_come_without_recommended_ones_and_leave_no_lists() -> None:
    for _, run in _instructions():
        if "apt-get install" in run:
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run


def test_no_secret_is_a_value_of_the_build() -> None:
    for name, arguments in _instructions():
        if name in {"ARG", "ENV", "LABEL"}:
            assert not re.search(r"(?i)passw|secret|token|credential|api_?key", arguments)
        assert "--mount" not in arguments, "the classic builder must do"


@pytest.mark.parametrize("image", _IMAGES)
def test_an_image_starts_from_nothing_and_takes_only_what_is_finished(image: str) -> None:
    stage = _stages()[image]
    assert stage.base == "scratch"
    assert {name for name, _ in stage.steps} == {"ARG", "LABEL", "COPY", "ENV", "USER", "ENTRYPOINT"}
    assert all(copy.startswith("--from=") for copy in stage.all("COPY"))
    last = stage.all("COPY")[-1]
    assert last == f"--from={image}-project /project /", "what changes most comes last"


@pytest.mark.parametrize("image", _IMAGES)
def test_an_image_says_what_it_is(image: str) -> None:
    stage = _stages()[image]
    [labels] = stage.all("LABEL")
    said = dict(each.split("=", 1) for each in shlex.split(labels))
    assert set(said) == {f"org.opencontainers.image.{label}" for label in _LABELS}
    assert said["org.opencontainers.image.title"] == f"berth-{image}"
    assert said["org.opencontainers.image.licenses"] == _project()["license"]
    [entrypoint] = stage.all("ENTRYPOINT")
    program = ["/usr/bin/python3", "-m", "berth_libvirt"] if image == "libvirt" else [f"/usr/local/bin/berth-{image}"]
    assert json.loads(entrypoint) == program


def test_the_operator_is_nobody() -> None:
    [user] = _stages()["operator"].all("USER")
    assert user == "65532:65532"


def test_anchors_run_an_image_of_one_program() -> None:
    """The same program, user and name as development clusters have, and the name that the chart asks for."""
    stages = _stages()
    assert stages["pause"].base == "scratch"
    assert stages["pause"].all("COPY") == ["--from=pause-program /program /"]
    assert stages["pause"].all("USER") == [PAUSE_USER]
    assert [json.loads(each) for each in stages["pause"].all("ENTRYPOINT")] == [["/pause"]]
    [run] = stages["pause-program"].all("RUN")
    assert "sh /src/build.sh /program/pause" in run
    values = yaml.safe_load((project_root() / "charts/berth/values.yaml").read_text(encoding="utf-8"))
    image = values["anchor"]["image"]
    assert f"{image['repository']}:{image['tag']}" == PAUSE_REFERENCE
    page = (project_root() / "docs/images.md").read_text(encoding="utf-8")
    assert f"docker build --target pause --build-arg REVISION=$(git rev-parse HEAD) -t {PAUSE_REFERENCE} ." in page


def test_what_the_plugins_call_is_in_the_agent() -> None:
    """The plugin firewall knows iptables and firewalld only; iptables' matches are libraries that nothing names."""
    said = " ".join(_stages()["agent-parts"].all("RUN")).split()
    plugins = {"/usr/sbin/nft", "/usr/sbin/iptables", "/usr/sbin/ip6tables", "/usr/lib/x86_64-linux-gnu/xtables"}
    assert plugins <= set(said)


def test_building_the_operator_or_libvirt_takes_nothing_of_the_agent() -> None:
    assert _needed_by("operator") == {"operator", "operator-parts", "operator-project", "project", "build"}
    assert _needed_by("libvirt") == {"libvirt", "libvirt-parts", "libvirt-project", "build"}


def _needed_by(target: str) -> set[str]:
    """The stages that an engine builds for a target."""
    stages = _stages()
    wanted, seen = [target], set[str]()
    while wanted:
        name = wanted.pop()
        if name in stages and name not in seen:
            seen.add(name)
            wanted += [stages[name].base, *re.findall(r"--from=(\S+)", " ".join(stages[name].all("COPY")))]
    return seen


def test_versions_are_those_of_the_project() -> None:
    versions = {arguments for name, arguments in _instructions() if name == "ARG" and arguments.startswith("VERSION=")}
    assert versions == {f"VERSION={_project()['version']}"}
    chart = (project_root() / "charts/berth/Chart.yaml").read_text(encoding="utf-8")
    assert f'appVersion: "{_project()["version"]}"' in chart


def test_plugins_and_dates_are_those_of_development_clusters() -> None:
    [plugins] = _stages()["plugins"].all("RUN")
    assert tuple(re.findall(r"(?:ipam|main|meta)/[a-z-]+", plugins)) == CNI_PLUGINS
    assert f"CNI_PLUGINS_VERSION={CNI_PLUGINS_VERSION}" in _stages()["plugins"].all("ARG")
    assert f"SOURCE_DATE_EPOCH={EPOCH}" in _stages()["build"].all("ARG")


def test_the_context_is_what_is_copied() -> None:
    lines = (project_root() / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert set(let_in) | {"Dockerfile", ".dockerignore"} == set(SOURCES)
    assert "*" in lines
    copied = {
        source
        for stage in _stages().values()
        for arguments in stage.all("COPY")
        if not arguments.startswith("--from=")
        for source in arguments.split()[:-1]
    }
    assert all((project_root() / source).exists() for source in copied)
    assert all(any(Path(source).is_relative_to(top) for top in let_in) for source in copied)


def _project() -> dict[str, str]:
    return dict(tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"])
