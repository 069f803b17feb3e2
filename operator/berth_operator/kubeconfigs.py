"""Which cluster and namespace a command is about, found as kubectl finds them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEFAULT_NAMESPACE = "default"


def locate(given: Path | None, environment: Mapping[str, str], home: Path) -> Path | None:
    """The kubeconfig to use: the one given, `KUBECONFIG`, `~/.kube/config`; None: the Pod's own account.

    Of several in `KUBECONFIG` the first counts: they are not merged.
    """
    if given is not None:
        return given
    listed = [part for part in environment.get("KUBECONFIG", "").split(":") if part]
    if listed:
        return Path(listed[0])
    usual = home / ".kube" / "config"
    return usual if usual.is_file() else None


def namespace_of(kubeconfig: Path | None) -> str:
    """The namespace of the current context; `default` where it has none, or the file is not to be read."""
    if kubeconfig is None:
        return DEFAULT_NAMESPACE
    try:
        content: Any = yaml.safe_load(kubeconfig.read_bytes())
        current = content["current-context"]
        context = next(each["context"] for each in content["contexts"] if each["name"] == current)
        return str(context.get("namespace") or DEFAULT_NAMESPACE)
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration):
        return DEFAULT_NAMESPACE
