"""What users try in manifests, and what comes of it: the server refuses it, or it says nothing that it should not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from berth_api import kinds
from berth_api.kinds import Kind

VM = kinds.VIRTUAL_MACHINE
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Refused:
    """A manifest that the API server does not take.

    Attributes:
        name: Of the test.
        what: In words.
        changes: To a good object, by dotted path.
        phrase: Of the answer.
        rule: What refuses, as docs/security.md has it.
        status: Of the answer.
    """

    name: str
    what: str
    changes: Changes
    phrase: str
    rule: str = "CRD schema"
    kind: Kind = VM
    status: int = 422


@dataclass(frozen=True)
class Harmless:
    """A VM that the API server takes: what a node makes of it has the same shape as what it makes of a plain one.

    Attributes:
        name: Of the test.
        what: In words.
        changes: To a good object, by dotted path.
        why: What keeps it harmless, as docs/security.md has it.
        plain: Changes to a good object that make a plain twin.
    """

    name: str
    what: str
    changes: Changes
    why: str
    plain: Changes = field(default_factory=dict)


MARKUP = "a'/><disk type='block'><source dev='/dev/sda'/></disk><x y='"
_DISK_SIZES = "policy berth-disk-sizes"
_KERNEL = {"imageRef": {"name": "kernel"}}


MACHINES: tuple[Refused, ...] = (
    Refused("name-markup", "markup in a VM's name", {"metadata.name": MARKUP}, "RFC 1123", "API server"),
    Refused("name-newline", "a second line in a VM's name", {"metadata.name": "a\nb: c"}, "RFC 1123", "API server"),
    Refused("name-climbs", "'../' in a VM's name", {"metadata.name": "../../etc/x"}, "RFC 1123", "API server"),
    Refused("name-nul", "NUL in a VM's name", {"metadata.name": "a\0b"}, "RFC 1123", "API server"),
    Refused(
        "name-homograph",
        "letters of another script in a VM's name",
        {"metadata.name": "w\u0435b"},
        "RFC 1123",
        "API server",
    ),
    Refused(
        "name-dotted", "a domain as a VM's name", {"metadata.name": "www.example.com"}, "becomes the guest's host name"
    ),
    Refused(
        "disk-name-markup",
        "markup in a disk's name, which becomes its serial",
        {"spec.disks.0.name": MARKUP},
        "spec.disks[0].name",
    ),
    Refused(
        "disk-name-climbs",
        "'../' in a disk's name, which becomes a file's",
        {"spec.disks.0.name": "../x"},
        "must be of a-z, 0-9",
    ),
    Refused("disk-name-nul", "NUL in a disk's name", {"spec.disks.0.name": "root\0x"}, "must be of a-z, 0-9"),
    Refused(
        "pool-climbs",
        "'../' in a pool's name",
        {"spec.disks.0.storagePoolName": "../../etc"},
        "must be an object's name",
    ),
    Refused(
        "volume-climbs", "'../' in a volume's name", {"spec.disks.1.volumeName": "../x"}, "must be an object's name"
    ),
    Refused(
        "image-climbs",
        "'../' in an image's name",
        {"spec.disks.0.imageRef.name": "../../kube-system/x"},
        "must be an object's name",
    ),
    Refused(
        "image-kind",
        "a Secret as an image",
        {"spec.disks.0.imageRef": {"kind": "Secret", "name": "s"}},
        "supported values",
    ),
    Refused(
        "nic-name-shell",
        "a shell command in a NIC's name",
        {"spec.networks.0.name": "eth0;reboot"},
        "must be of a-z, 0-9",
    ),
    Refused(
        "nic-name-json",
        "CNI configuration in a NIC's name",
        {"spec.networks.0.name": 'a","type":"x'},
        "must be of a-z, 0-9",
    ),
    Refused(
        "network-name-json",
        "CNI configuration in a network's name",
        {"spec.networks.0.networkName": 'lan","plugins":[{"type":"host-device"}]'},
        "must be an object's name",
    ),
    Refused(
        "mac-markup", "markup in a MAC address", {"spec.networks.0.macAddress": "52:54:00:00:00:01'/>"}, "macAddress"
    ),
    Refused(
        "mac-option",
        "a DHCP option in a MAC address",
        {"spec.networks.0.macAddress": "set:x,id:*,ignore"},
        "must be a unicast MAC",
    ),
    Refused(
        "address-option",
        "a DHCP option in an address",
        {"spec.networks.0.ipAddresses": ["10.0.0.1,x"]},
        "plain IP addresses",
    ),
    Refused(
        "address-zone", "a link in an address", {"spec.networks.0.ipAddresses": ["fe80::1%eth0"]}, "plain IP addresses"
    ),
    Refused(
        "address-mapped",
        "an IPv4 address as an IPv6 one",
        {"spec.networks.0.ipAddresses": ["::ffff:10.0.0.1"]},
        "plain IP addresses",
    ),
    Refused(
        "kernel-newline",
        "a second line of kernel arguments",
        {"spec.firmware": {"kernel": {**_KERNEL, "commandLine": "a\nb"}}},
        "printable ASCII on one line",
    ),
    Refused(
        "kernel-nul",
        "NUL in kernel arguments",
        {"spec.firmware": {"kernel": {**_KERNEL, "commandLine": "a\0b"}}},
        "printable ASCII on one line",
    ),
    Refused(
        "kernel-separator",
        "a Unicode line separator in kernel arguments",
        {"spec.firmware": {"kernel": {**_KERNEL, "commandLine": "a\u2028b"}}},
        "printable ASCII on one line",
    ),
    Refused("cpu-model-markup", "markup in a CPU model", {"spec.cpu.model": MARKUP}, "must be the name of a CPU model"),
    Refused(
        "cpu-feature-markup",
        "markup in a CPU feature",
        {"spec.cpu.features": [MARKUP]},
        "must be the name of a CPU feature",
    ),
    Refused("machine-markup", "markup in a machine type", {"spec.machineType": "pc-q35-7.2'/><x"}, "must be q35"),
    Refused(
        "uuid-markup",
        "markup in a firmware's UUID",
        {"spec.firmware": {"uuid": "x'/><y z='" + "a" * 20}},
        "must be a UUID",
    ),
    Refused(
        "secret-climbs",
        "another namespace in a Secret's name",
        {"spec.cloudInit": {"userDataSecretRef": {"name": "../../kube-system/secrets/x", "key": "k"}}},
        "must be an object's name",
    ),
    Refused(
        "secret-key-climbs",
        "'../' in a Secret's key",
        {"spec.cloudInit": {"userDataSecretRef": {"name": "s", "key": "../x"}}},
        "must be a Secret's key",
    ),
    Refused(
        "key-newline",
        "a second line in an SSH key, with cloud-init of its own",
        {"spec.cloudInit": {"sshAuthorizedKeys": ["ssh-ed25519 A\nlocal-hostname: x"]}},
        "must be one public key",
    ),
    Refused("user-data-huge", "a megabyte of user-data", {"spec.cloudInit.userData": "#" * 1_000_000}, "Too long"),
    Refused(
        "disks-1000",
        "a thousand disks",
        {"spec.disks": [{"name": f"d{i}", "size": "1Gi"} for i in range(1000)]},
        "must have at most 24 items",
    ),
    Refused(
        "annotation-huge",
        "300 KiB of annotations",
        {"metadata.annotations": {"a": "x" * 300_000}},
        "Too long",
        "API server",
    ),
    Refused(
        "object-huge",
        "four megabytes of labels",
        {"metadata.labels": {f"a{i}": "x" * 60 for i in range(60_000)}},
        "limit is 3145728",
        "API server",
        status=413,
    ),
    Refused("cores-2-63", "2^63 cores", {"spec.cpu.cores": 2**63}, "spec.cpu.cores"),
    Refused("cores-negative", "-1 cores", {"spec.cpu.cores": -1}, "greater than or equal to 1"),
    Refused(
        "cores-overflow",
        "cores, sockets and threads whose product is past 2^63",
        {"spec.cpu": {"cores": 2**22, "sockets": 2**22, "threads": 2**22}},
        "spec.cpu",
    ),
    Refused("memory-1e30", "1e30 bytes of memory", {"spec.memory.size": "1e30"}, "at most 64Ti"),
    Refused("memory-1n", "a billionth of a byte of memory", {"spec.memory.size": "1n"}, "at least 16Mi"),
    Refused("memory-negative", "-1Gi of memory", {"spec.memory.size": "-1Gi"}, "must be a quantity"),
    Refused("memory-digits", "other scripts' digits", {"spec.memory.size": "\uff11Gi"}, "must be a quantity"),
    Refused("disk-16e", "a disk of 16E", {"spec.disks.0.size": "16E"}, "at most 16Ti", _DISK_SIZES),
    Refused(
        "grace-forever",
        "a grace period of 2^31 seconds",
        {"spec.terminationGracePeriodSeconds": 2**31},
        "less than or equal to 3600",
    ),
    Refused(
        "priority-of-system",
        "the cluster's own priority",
        {"spec.priorityClassName": "system-node-critical"},
        "are the cluster's own",
    ),
    Refused("pin-markup", "markup in a node's name", {"spec.nodeName": "n'/>"}, "must be an object's name"),
    Refused(
        "probe-port",
        "a probe's port past 2^16",
        {"spec.readinessProbe": {"tcpSocket": {"port": 65536}}},
        "less than or equal to 65535",
    ),
)

HARMLESS: tuple[Harmless, ...] = (
    Harmless(
        "kernel-markup",
        "markup in kernel arguments",
        {"spec.firmware": {"kernel": {**_KERNEL, "commandLine": "</cmdline><x/>&amp;<!--]]>'\"%s$(reboot)"}}},
        "the XML library",
        {"spec.firmware": {"kernel": {**_KERNEL, "commandLine": "quiet"}}},
    ),
    Harmless(
        "user-data-markup",
        "markup, YAML and NUL in user-data",
        {"spec.cloudInit.userData": "]]>\0\n---\ninstance-id: x\n...\n%YAML 9\n\x1a\u2028<x/>"},
        "passed on as bytes",
    ),
    Harmless(
        "user-data-largest", "64 KiB of user-data", {"spec.cloudInit.userData": "#" * 65536}, "passed on as bytes"
    ),
    Harmless(
        "keys-yaml",
        "YAML in SSH keys",
        {
            "spec.cloudInit.sshAuthorizedKeys": [
                "] }\u2028local-hostname: x",
                "!!python/object/apply:os.system [x]",
                "- - &a *a",
                "'\"\\x00",
                "null",
                "1",
            ]
        },
        "the YAML library",
        {"spec.cloudInit.sshAuthorizedKeys": ["ssh-ed25519 A", "ssh-ed25519 B"]},
    ),
    *(
        Harmless(f"vm-called-{name}", f"a VM called {name}", {"metadata.name": name}, "quoted, or left out")
        for name in ("null", "yes", "1e3", "0x10")
    ),
    *(
        Harmless(
            f"vm-called-{name}",
            f"a VM called {name}, which is a word of dnsmasq's",
            {"metadata.name": name},
            "left out of the lease",
            {"metadata.name": "ignore"},
        )
        for name in ("infinite", "ignore", "1h")
    ),
    Harmless(
        "nics-called-null",
        "NICs called null and 1e3",
        {"spec.networks.0.name": "null", "spec.networks.1.name": "1e3"},
        "quoted by the YAML library",
    ),
    Harmless(
        "disks-called-on",
        "disks called on and 0",
        {"spec.disks.0.name": "on", "spec.disks.2.name": "0"},
        "the XML library",
    ),
    Harmless(
        "names-longest",
        "the longest names",
        {"metadata.name": "a" * 63, "spec.disks.0.name": "b" * 32, "spec.networks.0.name": "c" * 32},
        "shortened by a hash",
    ),
    Harmless(
        "labels-10k",
        "ten thousand labels",
        {"metadata.labels": {f"a{i}": "x" for i in range(10_000)}},
        "never rendered",
    ),
    Harmless(
        "annotations-markup",
        "markup in annotations",
        {"metadata.annotations": {"a": MARKUP, "b": "\0\n"}},
        "never rendered",
    ),
    Harmless(
        "disk-host-path",
        "a path of the host as a disk",
        {"spec.disks.2.path": "/dev/sda", "spec.disks.2.hostPath": {"path": "/"}, "spec.disks.2.source": "/etc/shadow"},
        "no such field: dropped",
    ),
    Harmless(
        "domain-xml",
        "a domain XML of one's own",
        {"spec.domain": "<domain/>", "spec.xml": "<x/>", "spec.qemuArgs": ["-drive", "file=/dev/sda"]},
        "no such field: dropped",
    ),
    Harmless(
        "secret-elsewhere",
        "another namespace beside a Secret's name",
        {"spec.cloudInit": {"userDataSecretRef": {"name": "s", "key": "k", "namespace": "kube-system"}}},
        "no such field: dropped",
        {"spec.cloudInit": {"userDataSecretRef": {"name": "s", "key": "k"}}},
    ),
    Harmless(
        "image-elsewhere",
        "another namespace beside an image's name",
        {"spec.disks.0.imageRef.namespace": "kube-system"},
        "no such field: dropped",
    ),
    Harmless(
        "status-at-creation",
        "a binding and a claim at creation",
        {
            "status": {
                "nodeName": "node-1",
                "claim": {"id": "c", "epoch": 9, "cpu": "1", "memory": "1Gi", "storage": "0"},
            }
        },
        "status subresource: dropped",
    ),
    Harmless(
        "tolerate-all",
        "tolerations of every taint, and a pin to the control plane",
        {"spec.tolerations": [{"operator": "Exists"}], "spec.nodeName": "control-plane"},
        "a node without a Hypervisor runs no VM",
    ),
)
