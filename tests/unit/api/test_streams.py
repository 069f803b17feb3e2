"""Bytes become events whatever pieces they come in, and nothing else passes for one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.client import ApiError, Forbidden, Gone, Unavailable
from berth_api.client.streams import Lines, event_of


def line(kind: str, **metadata: Any) -> bytes:
    return json.dumps({"type": kind, "object": {"metadata": metadata}}).encode()


@given(st.lists(st.binary(max_size=12).map(lambda value: value.replace(b"\n", b""))), st.data())
def test_pieces_of_any_length_make_the_same_lines(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(each + b"\n" for each in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    reader = Lines()
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += reader.feed(whole[begin:end])
    assert found == [each for each in lines if each]
    reader.end()


def test_an_object_may_be_large() -> None:
    reader = Lines()
    piece = b"x" * 65536
    for _ in range(64):
        assert reader.feed(piece) == []
    assert reader.feed(b"\n") == [piece * 64]


def test_a_line_without_an_end_is_given_up() -> None:
    reader = Lines(longest=10)
    reader.feed(b"12345")
    with pytest.raises(Unavailable, match="more than 10 bytes"):
        reader.feed(b"678901")


def test_half_a_line_is_no_line() -> None:
    reader = Lines()
    assert reader.feed(b"one\ntw") == [b"one"]
    with pytest.raises(Unavailable, match="in the middle of an event, after 2 bytes"):
        reader.end()


def test_an_event_has_its_object_and_version() -> None:
    event = event_of(line("MODIFIED", name="a", resourceVersion="7"))
    assert (event.type, event.object["metadata"]["name"], event.version) == ("MODIFIED", "a", "7")


def test_a_bookmark_has_a_version_and_no_name() -> None:
    assert event_of(line("BOOKMARK", resourceVersion="9")).version == "9"


@pytest.mark.parametrize(
    "garbage",
    [
        b"<html>",
        b'{"type": "ADDED", "object": {"meta',
        b"[]",
        b"{}",
        b'{"type": "ADDED"}',
        b'{"type": 1, "object": {"metadata": {"name": "a", "resourceVersion": "1"}}}',
        b'{"type": "ADDED", "object": {"metadata": []}}',
        line("ADDED", name="a"),
        line("DELETED", resourceVersion="1"),
        line("MODIFIED", name="a", resourceVersion=""),
        line("MODIFIED", name="a", resourceVersion=7),
        line("BOOKMARK"),
        b'{"type": "ADDED", "object": {"metadata": {"name": "\xff", "resourceVersion": "1"}}}',
    ],
)
def test_garbage_is_no_event(garbage: bytes) -> None:
    with pytest.raises(Unavailable, match="no event"):
        event_of(garbage)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ({"code": 410, "reason": "Expired", "message": "too old"}, Gone),
        ({"code": 403, "reason": "Forbidden"}, Forbidden),
        ({"code": 500, "message": "etcd"}, Unavailable),
        ({"message": "no code"}, Unavailable),
        ({"code": "410"}, Unavailable),
    ],
)
def test_the_servers_last_word_is_an_error(status: dict[str, Any], kind: type[ApiError]) -> None:
    with pytest.raises(ApiError) as refusal:
        event_of(json.dumps({"type": "ERROR", "object": {"kind": "Status", **status}}).encode())
    assert type(refusal.value) is kind
