"""The matrix of values for which everything that is rendered has to hold."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from tests.unit.chart.renders import MUTATING, Release, render

_EVERYTHING = {
    "imageRegistry": "registry.example.com:5000/team",
    "imagePullSecrets": [{"name": "pull"}, {"name": "other"}],
    "commonLabels": {"example.com/team": "virtualization"},
    "operator": {
        "replicas": 3,
        "settings": {"heartbeat_timeout": 1000000, "mac_prefix": "02:aa", "backoff_first": 0.25},
        "schedulerConfig": {"profiles": [{"name": "dense", "scores": {"MostAllocated": 5}}]},
        "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "control", "effect": "NoSchedule"}],
        "podAnnotations": {"example.com/a": "b"},
        "podLabels": {"example.com/c": "d"},
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
            "apiServerPorts": [443, 16443],
        },
    },
    "agent": {
        "storageDirs": ["/srv/pool", "/mnt/nfs"],
        "imageFileDir": "/srv/images",
        "hostCniBinDir": "/usr/lib/cni",
        "settings": {"accelerator": "kvm"},
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "podAnnotations": {"example.com/a": "b"},
        "affinity": {"nodeAffinity": {}},
    },
    "priorityQuota": {"create": True},
    "defaults": {"virtualNetwork": {"create": True, "spec": {"cni": {"plugins": [{"type": "bridge"}]}}}},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "runbookUrl": "https://example.com/runbooks"},
        "dashboard": {"enabled": True},
    },
}
_LITTLE = {
    "operator": {"replicas": 1, "podDisruptionBudget": {"enabled": False}, "nodeSelector": {}, "priorityClassName": ""},
    "agent": {"privileged": False, "priorityClassName": ""},
    "anchor": {"enabled": False},
    "crds": {"apply": False},
    "rbac": {"userRoles": False},
    "defaults": {"storagePool": {"create": False}},
    "metrics": {"enabled": False},
}
_MANAGED = {
    "libvirt": {"mode": "managed", "managed": {"image": {"digest": "sha256:" + 64 * "a"}}},
    "agent": {"storageDirs": ["/srv/pool"]},
}
MATRIX: Mapping[str, tuple[tuple[str, ...], Mapping[str, Any], str]] = {
    "defaults on 1.32": ((), {}, "1.32.0"),
    "defaults on 1.36": (("--api-versions", MUTATING), {}, "1.36.2"),
    "everything": (("--api-versions", MUTATING), _EVERYTHING, "1.36.0"),
    "little": ((), _LITTLE, "1.34.1+vendor.1"),
    "managed": ((), _MANAGED, "1.35.0-rc.1"),
}


@cache
def rendered(case: str) -> Release:
    """A case of the matrix; helm runs once for each."""
    arguments, values, kubernetes = MATRIX[case]
    return render(*arguments, values=values, kubernetes=kubernetes)
