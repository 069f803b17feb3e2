"""What the operator can be told: read once from the environment (`BERTH_OPERATOR_…`), then passed in."""

import socket
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from berth_operator.leases import LeaseTimes

MacPrefix = Annotated[str, Field(pattern=r"^[0-9a-f][26ae](:[0-9a-f]{2}){0,4}$")]


def _own_identity() -> str:
    return f"{socket.gethostname()}_{uuid4().hex[:8]}"


def _listening(url: str) -> str:
    where = urlsplit(url)
    if where.scheme != "http" or not where.hostname or not where.port or where.query or where.fragment:
        raise ValueError("give address, port and path to listen at, such as http://[::]:9090/metrics")
    return url


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


ListenUrl = Annotated[str, AfterValidator(_listening)]
"""Where to listen: an http URL with address, port and path."""
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Names with commas between them."""


class Settings(BaseSettings):
    """The operator's settings. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix="BERTH_OPERATOR_", frozen=True, use_attribute_docstrings=True)

    kubeconfig: Path | None = None
    """Path of a kubeconfig. Left out: the service account of the Pod that the operator runs in."""
    namespace: str = "berth-system"
    """Where the leader's Lease and the nodes' Leases are."""
    identity: str = Field(default_factory=_own_identity)
    """Who we are in the leader's Lease. Must differ for every start: an epoch belongs to one process."""

    lease_name: str = "berth-operator"
    lease_duration: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 9.0
    """How long a leader that says nothing stays leader. A crashed one is followed after at most this, `lease_retry`,
    and the time to list the cluster: 15 s in all are promised, so this is less than client-go's 15 s."""
    lease_renew_deadline: Annotated[float, Field(gt=0)] = 6.0
    """How long a leader may fail to renew before it stops deciding by itself; less than the duration, so that it has
    stopped before another can start, with room for clocks that run at different speed."""
    lease_retry: Annotated[float, Field(gt=0)] = 1.0
    """Between tries to get or to renew the Lease. One try may take half of the renew deadline."""

    heartbeat_timeout: Annotated[float, Field(gt=0)] = 40.0
    """A node whose Lease is older gets no new VMs: four missed heartbeats of 10 s, as Kubernetes waits for kubelets."""
    node_loss_confirm: Annotated[float, Field(ge=0)] = 20.0
    """A node whose heartbeat has timed out has to be seen silent for this much longer before its VMs are said to be
    lost: two heartbeats, so that neither clocks that differ nor an API server that was away look like a loss."""
    refusal_exclusion: Annotated[float, Field(ge=0)] = 60.0
    """For how long a node that refused a VM is not asked again for this VM: long enough for its report to arrive."""
    start_backoff_first: Annotated[float, Field(gt=0)] = 2.0
    """First pause before a stopped VM whose node refused to start it is tried again; each further one doubles it."""
    start_backoff_most: Annotated[float, Field(gt=0)] = 120.0
    """Longest pause between tries to start a VM that its node refuses."""
    audit_interval: Annotated[float, Field(gt=0)] = 300.0
    """Between complete lists that repair what a watch missed: kopf does not tell of objects that vanish during a
    410 Gone. Five minutes is how long the API server keeps old versions."""
    aggregation_delay: Annotated[float, Field(ge=0)] = 0.5
    """Counts of networks, images and pools are written at most this often per object."""

    scheduler_config: Path | None = None
    """A YAML file with the profiles that VMs may name in schedulerProfile (see `schedulerconfigs`). Read once, at
    start. Left out: the profiles default and pack as they are built in."""
    writes_in_flight: Annotated[int, Field(ge=1, le=1024)] = 64
    """Bindings that are written at once. The API server syncs a batch of writes to disk together, so the rate grows
    with their number until it is busy; what a crash leaves in doubt grows, too."""
    reserve_after: Annotated[float, Field(gt=0)] = 30.0
    """A VM that no node has room for gets a node's room reserved after waiting this long, so that smaller ones do not
    take each bit that comes free: long enough for the usual coming and going to make room by itself."""
    reserve_hold: Annotated[float, Field(gt=0)] = 300.0
    """For how long the first reservation lasts; each further one for the same VM lasts twice as long, up to an hour."""
    retell: Annotated[float, Field(ge=0)] = 30.0
    """A waiting VM's condition is rewritten for changed reasons at most this often: each is a write per VM."""
    retry_parked: Annotated[float, Field(gt=0)] = 300.0
    """A VM that no event helped is tried again anyway after this long: kube-scheduler's default."""

    workers: Annotated[int, Field(ge=1, le=256)] = 16
    """Objects that are worked on at once; each waits for the API server nearly all of its time."""
    backoff_first: Annotated[float, Field(gt=0)] = 0.1
    """First pause after a failure; each further one doubles it."""
    backoff_most: Annotated[float, Field(gt=0)] = 30.0
    """Longest pause between tries."""
    secret_poll: Annotated[float, Field(gt=0)] = 15.0
    """Between looks for a Secret that a VM names and that is missing: Secrets are not watched, so that the operator
    needs no right to list them."""
    request_deadline: Annotated[float, Field(gt=0)] = 10.0
    """How long a call to the API server may take."""

    anchor: bool = False
    """Have one Pod on each node stand for the VMs there: it requests what they claim, so that Pods and VMs are never
    promised the same room. To be set for the agents, too (`BERTH_AGENT_ANCHOR`); the chart does both."""
    anchor_image: str = ""
    """Image of that Pod's container, which only waits. Must be given where anchors are."""
    anchor_pull_secrets: Names = ()
    """Secrets to pull that image with, in the namespace of the operator."""

    mac_prefix: MacPrefix = "02:be"
    """First octets of generated MAC addresses: locally administered, unicast. Give each cluster on one layer-2
    network its own."""

    liveness_url: ListenUrl | None = None
    """Where to serve the liveness probe, for example http://[::]:8080/healthz. Left out: nowhere."""
    readiness_url: ListenUrl | None = None
    """Where to serve the readiness probe, for example http://[::]:8080/readyz. Left out: nowhere."""
    metrics_url: ListenUrl | None = None
    """Where to serve metrics for Prometheus, for example http://[::]:9090/metrics. Left out: nowhere."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"

    @property
    def lease_times(self) -> LeaseTimes:
        """What the three settings of the Lease say together."""
        return LeaseTimes(self.lease_duration, self.lease_renew_deadline, self.lease_retry)

    @model_validator(mode="after")
    def _has_times_that_grow(self) -> Self:
        try:
            _ = self.lease_times
        except ValueError as error:
            raise ValueError(
                f"{error}: set BERTH_OPERATOR_LEASE_RETRY, BERTH_OPERATOR_LEASE_RENEW_DEADLINE and "
                "BERTH_OPERATOR_LEASE_DURATION so that they do"
            ) from error
        return self

    @model_validator(mode="after")
    def _has_an_image(self) -> Self:
        if self.anchor and not self.anchor_image:
            raise ValueError(
                "anchors need an image: set BERTH_OPERATOR_ANCHOR_IMAGE, or BERTH_OPERATOR_ANCHOR to false"
            )
        return self
