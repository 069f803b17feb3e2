"""What users try in images: paths of the nodes, and servers that only nodes reach."""

from tests.integration.security.manifests import Refused

from berth_api import kinds

IMAGE = kinds.VIRTUAL_MACHINE_IMAGE
_LOCAL = "url must not lead to a loopback, link-local or multicast address"
_HOST = "whose host is a DNS name"


def _url(name: str, what: str, url: str, phrase: str) -> Refused:
    return Refused(f"url-{name}", f"image URL: {what}", {"spec.source.http.url": url}, phrase, kind=IMAGE)


IMAGES: tuple[Refused, ...] = (
    Refused(
        "file-absolute",
        "an absolute path of an image file",
        {"spec.source": {"file": {"path": "/etc/shadow"}}},
        "no leading '/', no '..'",
        kind=IMAGE,
    ),
    Refused(
        "file-climbs",
        "'..' in the path of an image file",
        {"spec.source": {"file": {"path": "a/../../../etc/shadow"}}},
        "no leading '/', no '..'",
        kind=IMAGE,
    ),
    Refused(
        "file-backslash",
        "a backslash in the path of an image file",
        {"spec.source": {"file": {"path": "..\\..\\etc"}}},
        "must be a relative path",
        kind=IMAGE,
    ),
    Refused(
        "file-nul",
        "NUL in the path of an image file",
        {"spec.source": {"file": {"path": "a\0b"}}},
        "must be a relative path",
        kind=IMAGE,
    ),
    Refused(
        "checksum-climbs",
        "'../' in a checksum, which becomes a file's name",
        {"spec.checksum": "sha256:../../../../etc/shadow"},
        "must be sha256:",
        kind=IMAGE,
    ),
    _url("file", "a file of the node", "file:///etc/shadow", "must start with http:// or https://"),
    _url("gopher", "another protocol", "gopher://127.0.0.1:6379/_x", "must start with http:// or https://"),
    _url(
        "userinfo", "a host that looks like a user", "http://images.example.com@127.0.0.1/x", "without user, password"
    ),
    _url(
        "backslash", "a backslash before the host", "http://images.example.com\\@127.0.0.1/", "without user, password"
    ),
    _url(
        "newline", "a second header line", "http://images.example.com/x\r\nHost: y", "without user, password or spaces"
    ),
    _url("loopback", "the node's loopback", "http://127.0.0.1:10250/pods", _LOCAL),
    _url("localhost", "localhost", "http://LocalHost.:10248/healthz", _LOCAL),
    _url("metadata", "the cloud's metadata", "http://169.254.169.254/latest/meta-data", _LOCAL),
    _url("zero", "the unspecified address", "http://0.0.0.0/x", _LOCAL),
    _url("decimal", "an address as a number", "http://2130706433/x", _HOST),
    _url("hex", "an address in hexadecimal", "http://0x7f.0.0.1/x", _HOST),
    _url("octal", "an address in octal", "http://0177.0.0.1/x", _HOST),
    _url("short", "a short address", "http://127.1/x", _HOST),
    _url("mapped", "an IPv4 address as an IPv6 one", "http://[::ffff:169.254.169.254]/x", _HOST),
    _url("nat64", "an IPv4 address behind NAT64", "http://[64:ff9b::7f00:1]/x", _HOST),
    _url("v6-loopback", "::1", "http://[::1]/x", _HOST),
    _url("v6-link-local", "a link-local address", "http://[fe80::1]/x", _HOST),
    _url("full-stop", "an ideographic full stop", "http://127\u30020\u30020\u30021/x", _HOST),
    _url("circled", "circled digits", "http://①②⑦.⓪.⓪.①/x", _HOST),
    _url("escaped", "an escaped host", "http://%31%32%37.0.0.1/x", _HOST),
)

FORBIDDEN_ADDRESSES: tuple[tuple[str, str], ...] = (
    ("loopback", "127.0.0.1"),
    ("loopback-v6", "::1"),
    ("loopback-mapped", "::ffff:127.0.0.1"),
    ("loopback-nat64", "64:ff9b::7f00:1"),
    ("loopback-6to4", "2002:7f00:1::1"),
    ("metadata", "169.254.169.254"),
    ("metadata-v6", "fd00:ec2::254"),
    ("metadata-alibaba", "100.100.100.200"),
    ("unspecified", "0.0.0.0"),  # noqa: S104 - nothing is bound
    ("service", "10.96.0.1"),
    ("pod", "10.244.1.7"),
    ("node", "192.168.1.10"),
    ("carrier-grade", "100.64.0.1"),
    ("unique-local", "fd12:3456::1"),
    ("link-local", "fe80::1"),
    ("multicast", "224.0.0.1"),
)
"""Where a name of a user's may resolve to, or a redirect lead: refused when the agent connects, by default."""
