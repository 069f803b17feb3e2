"""The agent's settings: read once from the environment (`BERTH_AGENT_…`), passed in, never looked up again."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic.functional_validators import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split(value: object) -> object:
    """A list from the environment, with commas or colons between its items as PATH has them."""
    return tuple(part for part in value.replace(",", ":").split(":") if part) if isinstance(value, str) else value


def _split_on_commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _listening(url: str) -> str:
    where = urlsplit(url)
    if where.scheme != "http" or not where.hostname or not where.port or where.query or where.fragment:
        raise ValueError("give address, port and path to listen at, such as http://[::]:9090/metrics")
    return url


ListenUrl = Annotated[str, AfterValidator(_listening)]
"""Where to listen: an http URL with address, port and path."""
Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_on_commas)]


class AgentSettings(BaseSettings):
    """Everything that an administrator may decide about an agent."""

    model_config = SettingsConfigDict(
        env_prefix="BERTH_AGENT_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    node_name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Node and of the Hypervisor. A DaemonSet takes it from `spec.nodeName`."""
    kubeconfig: Path | None = None
    """Left out: the Pod's own service account."""
    namespace: str = "berth-system"
    """Where Leases are."""
    libvirt_uri: str = "qemu:///system"
    state_dir: Path = Path("/var/lib/berth")
    """Images, seeds, network state and the node's key; survives a reboot."""
    boot_id_file: Path = Path("/proc/sys/kernel/random/boot_id")
    """Names the node's present boot. Another file can stand for the kernel's where a node's reboot is played."""
    netns_dir: Path = Path("/run/netns")
    """Where sandboxes are mounted, as `ip netns` has them."""
    cni_bin_dirs: Paths = (Path("/opt/cni/bin"),)
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    """auto finds out by booting: /dev/kvm being there does not mean that guests boot under it."""
    image_file_dir: Path | None = None
    """Directory that `source.file` of images is relative to. Left out: such images are refused."""
    image_denied_cidrs: Networks = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
    """Networks that image URLs may not lead to, beside loopback and link-local. By default all private ones: Services,
    Pods and nodes are there, and no agent can know which of them are the cluster's. To name more, leave this alone and
    use `image_additional_denied_cidrs`."""
    image_additional_denied_cidrs: Networks = ()
    """More networks that image URLs may not lead to, beside those of `image_denied_cidrs`."""
    image_allowed_cidrs: Networks = ()
    """Exceptions from what is denied: where the administrator's own image servers are."""
    image_stall: Annotated[float, Field(gt=0)] = 30.0
    """Seconds without a byte after which a download is given up, to be tried again."""
    image_keep: Annotated[float, Field(ge=0)] = 24 * 3600.0
    """Seconds that an image stays cached after its last disk is gone, as Nova keeps its base images."""
    heartbeat: Annotated[float, Field(gt=0)] = 10.0
    """Seconds between renewals of the node's Lease: the kubelet's interval."""
    heartbeat_valid: Annotated[int, Field(gt=0)] = 40
    """Seconds after which a Lease that was not renewed means that the node is lost: the kubelet's."""
    api_deadline: Annotated[float, Field(gt=0)] = 10.0
    """Seconds that a request to the API server may take."""
    anchor: bool = False
    """Admit a claim only within what the kubelet has allocated to the node's anchor Pod, so that of a Pod and a VM that
    want the same room one gets it. To be set for the operator, too (`BERTH_OPERATOR_ANCHOR`); the chart does both.
    Without it the sum of what the Pods request decides, as far as it is known when the claim comes."""
    anchor_patience: Annotated[float, Field(ge=0.1)] = 5.0
    """Seconds for which the kubelet may refuse to allocate more to the anchor until a claim that waits for it is
    refused: long enough for Pods that are just ending."""
    anchor_limit: Annotated[float, Field(ge=0.1, le=120)] = 30.0
    """Seconds for which a claim waits where neither the operator nor the kubelet does anything about the anchor."""
    audit_interval: Annotated[float, Field(gt=0)] = 180.0
    """Seconds between complete comparisons of the API server's list with what is on the node."""
    workers: Annotated[int, Field(ge=1, le=256)] = 16
    """VMs worked on at the same time. Most of a start is waiting for QEMU and CNI plugins."""
    liveness_url: ListenUrl | None = None
    """Where to serve the liveness probe, for example http://[::]:8080/healthz. Left out: nowhere."""
    readiness_url: ListenUrl | None = None
    """Where to serve the readiness probe, for example http://[::]:8080/readyz. Left out: nowhere."""
    metrics_url: ListenUrl | None = None
    """Where to serve metrics for Prometheus, for example http://[::]:9090/metrics. Left out: nowhere."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "json"

    @property
    def all_denied_cidrs(self) -> tuple[str, ...]:
        """Networks that image URLs may not lead to, unless they are allowed."""
        return (*self.image_denied_cidrs, *self.image_additional_denied_cidrs)

    @property
    def console_dir(self) -> Path:
        """Where the guests' consoles are logged."""
        return self.state_dir / "consoles"
