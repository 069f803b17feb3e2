"""Where the API server is and how we prove who we are.

A Pod's projected token is replaced by the kubelet long before its hour is over, and tools replace tokens in
kubeconfigs as well. So the source is read again every minute, and at once when the server says 401.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from berth_api.client.errors import ApiError, Unauthorized

_LOGGER = logging.getLogger(__name__)
RELOAD_SECONDS = 60.0


@dataclass(frozen=True)
class Connection:
    """How to reach the API server, in the terms that any client knows (kopf's `ConnectionInfo` among them)."""

    server: str
    token: str | None
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    insecure: bool
    tls_server_name: str | None


async def load(kubeconfig: Path | None) -> Configuration:
    """Read a kubeconfig, or what the kubelet mounted into this Pod.

    Raises:
        Unauthorized: The file, or the Pod's service account, is missing or cannot be used.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(  # type: ignore[no-untyped-call]  # upstream has no annotations
                client_configuration=configuration, try_refresh_token=False
            )
        elif not await asyncio.to_thread(kubeconfig.is_file):
            raise Unauthorized(0, "NoCredentials", f"kubeconfig {kubeconfig} does not exist: give the path of one")
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]  # upstream has no annotations
                config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
            )
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        source = f"kubeconfig {kubeconfig}" if kubeconfig else "the Pod's service account"
        raise Unauthorized(0, "NoCredentials", f"{source} cannot be used: {error}") from error
    return configuration


class Credentials:
    """The configuration in use, read again when it is a minute old.

    Only the token is taken over by later readings: a server or certificate that changes needs a restart.
    """

    def __init__(
        self,
        configuration: Configuration,
        reload: Callable[[], Awaitable[Configuration]],
        *,
        period: float = RELOAD_SECONDS,
    ) -> None:
        self.configuration = configuration
        self._reload = reload
        self._period = period
        self._loaded_at = asyncio.get_running_loop().time()

    @classmethod
    async def read(cls, kubeconfig: Path | None) -> "Credentials":
        """Read them for the first time; raises `Unauthorized` as `load` does."""
        return cls(await load(kubeconfig), lambda: load(kubeconfig))

    async def authorization(self) -> str | None:
        """The value of the Authorization header, None where a client certificate is all there is."""
        if asyncio.get_running_loop().time() - self._loaded_at >= self._period:
            await self.renew()
        return await self.configuration.get_api_key_with_prefix("BearerToken")

    async def renew(self) -> bool:
        """Read the source again; True if that brought another token.

        A source that cannot be read just now (it is being replaced) leaves the old token in use.
        """
        self._loaded_at = asyncio.get_running_loop().time()
        try:
            fresh = await self._reload()
        except ApiError as error:
            _LOGGER.warning("keeping the credentials at hand: %s", error)
            return False
        changed = fresh.api_key != self.configuration.api_key
        self.configuration.api_key = fresh.api_key
        return bool(changed)

    async def connection(self) -> Connection:
        """What is in use now."""
        authorization = await self.authorization() or ""
        scheme, _, token = authorization.partition(" ")
        return Connection(
            server=self.configuration.host,
            token=token.strip() if scheme.lower() == "bearer" else None,
            ca_path=self.configuration.ssl_ca_cert,
            certificate_path=self.configuration.cert_file,
            private_key_path=self.configuration.key_file,
            insecure=not self.configuration.verify_ssl,
            tls_server_name=self.configuration.tls_server_name,
        )
