"""The domain XML of every case is the golden file's, byte for byte; `BERTH_REWRITE_GOLDEN=1` writes them anew.

Every property of the models that a request is made of, and every element and attribute that can come out, has to be in
one of the cases: whoever adds one adds it there, and sees in a review what it looks like.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel
from tests.unit.domain.cases import CASES

from berth_agent.domain.documents import build, document
from berth_agent.domain.elements import Element
from berth_agent.domain.requests import DirectKernel, DomainDisk, DomainInterface, DomainRequest
from berth_api.hardware import CPU
from berth_api.virtualmachines import Firmware

GOLDEN = Path(__file__).parent / "golden"
REWRITE = os.environ.get("BERTH_REWRITE_GOLDEN") == "1"


@pytest.mark.parametrize("name", CASES)
def test_the_xml_is_the_golden_one(name: str) -> None:
    golden = GOLDEN / f"{name}.xml"
    made = build(CASES[name])
    if REWRITE:
        golden.write_text(made)
    assert made == golden.read_text()


@pytest.mark.parametrize("name", CASES)
def test_the_golden_xml_is_valid_by_libvirts_own_schema(name: str) -> None:
    done = subprocess.run(
        ["virt-xml-validate", str(GOLDEN / f"{name}.xml"), "domain"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_there_is_no_golden_file_without_a_case() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CASES)


def _values() -> dict[tuple[type, str], set[str]]:
    """Every value that a property has in some case."""
    seen: dict[tuple[type, str], set[str]] = {}

    def note(item: Any) -> None:
        names = list(type(item).model_fields) if isinstance(item, BaseModel) else [f.name for f in fields(item)]
        for name in names:
            seen.setdefault((type(item), name), set()).add(repr(getattr(item, name)))

    for request in CASES.values():
        note(request)
        note(request.cpu)
        note(request.firmware)
        for part in (*request.disks, *request.interfaces, *((request.kernel,) if request.kernel else ())):
            note(part)
    return seen


def _properties() -> Iterator[tuple[type, str]]:
    for kind in (DomainRequest, DomainDisk, DomainInterface, DirectKernel):
        for item in fields(kind):
            yield kind, item.name
    for model in (CPU, Firmware):
        for name in model.model_fields:
            yield model, name


@pytest.mark.parametrize(("kind", "name"), list(_properties()), ids=lambda value: getattr(value, "__name__", value))
def test_every_property_varies_between_the_golden_cases(kind: type, name: str) -> None:
    assert len(_values()[kind, name]) > 1, "add a case to cases.py that gives this property another value"


@pytest.mark.parametrize(("kind", "name"), list(_properties()), ids=lambda value: getattr(value, "__name__", value))
def test_every_choice_is_taken_by_a_golden_case(kind: type, name: str) -> None:
    choices = {repr(choice) for choice in get_args(get_type_hints(kind)[name]) if isinstance(choice, str)}
    assert choices <= _values()[kind, name], "add a case to cases.py for each choice"


def _elements(of: type[Element] = Element) -> Iterator[type[Element]]:
    for kind in of.__subclasses__():
        yield kind
        yield from _elements(kind)


def test_every_element_and_attribute_is_in_a_golden_case() -> None:
    used: set[tuple[type, str]] = set()

    def note(value: Any) -> None:
        if isinstance(value, tuple):
            for item in value:
                note(item)
        elif isinstance(value, Element):
            for name in type(value).model_fields:
                part = getattr(value, name)
                if part not in (None, ()):
                    used.add((type(value), name))
                    note(part)

    for request in CASES.values():
        note(document(request))
    declared = {(kind, name) for kind in _elements() for name in kind.model_fields}
    assert declared <= used, "add a case to cases.py for each"
