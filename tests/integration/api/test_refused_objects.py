"""The API server refuses every bad object, and says what to change."""

from typing import Any

import pytest
from tests.integration.api.specimens import CHECKSUM, REMOVED, specimen, spoiled

from berth_api import kinds
from berth_api.client import ApiClient, Invalid
from berth_api.kinds import Kind

pytestmark = pytest.mark.integration

Case = tuple[str, dict[str, Any], str]
LONG = "a" * 300

MACHINES: tuple[Case, ...] = (
    ("class and sizes", {"spec.className": "small"}, "give either className, or cpu and memory, never both"),
    (
        "neither class nor sizes",
        {"spec.cpu": REMOVED, "spec.memory": REMOVED},
        "give either className, or cpu and memory",
    ),
    ("cpu without memory", {"spec.memory": REMOVED}, "cpu and memory go together"),
    ("no spec", {"spec": REMOVED}, "spec: Required value"),
    ("name with a dot", {"metadata.name": "a.b"}, "the name becomes the guest's host name"),
    ("name of 64", {"metadata.name": "a" * 64}, "the name becomes the guest's host name"),
    ("name of 300", {"metadata.name": LONG}, "must be no more than 253"),
    ("name in upper case", {"metadata.name": "Web"}, "a lowercase RFC 1123 subdomain must consist of"),
    ("name with a newline", {"metadata.name": "a\nb"}, "a lowercase RFC 1123 subdomain must consist of"),
    ("name that climbs", {"metadata.name": "../x"}, "a lowercase RFC 1123 subdomain must consist of"),
    ("name with a slash", {"metadata.name": "a/b"}, "a lowercase RFC 1123 subdomain must consist of"),
    ("unknown run strategy", {"spec.runStrategy": "Sometimes"}, '"Always", "RerunOnFailure", "Once", "Halted"'),
    ("unknown eviction", {"spec.evictionStrategy": "External"}, '"LiveMigrate", "LiveMigrateIfPossible", "None"'),
    ("unknown recovery", {"spec.recoveryStrategy": "Maybe"}, '"Restart", "None"'),
    ("restart at no time", {"spec.restartedAt": "yesterday"}, "spec.restartedAt in body must be of type date-time"),
    ("grace in the past", {"spec.terminationGracePeriodSeconds": -1}, "should be greater than or equal to 0"),
    ("no cores", {"spec.cpu.cores": 0}, "spec.cpu.cores in body should be greater than or equal to 1"),
    ("too many cpus", {"spec.cpu": {"cores": 512, "sockets": 2}}, "cores * sockets * threads must be at most 512"),
    ("fewer sockets at most", {"spec.cpu": {"sockets": 4, "maxSockets": 2}}, "maxSockets must be at least sockets"),
    ("cpu model with spaces", {"spec.cpu.model": "Intel Xeon"}, "must be the name of a CPU model"),
    (
        "cpu feature in upper case",
        {"spec.cpu.features": ["AVX2"]},
        "must be the name of a CPU feature as libvirt knows",
    ),
    ("cpu feature that is markup", {"spec.cpu.features": ["a'/><x"]}, "must be the name of a CPU feature as libvirt"),
    ("cpu feature without name", {"spec.cpu.features": [""]}, "must be the name of a CPU feature as libvirt knows"),
    ("cpu feature twice", {"spec.cpu.features": ["avx", "avx"]}, "spec.cpu.features[1]: Duplicate value"),
    ("65 cpu features", {"spec.cpu.features": [f"f{i}" for i in range(65)]}, "must have at most 64 items"),
    ("machine of another family", {"spec.machineType": "pc-i440fx-7.2"}, "must be q35, or one of its versions"),
    ("machine without version", {"spec.machineType": "pc-q35-"}, "must be q35, or one of its versions"),
    ("machine that is markup", {"spec.machineType": "pc-q35-7.2'/>"}, "must be q35, or one of its versions"),
    ("machine of no name", {"spec.machineType": ""}, "must be q35, or one of its versions"),
    ("profile in upper case", {"spec.schedulerProfile": "Packed"}, "must be of a-z, 0-9 and '-'"),
    ("profile without name", {"spec.schedulerProfile": ""}, "must be of a-z, 0-9 and '-'"),
    ("negative memory", {"spec.memory.size": "-1Gi"}, "must be a quantity such as 500m, 2 or 4Gi, and not negative"),
    (
        "negative memory as number",
        {"spec.memory.size": -1},
        "spec.memory.size in body should be greater than or equal to 0",
    ),
    ("memory beyond all", {"spec.memory.size": "1e99999"}, "must be a quantity such as"),
    ("memory of 1e999", {"spec.memory.size": "1e999"}, "memory size must be at most 64Ti"),
    ("memory that is no number", {"spec.memory.size": "NaN"}, "must be a quantity such as"),
    ("memory in words", {"spec.memory.size": "2 GB"}, "must be a quantity such as"),
    ("memory with a newline", {"spec.memory.size": "1Gi\n"}, "must be a quantity such as"),
    ("memory that goes on", {"spec.memory.size": "1" * 40}, "Too long: may not be more than 32 bytes"),
    ("memory as a list", {"spec.memory.size": ["1Gi"]}, "spec.memory.size"),
    ("too little memory", {"spec.memory.size": "1Mi"}, "memory size must be at least 16Mi"),
    ("too much memory", {"spec.memory.size": "65Ti"}, "memory size must be at most 64Ti"),
    ("less memory at most", {"spec.memory.maxSize": "512Mi"}, "memory maxSize must be at least size"),
    (
        "image and volume",
        {"spec.disks.0.volumeName": "v", "spec.disks.0.size": REMOVED},
        "give imageRef or volumeName, not both",
    ),
    ("image without size", {"spec.disks.0.size": REMOVED}, "a disk from an image and a blank disk need a size"),
    ("blank without size", {"spec.disks.2.size": REMOVED}, "a disk from an image and a blank disk need a size"),
    ("volume with size", {"spec.disks.1.size": "1Gi"}, "leave size out beside volumeName"),
    ("volume with pool", {"spec.disks.1.storagePoolName": "p"}, "leave storagePoolName out beside volumeName"),
    ("tiny disk", {"spec.disks.0.size": "1"}, "disk size must be at least 1Mi"),
    ("huge disk", {"spec.disks.0.size": "17Ti"}, "disk size must be at most 16Ti"),
    ("negative disk", {"spec.disks.0.size": "-5Gi"}, "must be a quantity such as"),
    ("two disks of a name", {"spec.disks.2.name": "root"}, "spec.disks[2]: Duplicate value"),
    ("disk without name", {"spec.disks.0.name": REMOVED}, "spec.disks[0].name: Required value"),
    ("disk name that climbs", {"spec.disks.0.name": "../../etc/x"}, "must be of a-z, 0-9 and '-'"),
    ("disk name in upper case", {"spec.disks.0.name": "Root"}, "must be of a-z, 0-9 and '-'"),
    ("disk name with a newline", {"spec.disks.0.name": "a\n"}, "must be of a-z, 0-9 and '-'"),
    ("disk name of 33", {"spec.disks.0.name": "a" * 33}, "Too long: may not be more than 32 bytes"),
    ("image name that climbs", {"spec.disks.0.imageRef.name": "../x"}, "must be an object's name"),
    (
        "image of another kind",
        {"spec.disks.0.imageRef.kind": "Pod"},
        '"VirtualMachineImage", "ClusterVirtualMachineImage"',
    ),
    (
        "boot order twice",
        {"spec.disks.0.bootOrder": 1, "spec.disks.1.bootOrder": 1},
        "each bootOrder may be given to one disk only",
    ),
    ("boot order 0", {"spec.disks.0.bootOrder": 0}, "should be greater than or equal to 1"),
    ("unknown bus", {"spec.disks.0.bus": "ide"}, '"virtio", "scsi", "sata"'),
    ("nothing to boot from", {"spec.disks": []}, "a VM needs something to boot from"),
    ("25 disks", {"spec.disks": [{"name": f"d{i}", "size": "1Gi"} for i in range(25)]}, "must have at most 24 items"),
    ("two nics of a name", {"spec.networks.1.name": "default"}, "spec.networks[1]: Duplicate value"),
    ("nic name unsafe", {"spec.networks.0.name": "eth0/../x"}, "must be of a-z, 0-9 and '-'"),
    ("nic without network", {"spec.networks.0.networkName": REMOVED}, "spec.networks[0].networkName: Required value"),
    ("bad mac", {"spec.networks.0.macAddress": "02:00:00:00:00"}, "must be a unicast MAC address"),
    ("multicast mac", {"spec.networks.0.macAddress": "01:00:5e:00:00:01"}, "must be a unicast MAC address"),
    (
        "mac in upper case",
        {"spec.networks.0.macAddress": "52:54:00:AA:BB:CC"},
        "must be a unicast MAC address in lower case",
    ),
    (
        "mac twice",
        {f"spec.networks.{i}.macAddress": "52:54:00:00:00:01" for i in (0, 1)},
        "each macAddress may be given to one network interface only",
    ),
    (
        "address with prefix",
        {"spec.networks.0.ipAddresses": ["10.1.1.5/24"]},
        "plain IP addresses, without a prefix length",
    ),
    ("address that is none", {"spec.networks.0.ipAddresses": ["10.1.1.500"]}, "ipAddresses are plain IP addresses"),
    ("address twice", {"spec.networks.0.ipAddresses": ["10.1.1.5", "10.1.1.5"]}, "ipAddresses[1]: Duplicate value"),
    (
        "user-data over the size",
        {"spec.cloudInit.userData": "#" * 65537},
        "userData: Too long: may not be more than 65536 bytes",
    ),
    (
        "user-data twice",
        {"spec.cloudInit.userDataSecretRef": {"name": "s", "key": "k"}},
        "give userData or userDataSecretRef, not both",
    ),
    (
        "secret key that climbs",
        {"spec.cloudInit": {"userDataSecretRef": {"name": "s", "key": "../k"}}},
        "must be a Secret's key",
    ),
    ("two keys on two lines", {"spec.cloudInit.sshAuthorizedKeys": ["a\nb"]}, "must be one public key, on one line"),
    ("secure boot with BIOS", {"spec.firmware": {"secureBoot": True}}, "secureBoot needs type EFI"),
    (
        "kernel with EFI",
        {"spec.firmware": {"type": "EFI", "kernel": {"imageRef": {"name": "k"}}}},
        "direct kernel boot needs type BIOS",
    ),
    ("firmware uuid", {"spec.firmware": {"uuid": "1234"}}, "must be a UUID in lower case"),
    (
        "command line on two lines",
        {"spec.firmware": {"kernel": {"imageRef": {"name": "k"}, "commandLine": "a\nb"}}},
        "must be printable ASCII on one line",
    ),
    ("node name unsafe", {"spec.nodeName": "n/1"}, "must be an object's name"),
    ("label value", {"spec.nodeSelector": {"a": "b c"}}, "must be a label's value"),
    ("toleration of all by mistake", {"spec.tolerations": [{"value": "x"}]}, "give a key, or operator Exists"),
    (
        "toleration with a value too many",
        {"spec.tolerations": [{"key": "k", "operator": "Exists", "value": "x"}]},
        "operator Exists takes no value",
    ),
    (
        "affinity without values",
        {
            "spec.affinity": {
                "vmAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "zone", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}
                    ]
                }
            }
        },
        "values must be given for In and NotIn",
    ),
    (
        "affinity weight",
        {
            "spec.affinity": {
                "vmAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 101, "vmAffinityTerm": {"topologyKey": "zone"}}
                    ]
                }
            }
        },
        "should be less than or equal to 100",
    ),
    (
        "node affinity by order",
        {
            "spec.affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["x"]}]}]
                    }
                }
            }
        },
        "Gt and Lt take exactly one value, an integer",
    ),
    (
        "spread without reason",
        {"spec.topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
        "should be greater than or equal to 1",
    ),
)

