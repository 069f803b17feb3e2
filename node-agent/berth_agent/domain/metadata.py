"""`<metadata>`: whose domain this is. What Berth finds without this element it never touches.

It is the only record on the node, and enough: after a crash the agent learns from it which VM each domain is, for
which claim it was made, and whether its hardware still is what the object asks for.
"""

from hashlib import sha256
from json import dumps
from re import compile as regex
from typing import Annotated, Any, Self
from xml.etree.ElementTree import ParseError, fromstring

from pydantic import ConfigDict, Field, ValidationError
from pydantic_xml import BaseXmlModel, element

from berth_agent.domain.elements import Element
from berth_agent.domain.requests import DomainRequest

NAMESPACE_URI = "https://berth.dev/domain/v1"
PREFIX = "berth"
_NSMAP = {PREFIX: NAMESPACE_URI}
_DECLARATION = regex(r"<![A-Za-z]")

Name = Annotated[str, Field(min_length=1, max_length=253)]


class MetadataError(ValueError):
    """The element is there, but does not say whose the domain is."""


class Owner(BaseXmlModel, tag="vm", ns=PREFIX, nsmap=_NSMAP):
    """The VM that the domain was made for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: Name = element(ns=PREFIX, nsmap=_NSMAP)
    name: Name = element(ns=PREFIX, nsmap=_NSMAP)
    uid: Name = element(ns=PREFIX, nsmap=_NSMAP)
    claim_id: Name = element(tag="claim", ns=PREFIX, nsmap=_NSMAP)
    generation: int = element(ns=PREFIX, nsmap=_NSMAP)
    """Generation of the spec that the domain was made from."""
    hardware: Name = element(ns=PREFIX, nsmap=_NSMAP)
    """`hardware_hash` of the request that the domain was made from."""

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
            texts = {_local(child.tag): (child.text or "").strip() for child in root}
            fields = {"claim_id" if tag == "claim" else tag: text for tag, text in texts.items()}
            return cls.model_validate(fields)
        except (ValidationError, ParseError) as error:
            raise MetadataError(f"the domain's metadata is not readable: {error}") from error


def _local(tag: str) -> str:
    """An element's name without its namespace."""
    return tag.rpartition("}")[2]


class Metadata(Element, tag="metadata"):
    """Holder of the elements that applications keep with a domain."""

    owner: Owner


def owner_of(request: DomainRequest) -> Owner:
    """The record that the request's domain carries."""
    return Owner(
        namespace=request.namespace,
        name=request.name,
        uid=request.uid,
        claim_id=request.claim_id,
        generation=request.generation,
        hardware=hardware_hash(request),
    )


def _cpu(request: DomainRequest) -> dict[str, Any]:
    """Features are a set: in another order they are no other hardware."""
    asked = request.cpu.model_dump(exclude_defaults=True)
    return asked | ({"features": sorted(set(request.cpu.features))} if request.cpu.features else {})


def hardware_hash(request: DomainRequest) -> str:
    """A hash of what the guest has as hardware: where it differs from a running domain's, a restart is required.

    Over the request, not the XML: a Berth that learns to write a new element must not make every running VM look
    outdated. What belongs to this node or this incarnation (taps, seed, log, claim) is not in it, and neither is what
    was left at its default, so that a new field changes no hash.
    """
    kernel = request.kernel
    parts = {
        "cpu": _cpu(request),
        "memory": request.memory,
        "firmware": request.firmware.model_dump(exclude_defaults=True, exclude={"kernel"}),
        "machine": request.machine_type,
        "accelerator": request.accelerator,
        "disks": [[disk.name, disk.path, disk.format, disk.bus, disk.boot_order] for disk in request.disks],
        "interfaces": [[nic.name, nic.mac_address, nic.mtu, nic.queues] for nic in request.interfaces],
        "kernel": None if kernel is None else [kernel.path, kernel.initrd_path, kernel.command_line],
    }
    return sha256(dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
