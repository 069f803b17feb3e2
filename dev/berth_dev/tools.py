"""The programs that a cluster is made of, built from Go modules into the cache.

Debian has none of them in a version that fits. All are built with `-trimpath`, so that the same inputs give the same
cache key and the same binary on every machine.
"""

from collections.abc import Sequence
from pathlib import Path

from berth_dev import commands
from berth_dev.caches import cached, key_of
from berth_dev.kubernetesreleases import NEWEST, KubernetesRelease
from berth_dev.progress import Say

CNI_PLUGINS_VERSION = "v1.9.1"
CNI_PLUGINS = (
    "ipam/dhcp",
    "ipam/host-local",
    "ipam/static",
    "main/bridge",
    "main/dummy",
    "main/host-device",
    "main/ipvlan",
    "main/loopback",
    "main/macvlan",
    "main/ptp",
    "main/tap",
    "main/vlan",
    "meta/bandwidth",
    "meta/firewall",
    "meta/portmap",
    "meta/sbr",
    "meta/tuning",
    "meta/vrf",
)
CONTROL_PLANE_PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "kube-proxy",
)
CONTAINERD_VERSION = "v2.4.2"
CONTAINERD_PARTS = ("containerd", "containerd-shim-runc-v2", "ctr")
HELM_VERSION = "v3.21.4"
_BUILD_TIMEOUT = 3000.0


def build_tools(cache: Path, project: Path, say: Say, *, kubernetes: KubernetesRelease = NEWEST) -> tuple[Path, Path]:
    """Return the folders of the control plane's programs and of the CNI plugins, building what the cache does not have.

    Args:
        cache: The cache's root.
        project: The project's root.
        say: Takes progress lines.
        kubernetes: Which release the control plane is of.

    Raises:
        CommandError: Go is missing, or a build failed.
    """
    module = project / "dev" / "controlplane"
    sources = [module / name for name in (kubernetes.modules, kubernetes.sums, "main.go")]
    control_plane = cached(
        cache / "controlplane",
        key_of(_linker_flags(kubernetes), *CONTROL_PLANE_PARTS, files=sources),
        f"building the control plane of Kubernetes {kubernetes.version} (minutes when Go's own cache is cold)",
        lambda folder: _build_control_plane(module, folder, kubernetes),
        say,
    )
    cni = cached(
        cache / "cni",
        key_of(CNI_PLUGINS_VERSION, *CNI_PLUGINS),
        f"building the CNI plugins {CNI_PLUGINS_VERSION} (a minute when Go's own cache is cold)",
        _build_cni_plugins,
        say,
    )
    return control_plane, cni


def build_containerd(cache: Path, say: Say) -> Path:
    """Return the folder of containerd, its shim for runc and its client, building them if the cache has none.

    Raises:
        CommandError: Go is missing, or the build failed.
    """
    module = "github.com/containerd/containerd/v2/cmd"
    packages = [f"{module}/{part}@{CONTAINERD_VERSION}" for part in CONTAINERD_PARTS]
    title = f"building containerd {CONTAINERD_VERSION} (minutes when Go's own cache is cold)"
    return cached(cache / "containerd", key_of(*packages), title, lambda folder: _go_install(folder, packages), say)


def build_helm(cache: Path, say: Say) -> Path:
    """Return the helm program, building it if the cache has none.

    Raises:
        CommandError: Go is missing, or the build failed.
    """
    package = f"helm.sh/helm/v3/cmd/helm@{HELM_VERSION}"
    title = f"building helm {HELM_VERSION} (minutes when Go's own cache is cold)"
    return cached(cache / "helm", key_of(package), title, lambda folder: _go_install(folder, [package]), say) / "helm"


def _linker_flags(kubernetes: KubernetesRelease) -> str:
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(("-s -w", *(f"-X {package}.gitVersion={kubernetes.version}" for package in packages)))


def _build_control_plane(module: Path, folder: Path, kubernetes: KubernetesRelease) -> None:
    target = folder / "controlplane"
    building = ["go", "-C", str(module), "build", f"-modfile={kubernetes.modules}", "-trimpath"]
    commands.run([*building, "-ldflags", _linker_flags(kubernetes), "-o", str(target), "."], timeout=_BUILD_TIMEOUT)
    for part in CONTROL_PLANE_PARTS:
        (folder / part).symlink_to(target.name)


def _build_cni_plugins(folder: Path) -> None:
    module = "github.com/containernetworking/plugins/plugins"
    _go_install(folder, [f"{module}/{plugin}@{CNI_PLUGINS_VERSION}" for plugin in CNI_PLUGINS])


def _go_install(folder: Path, packages: Sequence[str]) -> None:
    commands.run(
        ["env", f"GOBIN={folder}", "go", "install", "-trimpath", "-ldflags", "-s -w", *packages],
        timeout=_BUILD_TIMEOUT,
    )
