"""A release is one version, wherever it is named, and the changelog begins with it."""

import re
import tomllib

import yaml
from tests.unit.chart.renders import CHART, PROJECT

VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
_SECTION = re.compile(r"^## (\d+)\.(\d+)\.(\d+) - (\S+)$", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NAMED = re.compile(r"(?:ref=v|targetRevision: v|tag: v|berth-operator:|berth-agent:)(\d+\.\d+\.\d+)")
_NAMING = ("docs/install.md", "docs/images.md", "examples/gitops/argocd-berth.yaml", "examples/gitops/flux-berth.yaml")


def sections() -> list[tuple[tuple[int, ...], str, str]]:
    """The changelog's releases, the newest first: version, date, and what is said."""
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = list(_SECTION.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return [
        (tuple(map(int, head.groups()[:3])), head[4], text[head.end() : end])
        for head, end in zip(heads, ends, strict=True)
    ]


def test_chart_and_images_are_of_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)


def test_the_changelog_begins_with_the_chart_s_version_and_goes_back() -> None:
    versions = [version for version, _, _ in sections()]
    assert ".".join(map(str, versions[0])) == VERSION
    assert versions == sorted(set(versions), reverse=True)


def test_only_the_newest_may_be_unreleased() -> None:
    (_, newest, _), *others = sections()
    assert newest == "unreleased" or _DATE.fullmatch(newest)
    assert all(_DATE.fullmatch(date) for _, date, _ in others)


def test_each_release_but_the_first_says_what_an_upgrade_takes() -> None:
    *later, _ = all_of_them = sections()
    for (_, _, said), (former, _, _) in zip(later, all_of_them[1:], strict=True):
        _, found, steps = said.partition(f"### Upgrading from {'.'.join(map(str, former))}\n")
        assert found
        assert steps.strip()


def test_pages_and_examples_name_the_present_version() -> None:
    for path in _NAMING:
        named = _NAMED.findall((PROJECT / path).read_text(encoding="utf-8"))
        assert set(named) == {VERSION}, path
