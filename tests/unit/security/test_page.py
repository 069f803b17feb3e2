"""docs/security.md lists each attack that is tested, with the rule that refuses it, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.security.attempts import ATTEMPTS
from tests.integration.security.attempts_by_operators import OPERATOR_ATTEMPTS
from tests.integration.security.attempts_in_pods import POD_ATTEMPTS
from tests.integration.security.manifests import HARMLESS, MACHINES
from tests.integration.security.manifests_of_images import IMAGES
from tests.integration.security.roles import USER_ATTEMPTS

PROJECT = Path(__file__).parents[3]
PAGE = PROJECT / "docs" / "security.md"
TABLES: dict[str, list[tuple[str, str, str]]] = {
    "With a stolen agent token": [(each.name, each.what, each.rule.name) for each in ATTEMPTS],
    "From inside an agent's Pod": [(each.name, each.what, each.rule.name) for each in POD_ATTEMPTS],
    "With a stolen operator token": [(each.name, each.what, each.rule.name) for each in OPERATOR_ATTEMPTS],
    "With a user's token": [(each.name, each.what, each.rule.name) for each in USER_ATTEMPTS],
    "Manifests that are refused": [(each.name, each.what, each.rule) for each in (*MACHINES, *IMAGES)],
    "Manifests that are harmless": [(each.name, each.what, each.why) for each in HARMLESS],
}


def rows(heading: str) -> Iterator[tuple[str, ...]]:
    """The rows of the table below a heading, without its own head."""
    found = re.search(rf"^### {re.escape(heading)}$(.*?)(?=^##|\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"docs/security.md has no heading {heading!r}"
    for line in found[1].splitlines():
        if line.startswith("| `"):
            test, what, rule = (cell.strip() for cell in line.strip().strip("|").split("|"))
            yield test.strip("`"), what, rule


@pytest.mark.parametrize("heading", TABLES)
def test_the_page_lists_what_is_tried_and_what_refuses_it(heading: str) -> None:
    assert list(rows(heading)) == TABLES[heading]


@pytest.mark.parametrize("heading", TABLES)
def test_each_attempt_has_a_name_of_its_own(heading: str) -> None:
    names = [name for name, *_ in TABLES[heading]]
    assert len(set(names)) == len(names) >= 18


def test_no_attempt_from_inside_a_pod_hides_another() -> None:
    names = [each.name for each in (*ATTEMPTS, *POD_ATTEMPTS)]
    assert len(set(names)) == len(names)


def test_every_rule_of_ours_is_tried() -> None:
    """A policy that no attack meets may as well be open."""
    policies = {path.stem for path in (PROJECT / "charts" / "berth" / "files" / "policies").glob("*.yaml")}
    met = {rule.removeprefix("policy berth-") for table in TABLES.values() for _, _, rule in table}
    assert policies - met == {"operator-bindings", "vm-finalizer"}, "those two have tests of their own"
