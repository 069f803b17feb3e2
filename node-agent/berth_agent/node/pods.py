"""What the node's Pods request, and so leave of the node to VMs: the same sum that kube-scheduler makes.

A Pod requests what it needs at the peak of its life. Init containers run one after another, each beside the sidecars
that were started before it; the containers run beside all sidecars. A request of the Pod as a whole goes before what
its containers say, and its overhead comes on top. While a resize is under way, it counts with the larger of what is
wanted and what it has; one that can never be had is not wanted any more. A Pod that has ended requests nothing, one
that is being deleted still has what it had.

Source: Kubernetes KEP-753 (sidecar containers, "Resources calculation for scheduling and pod admission"), KEP-1287
(in-place resize), KEP-2837 (resources of a Pod), KEP-688 (Pod overhead).
"""

from collections.abc import Callable, Iterable, Mapping

from pydantic import Field

from berth_api.allocatable import MAX_AMOUNT, Amounts
from berth_api.objects import Model, Resource
from berth_api.quantities import MeasuredQuantity, QuantityError, to_bytes, to_millis

_ENDED = ("Succeeded", "Failed")


class PodResources(Model):
    """What is requested, by the name of the resource."""

    requests: dict[str, MeasuredQuantity] = Field(default_factory=dict)


class PodContainer(Model):
    """A container, or an init container."""

    name: str
    resources: PodResources = PodResources()
    restart_policy: str | None = None

    @property
    def is_sidecar(self) -> bool:
        """Whether this init container, once started, runs as long as the Pod."""
        return self.restart_policy == "Always"


class PodSpec(Model):
    """What the Pod asks for."""

    containers: tuple[PodContainer, ...] = ()
    init_containers: tuple[PodContainer, ...] = ()
    resources: PodResources = PodResources()
    overhead: dict[str, MeasuredQuantity] = Field(default_factory=dict)


class PodContainerStatus(Model):
    """What a container has been given."""

    name: str
    resources: PodResources | None = None
    allocated_resources: dict[str, MeasuredQuantity] = Field(default_factory=dict)


class PodCondition(Model):
    """One aspect of the Pod's state."""

    type: str
    reason: str = ""
    message: str = ""


class PodStatus(Model):
    """What the Pod has been given."""

    phase: str = ""
    container_statuses: tuple[PodContainerStatus, ...] = ()
    init_container_statuses: tuple[PodContainerStatus, ...] = ()
    resources: PodResources | None = None
    allocated_resources: dict[str, MeasuredQuantity] = Field(default_factory=dict)
    conditions: tuple[PodCondition, ...] = ()
    observed_generation: int | None = None
    """The generation of the Pod that the status is about, where its kubelet says so."""


class Pod(Resource):
    """A Pod, as far as its requests go."""

    kind: str = "Pod"
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


Read = Callable[[Mapping[str, str]], int]
"""Takes one resource's amount out of requests."""


def sum_of_requests(pods: Iterable[Pod]) -> Amounts:
    """What all of them request together."""
    requests = [effective_requests(pod) for pod in pods]
    return Amounts(
        cpu=min(MAX_AMOUNT, sum(each.cpu for each in requests)),
        memory=min(MAX_AMOUNT, sum(each.memory for each in requests)),
    )


def effective_requests(pod: Pod) -> Amounts:
    """What the Pod requests at the peak of its life: CPU in millicores, memory in bytes."""
    if pod.status.phase in _ENDED:
        return Amounts()
    return Amounts(cpu=_at_most(pod, "cpu", to_millis), memory=_at_most(pod, "memory", to_bytes))


def _at_most(pod: Pod, resource: str, to_amount: Callable[[str], int]) -> int:
    def read(requests: Mapping[str, str]) -> int:
        try:
            return min(MAX_AMOUNT, to_amount(requests.get(resource, "0")))
        except QuantityError:  # the API server takes what is beyond all bounds, no node has it
            return MAX_AMOUNT

    asked = _of_pod(pod, read) if resource in pod.spec.resources.requests else _of_containers(pod, read)
    return min(MAX_AMOUNT, asked + read(pod.spec.overhead))


def _of_pod(pod: Pod, read: Read) -> int:
    status = pod.status
    return _resized(pod, pod.spec.resources, status.resources, status.allocated_resources, read)


def _of_containers(pod: Pod, read: Read) -> int:
    status = pod.status
    given = {each.name: each for each in (*status.container_statuses, *status.init_container_statuses)}

    def use(container: PodContainer) -> int:
        has = given.get(container.name)
        if has is None:
            return read(container.resources.requests)
        return _resized(pod, container.resources, has.resources, has.allocated_resources, read)

    sidecars = peak = 0
    for container in pod.spec.init_containers:
        if container.is_sidecar:
            sidecars += use(container)
            peak = max(peak, sidecars)
        else:  # no resize: it runs once
            peak = max(peak, sidecars + read(container.resources.requests))
    return max(peak, sidecars + sum(use(container) for container in pod.spec.containers))


def _resized(pod: Pod, wanted: PodResources, has: PodResources | None, allocated: Mapping[str, str], read: Read) -> int:
    if has is None:
        return read(wanted.requests)
    got = max(read(has.requests), read(allocated))
    return got if _is_infeasible(pod) else max(got, read(wanted.requests))


def _is_infeasible(pod: Pod) -> bool:
    """Whether the kubelet has said that the Pod's resize will never fit this node."""
    return any(c.type == "PodResizePending" and c.reason == "Infeasible" for c in pod.status.conditions)
