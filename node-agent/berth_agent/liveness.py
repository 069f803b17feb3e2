"""The liveness probe: whether starting the agent anew would help.

It would where the event loop hangs (then nobody answers the probe at all), where a round went past every deadline of
its own, or where the heartbeat is not even attempted. It would not where libvirt or the API server are away: the agent
waits for them, and one that is started again and again waits no better.
"""

from collections.abc import Callable, Mapping

from aiohttp import web

Check = Callable[[], str]
"""What is wrong, in words; empty: nothing."""


class Liveness:
    """Checks by the name of what they look at. More can be added while it is served: an agent comes up in parts."""

    def __init__(self, checks: Mapping[str, Check] | None = None) -> None:
        self._checks = dict(checks or {})

    def add(self, name: str, check: Check) -> None:
        """Ask this, too, from now on."""
        self._checks[name] = check

    def problems(self) -> tuple[str, ...]:
        """What is wrong now."""
        found = ((name, check()) for name, check in self._checks.items())
        return tuple(f"{name}: {problem}" for name, problem in found if problem)

    async def page(self, _request: web.Request) -> web.Response:
        """200 while the agent works, else 503 with the reasons."""
        problems = self.problems()
        return web.Response(status=503 if problems else 200, text="\n".join(problems) or "ok")
