"""Write an image's bill of materials as CycloneDX JSON: Debian packages, Python distributions, Go modules.

Each is read from what the image really holds: dpkg's entries, the installed metadata, what Go wrote into its programs.
"""  # noqa: INP001 - a program of the images' build, of no package

import argparse
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

_SPACE = uuid.UUID("0f3d6f0c-5f5b-5d0e-9b0a-6a1f0b1c7e55")
_PACKAGES = "usr/local/lib/python3.11/dist-packages"


def main() -> None:
    """Read the command line, and write the bill to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="the image's name")
    parser.add_argument("version", help="the image's version")
    parser.add_argument("roots", type=Path, nargs="+", help="folders that make up the image's root")
    given = parser.parse_args()
    components = [one for root in given.roots for one in (*debian(root), *python(root), *golang(root))]
    bom = Bom(components=components)
    bom.metadata.component = Component(
        name=given.name, version=given.version, type=ComponentType.CONTAINER, bom_ref=given.name
    )
    bom.metadata.timestamp = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    refs = sorted(str(one.purl) for one in components)
    bom.serial_number = uuid.uuid5(_SPACE, "\n".join([given.name, given.version, *refs]))
    print(JsonV1Dot6(bom).output_as_string(indent=1))


def debian(root: Path) -> Iterator[Component]:
    """The Debian packages that files are from."""
    for entry in sorted((root / "var/lib/dpkg/status.d").glob("*")):
        fields = HeaderParser().parsestr(entry.read_text(encoding="utf-8"))
        qualifiers = {"arch": fields["Architecture"], "distro": "debian-12"}
        source = (fields["Source"] or "").partition(" ")[0]
        if source:
            qualifiers["upstream"] = source
        url = PackageURL("deb", "debian", fields["Package"], fields["Version"], qualifiers)
        yield _component(url, fields["Package"], fields["Version"])


def python(root: Path) -> Iterator[Component]:
    """The Python distributions."""
    found = {one.metadata["Name"]: one for one in distributions(path=[str(root / _PACKAGES)])}
    for name, distribution in sorted(found.items()):
        url = PackageURL("pypi", None, name.lower().replace("_", "-"), distribution.version)
        yield _component(url, name, distribution.version, _license(distribution))


def _license(distribution: Distribution) -> str | None:
    said = distribution.metadata["License-Expression"] or distribution.metadata["License"]
    return said if said and "\n" not in said else None


def golang(root: Path) -> Iterator[Component]:
    """The Go modules in programs, as `go version -m` told of them."""
    told = root / "usr/share/sbom/go-modules.txt"
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    modules = {tuple(line.split()[1:3]) for line in lines if line.split()[:1] in (["mod"], ["dep"])}
    compilers = {("stdlib", line.rpartition(": go")[2]) for line in lines if ": go" in line and line[:1] != "\t"}
    for name, version in sorted(modules | compilers):
        namespace, _, last = name.rpartition("/")
        yield _component(PackageURL("golang", namespace or None, last, version), name, version)


def _component(url: PackageURL, name: str, version: str, terms: str | None = None) -> Component:
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=str(url),
        licenses=[DisjunctiveLicense(name=terms)] if terms else None,
    )


if __name__ == "__main__":
    main()
