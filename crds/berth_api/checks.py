"""Pages for probes: what is wrong, in words, by the name of what was looked at.

*Liveness* asks whether starting the program anew would help. It would where the event loop hangs (then nobody answers
the probe at all), or where work has gone past every deadline of its own. It would not where libvirt or the API server
are away: who waits for them and is started again and again waits no better.
*Readiness* asks whether it could take over its work now: whether all that it has to know is known.
"""

from collections.abc import Callable, Mapping

from aiohttp import web

Check = Callable[[], str]
"""What is wrong, in words; empty: nothing."""


class Checks:
    """Checks by the name of what they look at. More can be added while they are served: a program comes up in parts."""

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
        """200 while nothing is wrong, else 503 with the reasons."""
        problems = self.problems()
        return web.Response(status=503 if problems else 200, text="\n".join(problems) or "ok")
