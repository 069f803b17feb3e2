"""The releases of Kubernetes that a cluster can be of: the newest, and the oldest that Berth supports.

Both are built from the same `main.go`, each with the modules of its own release.
"""

from dataclasses import dataclass

from berth_dev.errors import DevError


@dataclass(frozen=True)
class KubernetesRelease:
    """A release that can be built.

    Attributes:
        minor: What users call it, `1.36`.
        version: Which one of that minor it is, as its programs say it.
        modules: The name of its module file, beside `main.go`; the sums are in a file of the same name.
    """

    minor: str
    version: str
    modules: str

    @property
    def sums(self) -> str:
        """The name of the file with the sums of its modules."""
        return f"{self.modules.removesuffix('.mod')}.sum"


NEWEST = KubernetesRelease("1.36", "v1.36.3", "go.mod")
OLDEST = KubernetesRelease("1.32", "v1.32.2", "kubernetes-1.32.mod")
RELEASES = (NEWEST, OLDEST)


def release_of(minor: str) -> KubernetesRelease:
    """The release of a minor version.

    Raises:
        DevError: It is none that can be built.
    """
    for release in RELEASES:
        if release.minor == minor:
            return release
    known = " or ".join(release.minor for release in RELEASES)
    raise DevError(f"a cluster is of Kubernetes {known}, not {minor!r}")
