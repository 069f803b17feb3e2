"""The pool of connections to the API server.

The official client loads credentials and says what TLS shall be, but its own HTTP session looks for a proxy and for
credentials in a .netrc before each request, each time in a thread: more than half of what a call costs. Here all that
is settled once, before the first request; a .netrc is not looked at.
"""

import socket
import ssl
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client import Configuration
from yarl import URL

_READ_BUFFER = 2**20
"""Bytes. A page of a list, or a burst of events, is read in a few steps."""
_KEEPALIVE_IDLE, _KEEPALIVE_INTERVAL, _KEEPALIVE_PROBES = 30, 10, 3
"""Seconds, seconds and a number: a watch whose peer has vanished without a word is lost after a minute, not after its
deadline. client-go pings as often."""


def open_session(configuration: Configuration, *, user_agent: str, connections: int) -> aiohttp.ClientSession:
    """A session that is used for everything: nothing it does for a request leaves the event loop.

    Args:
        configuration: Server, certificates and proxy, as the kubeconfig says; read once.
        user_agent: Who we are, for the server's logs and metrics.
        connections: Requests under way at the same time, watches included; more of them wait.
    """
    connector = aiohttp.TCPConnector(limit=connections, ssl=tls(configuration), socket_factory=_socket)
    return aiohttp.ClientSession(
        connector=connector,
        proxy=configuration.proxy or proxy_for(configuration.host),
        headers={"Accept": "application/json", "User-Agent": user_agent},
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept-Encoding",),
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=_READ_BUFFER,
    )


def tls(configuration: Configuration) -> ssl.SSLContext:
    """What the server and we prove to each other, as the kubeconfig says."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.disable_strict_ssl_verification:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def proxy_for(server: str) -> URL | None:
    """The proxy that the environment (`HTTPS_PROXY`, `NO_PROXY` and their like) names for this server, if any."""
    parts = urlsplit(server)
    if parts.hostname and proxy_bypass(parts.hostname):
        return None
    proxy = getproxies().get(parts.scheme)
    return URL(proxy) if proxy else None


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
    return made
