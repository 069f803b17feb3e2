"""The words by which steps and their failures are told apart in figures: those that the agent itself is made with.

Read from the classes themselves, so a new step or error is known without being written down twice. An error of the API
server has a reason that the server, or a proxy before it, made up: of those only Kubernetes' own are taken.
"""

from collections.abc import Iterator
from typing import TypeVar

from berth_agent.hypervisor.errors import HypervisorError
from berth_agent.network.errors import NetworkError
from berth_agent.reconcile.plan.steps import Step
from berth_agent.storage.errors import StorageError
from berth_api.client import ApiError

OTHER = "Other"
"""Stands for every word that is not known."""

_API = (
    *("AlreadyExists", "BadRequest", "Conflict", "Expired", "Forbidden", "Gone", "InternalError", "Invalid"),
    *("MethodNotAllowed", "NotAcceptable", "NotFound", "RequestEntityTooLarge", "ServerTimeout", "ServiceUnavailable"),
    *("Timeout", "TooManyRequests", "Unauthorized", "UnsupportedMediaType"),
)
"""Source: k8s.io/apimachinery, metav1.StatusReason."""
_STEPS = (
    *(
        "DeadlineExceeded",
        "InsufficientCPU",
        "InsufficientMemory",
        "InsufficientResources",
        "InsufficientStorage",
        "InvalidDomainRequest",
    ),
    *("InvalidSeed", "NoFreeSlot", "NodeFileFailed", "ObjectChanged", "ObjectUnreadable", "SpecExceedsClaim"),
    *("StaleEpoch", "StoragePoolNotReady", "UnsealFailed"),
    *("ClassNotFound", "ImageNotFound", "NetworkNotFound", "StoragePoolNotFound"),
)
"""Reasons that are given where a step fails, and not by a class of their own."""


_E = TypeVar("_E")


def known_steps() -> frozenset[str]:
    """Names of all steps."""
    return frozenset(kind.__name__ for kind in _below(Step))


def known_reasons() -> frozenset[str]:
    """Reasons that a step may fail for, as far as they are the agent's own words."""
    return frozenset(
        {
            *(kind.reason for kind in _with_below(StorageError)),
            *(kind.reason for kind in _with_below(NetworkError)),
            *(kind.reason for kind in _with_below(HypervisorError)),
            *(kind.__name__ for kind in _with_below(ApiError)),
            *_API,
            *_STEPS,
        }
    )


def _with_below(kind: type[_E]) -> Iterator[type[_E]]:
    yield kind
    yield from _below(kind)


def _below(kind: type[_E]) -> Iterator[type[_E]]:
    for each in kind.__subclasses__():
        yield from _with_below(each)