CLASSES: tuple[Case, ...] = (
    ("class without memory", {"spec.memory": REMOVED}, "spec.memory: Required value"),
    ("class with no cores", {"spec.cpu.cores": 0}, "should be greater than or equal to 1"),
    ("class with an odd feature", {"spec.cpu.features": ["avx 2"]}, "must be the name of a CPU feature as libvirt"),
    ("class with too little memory", {"spec.memory.size": "1Ki"}, "memory size must be at least 16Mi"),
)

_LOCAL = "url must not lead to a loopback, link-local or multicast address"
_HOST = "whose host is a DNS name"
IMAGES: tuple[Case, ...] = (
    ("two sources", {"spec.source.file": {"path": "a"}}, "give exactly one of http and file"),
    ("no source", {"spec.source": {}}, "give exactly one of http and file"),
    ("no checksum", {"spec.checksum": REMOVED}, "spec.checksum: Required value"),
    (
        "checksum of another sort",
        {"spec.checksum": "md5:" + "0" * 32},
        "must be sha256: and 64 hex digits in lower case",
    ),
    (
        "checksum in upper case",
        {"spec.checksum": CHECKSUM.upper().replace("SHA", "sha")},
        "must be sha256: and 64 hex digits in lower case",
    ),
    ("checksum that climbs", {"spec.checksum": "sha256:../../../etc"}, "must be sha256: and 64 hex digits"),
    ("file url", {"spec.source.http.url": "file:///etc/shadow"}, "must start with http:// or https://"),
    ("ftp url", {"spec.source.http.url": "ftp://example.com/x"}, "must start with http:// or https://"),
    (
        "url with a password",
        {"spec.source.http.url": "http://me:secret@example.com/x"},
        "without user, password or spaces",
    ),
    ("url with spaces", {"spec.source.http.url": "http://example.com/a b"}, "without user, password or spaces"),
    ("url without host", {"spec.source.http.url": "http:///image.qcow2"}, _HOST),
    ("url of localhost", {"spec.source.http.url": "http://localhost/x"}, _LOCAL),
    ("url of LOCALHOST.", {"spec.source.http.url": "http://LOCALHOST.:8080/x"}, _LOCAL),
    ("url below localhost", {"spec.source.http.url": "https://a.localhost/x"}, _LOCAL),
    ("url of 127.0.0.1", {"spec.source.http.url": "http://127.0.0.1/x"}, _LOCAL),
    ("url of 127.8.8.8", {"spec.source.http.url": "http://127.8.8.8:80/x"}, _LOCAL),
    ("url of metadata", {"spec.source.http.url": "http://169.254.169.254/latest/meta-data"}, _LOCAL),
    ("url of 0.0.0.0", {"spec.source.http.url": "http://0.0.0.0/x"}, _LOCAL),
    ("url of multicast", {"spec.source.http.url": "http://224.0.0.1/x"}, _LOCAL),
    ("url of 127.1", {"spec.source.http.url": "http://127.1/image"}, _HOST),
    ("url of a number", {"spec.source.http.url": "http://2130706433/x"}, _HOST),
    ("url of a hex number", {"spec.source.http.url": "http://0x7f000001/x"}, _HOST),
    ("url of octal", {"spec.source.http.url": "http://0177.0.0.1/x"}, _HOST),
    ("url of ::1", {"spec.source.http.url": "http://[::1]:80/x"}, _HOST),
    ("url of fe80::1", {"spec.source.http.url": "http://[fe80::1]/x"}, _HOST),
    ("url of mapped loopback", {"spec.source.http.url": "http://[::ffff:127.0.0.1]/x"}, _HOST),
    ("url with an escaped host", {"spec.source.http.url": "http://%6cocalhost/x"}, _HOST),
    (
        "absolute path",
        {"spec.source": {"file": {"path": "/etc/shadow"}}},
        "path is relative to the image directory of the nodes",
    ),
    ("path that climbs", {"spec.source": {"file": {"path": "a/../../b"}}}, "no leading '/', no '..'"),
    ("path of dots", {"spec.source": {"file": {"path": ".."}}}, "must be a relative path"),
    ("path with a newline", {"spec.source": {"file": {"path": "a\nb"}}}, "must be a relative path of letters"),
    ("path with empty part", {"spec.source": {"file": {"path": "a//b"}}}, "path is relative to the image directory"),
)

