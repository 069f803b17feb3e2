"""Probes: how Berth finds out whether a guest lives, and whether it is ready to serve.

The timing fields have a Pod's names, meaning and defaults (core/v1 Probe).
"""

from typing import Annotated

from pydantic import Field

from berth_api.markers import Cel, ServerDefault
from berth_api.objects import Label, Model

Port = Annotated[int, Field(ge=1, le=65535)]


class TCPSocketAction(Model):
    """Succeeds when a TCP connection to the guest is accepted."""

    port: Port
    interface: Annotated[Label, Field(max_length=32)] | None = None
    """The NIC by its name in `networks`, whose first address is asked. Left out: the first NIC with an address."""


class GuestAgentPing(Model):
    """Succeeds when the guest's QEMU agent answers."""


class Probe(Model):
    """A question to the guest, asked again and again."""

    tcp_socket: TCPSocketAction | None = None
    guest_agent_ping: GuestAgentPing | None = None
    initial_delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """Seconds after the guest's start before it is first asked."""
    period_seconds: Annotated[int, Field(ge=1, le=3600), ServerDefault(10)] = 10
    timeout_seconds: Annotated[int, Field(ge=1, le=60), ServerDefault(1)] = 1
    success_threshold: Annotated[int, Field(ge=1, le=100), ServerDefault(1)] = 1
    """Successes in a row after which a guest that had failed counts as well again."""
    failure_threshold: Annotated[int, Field(ge=1, le=100), ServerDefault(3)] = 3
    """Failures in a row after which the guest counts as failing."""

    rules = (
        Cel(
            "has(self.tcpSocket) != has(self.guestAgentPing)",
            "a probe asks in one way: give either tcpSocket or guestAgentPing",
        ),
    )
