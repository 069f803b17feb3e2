"""`<metadata>`: whose domain this is. What Berth finds without this element it never touches.

It is the only record on the node, and enough: after a crash the agent learns from it which VM each domain is, for
which claim it was made, and whether its hardware still is what the object asks for. Domains outlive the agent that made
them, so what an older one did not write yet is read as not known.
"""

from re import compile as regex
from typing import Annotated, Self
from xml.etree.ElementTree import Element as XMLElement
from xml.etree.ElementTree import ParseError, SubElement, fromstring, tostring

from pydantic import ConfigDict, Field, ValidationError
from pydantic_xml import BaseXmlModel, attr, element

from berth_agent.domain.elements import Element
from berth_agent.domain.requests import DomainRequest

NAMESPACE_URI = "https://berth.dev/domain/v1"
PREFIX = "berth"
_NSMAP = {PREFIX: NAMESPACE_URI}
_DECLARATION = regex(r"<![A-Za-z]")

Name = Annotated[str, Field(min_length=1, max_length=253)]


class MetadataError(ValueError):
    """The element is there, but does not say whose the domain is."""


class Part(BaseXmlModel, tag="part", ns=PREFIX, nsmap=_NSMAP):
    """An aspect of the guest's hardware, by the hash of what was asked for."""

    model_config = ConfigDict(frozen=True)

    name: Name = attr()
    digest: Name


class Owner(BaseXmlModel, tag="vm", ns=PREFIX, nsmap=_NSMAP):
    """The VM that the domain was made for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: Name = element(ns=PREFIX, nsmap=_NSMAP)
    name: Name = element(ns=PREFIX, nsmap=_NSMAP)
    uid: Name = element(ns=PREFIX, nsmap=_NSMAP)
    claim_id: Name = element(tag="claim", ns=PREFIX, nsmap=_NSMAP)
    generation: int = element(ns=PREFIX, nsmap=_NSMAP)
    """Generation of the spec that the domain was made from."""
    restarted_at: Annotated[str, Field(max_length=64)] | None = element(
        tag="restarted", ns=PREFIX, nsmap=_NSMAP, default=None
    )
    """`spec.restartedAt` that the domain was made for."""
    cluster: Annotated[str, Field(max_length=253)] | None = element(ns=PREFIX, nsmap=_NSMAP, default=None)
    """The cluster that the VM is in: what another one does not know of is not gone. None: made by an older Berth."""
    parts: Annotated[tuple[Part, ...], Field(max_length=64)] = ()
    """`DomainRequest.parts`, in the order of their names."""

    @classmethod
    def read(cls, xml: str) -> Self:
        """Read the element from a domain's XML, or as virDomainGetMetadata hands it out: without its namespace.

        Raises:
            MetadataError: it is not what `owner_of` writes.
        """
        if _DECLARATION.search(xml):
            raise MetadataError("a document type declaration is not part of a domain's metadata")
        try:
            root = fromstring(xml)  # noqa: S314 - without declarations there are no entities to expand
            if _local(root.tag) != cls.__xml_tag__:
                raise MetadataError(f"the element is {_local(root.tag)}, not {cls.__xml_tag__}")
            return cls.model_validate(_fields(root))
        except (ValidationError, ParseError) as error:
            raise MetadataError(f"the domain's metadata is not readable: {error}") from error


_RENAMED = {"claim": "claim_id", "restarted": "restarted_at"}


def _fields(root: XMLElement) -> dict[str, str | list[dict[str, str]]]:
    texts = {_local(child.tag): _text(child) for child in root if _local(child.tag) != "part"}
    parts = [{"name": child.get("name", ""), "digest": _text(child)} for child in root if _local(child.tag) == "part"]
    return {_RENAMED.get(tag, tag): text for tag, text in texts.items()} | {"parts": parts}


def _text(item: XMLElement) -> str:
    return (item.text or "").strip()


def _local(tag: str) -> str:
    """An element's name without its namespace."""
    return tag.rpartition("}")[2]


class Metadata(Element, tag="metadata"):
    """Holder of the elements that applications keep with a domain."""

    owner: Owner


def handed_over(xml: str, *, namespace: str, name: str, uid: str, cluster: str) -> str:
    """The element of another VM, all else that it says left as it is. As virDomainSetMetadata takes it: no namespace.

    Args:
        xml: As `Owner.read` takes it.
        namespace: Of the VM that the domain is from now on.
        name: Its name.
        uid: Its UID.
        cluster: The cluster that it is in; empty: not known.

    Raises:
        MetadataError: it is not what `owner_of` writes.
    """
    Owner.read(xml)
    root = XMLElement(Owner.__xml_tag__ or "vm")
    said = {"namespace": namespace, "name": name, "uid": uid, "cluster": cluster}
    for child in fromstring(xml):  # noqa: S314 - read without declarations above
        tag = _local(child.tag)
        if tag not in said:
            SubElement(root, tag, child.attrib).text = _text(child)
    for tag, text in said.items():
        if text:
            SubElement(root, tag).text = text
    return tostring(root, encoding="unicode")


def owner_of(request: DomainRequest) -> Owner:
    """The record that the request's domain carries."""
    return Owner(
        namespace=request.namespace,
        name=request.name,
        uid=request.uid,
        claim_id=request.claim_id,
        generation=request.generation,
        restarted_at=request.restarted_at or None,
        cluster=request.cluster or None,
        parts=tuple(Part(name=name, digest=digest) for name, digest in request.parts.items()),
    )