_BRIDGE = {"type": "bridge"}
NETWORKS: tuple[Case, ...] = (
    (
        "chain and reference",
        {"spec.networkAttachmentDefinitionRef": {"namespace": "a", "name": "b"}},
        "give exactly one of cni and networkAttachmentDefinitionRef",
    ),
    ("neither", {"spec.cni": REMOVED}, "give exactly one of cni and networkAttachmentDefinitionRef"),
    ("no plugins", {"spec.cni.plugins": []}, "should have at least 1 items"),
    (
        "plugin with a path",
        {"spec.cni.plugins": [{"type": "../bin/sh"}]},
        "must be the name of a plugin's executable, without a path",
    ),
    ("plugin without type", {"spec.cni.plugins": [{"ipam": {}}]}, "spec.cni.plugins[0].type: Required value"),
    ("chain name with a slash", {"spec.cni.name": "a/b"}, "must start with a letter or digit"),
    ("unknown CNI version", {"spec.cni.cniVersion": "latest"}, "must be a version of the CNI specification"),
    (
        "subnets without ips",
        {"spec.cni.plugins": [_BRIDGE]},
        "a plugin of the chain must declare capabilities: {ips: true}",
    ),
    (
        "ips switched off",
        {"spec.cni.plugins": [{**_BRIDGE, "capabilities": {"ips": False}}]},
        "must declare capabilities: {ips: true}",
    ),
    (
        "capability that is no boolean",
        {"spec.cni.plugins": [{**_BRIDGE, "capabilities": {"ips": "yes"}}]},
        "must be of type boolean",
    ),
    ("host bits", {"spec.subnets.0.cidr": "10.1.1.1/24"}, "cidr must be a network such as 10.1.1.0/24"),
    ("no network", {"spec.subnets.0.cidr": "10.1.1.0"}, "cidr must be a network such as 10.1.1.0/24"),
    ("gateway outside", {"spec.subnets.0.gateway": "10.1.2.1"}, "gateway must be an address of the subnet"),
    ("gateway with prefix", {"spec.subnets.0.gateway": "10.1.1.1/24"}, "gateway must be an address of the subnet"),
    (
        "range outside",
        {"spec.subnets.0.range": {"start": "10.1.1.5", "end": "10.1.2.5"}},
        "range must lie within the subnet",
    ),
    (
        "range of two families",
        {"spec.subnets.0.range": {"start": "10.1.1.5", "end": "fd00::1"}},
        "IP addresses of one family",
    ),
    ("range without end", {"spec.subnets.0.range": {"start": "10.1.1.5"}}, "range.end: Required value"),
    ("excluded nonsense", {"spec.subnets.0.excluded": ["some"]}, "excluded must be IP addresses, or networks"),
    ("name server by name", {"spec.subnets.0.dnsServers": ["dns.example.com"]}, "dnsServers must be IP addresses"),
    ("subnet twice", {"spec.subnets.1": {"cidr": "10.1.1.0/24"}}, "spec.subnets[1]: Duplicate value"),
    ("subnets that overlap", {"spec.subnets.1": {"cidr": "10.1.0.0/16"}}, "subnets must not overlap"),
    ("mtu", {"spec.mtu": 68}, "should be greater than or equal to 576"),
    ("namespace name", {"spec.allowedNamespaces": ["A"]}, "must be of a-z, 0-9 and '-'"),
    ("network name with a dot", {"metadata.name": "a.b"}, "the name becomes part of file names on the nodes"),
)

