"""A domain says whose it is, and what its hardware was made from."""

from dataclasses import replace

import pytest
from tests.unit.domain.cases import SMALL

from berth_agent.domain.metadata import NAMESPACE_URI, MetadataError, Owner, Part, owner_of

_FIELDS = "<namespace>a</namespace><name>b</name><uid>u</uid><claim>c</claim>"
_REST = "<generation>3</generation>"


@pytest.mark.parametrize("opening", ["<vm>", f"<vm xmlns='{NAMESPACE_URI}'>"])
def test_it_is_read_with_and_without_its_namespace(opening: str) -> None:
    owner = Owner.read(f"{opening}{_FIELDS}{_REST}</vm>")
    assert owner == Owner(namespace="a", name="b", uid="u", claim_id="c", generation=3)


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<vm",
        "<vm/>",
        f"<vm>{_FIELDS}</vm>",
        f"<other>{_FIELDS}{_REST}</other>",
        f"<vm>{_FIELDS}<generation>x</generation></vm>",
        f"<vm>{_FIELDS}{_REST}<uid></uid></vm>",
        f"<vm>{_FIELDS}{_REST}<part>h</part></vm>",
        f"<vm>{_FIELDS}{_REST}<part name='cpu'/></vm>",
        f"<!DOCTYPE vm [<!ENTITY e 'x'>]><vm>{_FIELDS}{_REST}</vm>",
    ],
)
def test_a_broken_record_is_no_record(xml: str) -> None:
    with pytest.raises(MetadataError):
        Owner.read(xml)


def test_a_record_of_an_older_agent_is_read_and_what_it_does_not_say_is_not_known() -> None:
    """Or guests that run across an upgrade would be nobody's."""
    owner = Owner.read(f"<vm>{_FIELDS}{_REST}<hardware>4cbd98c2f07585a9</hardware></vm>")
    assert (owner.restarted_at, owner.parts) == (None, ())


@pytest.mark.parametrize("opening", ["<vm>", f"<vm xmlns='{NAMESPACE_URI}'>"])
def test_parts_and_the_restart_are_read(opening: str) -> None:
    more = "<restarted>2026-01-01T00:00:00Z</restarted><part name='cpu'>c0</part><part name='disks'>d0</part>"
    owner = Owner.read(f"{opening}{_FIELDS}{_REST}{more}</vm>")
    assert owner.restarted_at == "2026-01-01T00:00:00Z"
    assert owner.parts == (Part(name="cpu", digest="c0"), Part(name="disks", digest="d0"))


def test_the_record_is_the_requests() -> None:
    owner = owner_of(replace(SMALL, restarted_at="2026-01-01T00:00:00Z", parts={"disks": "d0", "cpu": "c0"}))
    assert (owner.uid, owner.generation) == (SMALL.uid, 1)
    assert owner.restarted_at == "2026-01-01T00:00:00Z"
    assert [(part.name, part.digest) for part in owner.parts] == [("cpu", "c0"), ("disks", "d0")]
    assert owner_of(replace(SMALL, restarted_at="")).restarted_at is None