POOLS: tuple[Case, ...] = (
    ("relative path", {"spec.path": "pools/a"}, "must be an absolute path"),
    ("climbing path", {"spec.path": "/var/lib/../../etc"}, "path must not contain '.' or '..'"),
    ("path with spaces", {"spec.path": "/var/lib/my pool"}, "must be an absolute path of letters"),
    ("path that is the root", {"spec.path": "/"}, "must be an absolute path"),
    ("unknown type", {"spec.type": "zfs"}, '"dir"'),
    ("pool name with a dot", {"metadata.name": "a.b"}, "the name becomes part of file names on the nodes"),
)

HYPERVISORS: tuple[Case, ...] = (
    ("no overcommit at all", {"spec.overcommit": {"cpu": 0}}, "must be at least 0.1"),
    ("negative reserve", {"spec.reserved": {"memory": "-1Gi"}}, "must be a quantity such as"),
    ("fewer VMs than none", {"spec.maxVirtualMachines": -1}, "should be greater than or equal to 0"),
    ("more VMs than any node", {"spec.maxVirtualMachines": 10001}, "should be less than or equal to 10000"),
    ("half a VM", {"spec.maxVirtualMachines": 1.5}, "must be of type integer"),
    ("schedulable in words", {"spec.schedulable": "yes"}, "must be of type boolean"),
)

TABLE = [
    pytest.param(kind, changes, message, id=f"{kind.kind}: {name}")
    for kind, cases in (
        (kinds.VIRTUAL_MACHINE, MACHINES),
        (kinds.VIRTUAL_MACHINE_CLASS, CLASSES),
        (kinds.VIRTUAL_MACHINE_IMAGE, IMAGES),
        (kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, (("url", {"spec.source": {"http": {"url": "http://[::]/x"}}}, _HOST),)),
        (kinds.VIRTUAL_NETWORK, NETWORKS),
        (kinds.STORAGE_POOL, POOLS),
        (kinds.HYPERVISOR, HYPERVISORS),
    )
    for name, changes, message in cases
]


@pytest.mark.parametrize(("kind", "changes", "message"), TABLE)
async def test_a_bad_object_is_refused(api: ApiClient, kind: Kind, changes: dict[str, Any], message: str) -> None:
    body = spoiled(specimen(kind), changes)
    with pytest.raises(Invalid) as refusal:
        await api.create(kind, body, "default" if kind.namespaced else "")
    assert message in refusal.value.message
    assert refusal.value.status == 422
    assert "evaluating rule" not in refusal.value.message, "a rule failed instead of answering"
