"""Seeing kopf's watches die.

In kopf 1.45 each watch is a task of its own. When the server refuses one (anything but 410 Gone), that task ends with
an error, nobody awaits it, and kopf goes on without it: a process that is alive and blind. So every new
task is seen when it is made, and the first watch, by its name, that ends with an error ends the process; whoever runs
it starts it again. A look now and then would miss the one that is refused at once.
"""

import asyncio
from collections.abc import Callable
from typing import Any

_NAME = "watcher for "


class WatchDied(Exception):
    """A watch of kopf's ended with an error."""


async def supervise() -> None:
    """Run until a watch dies. Start it before kopf: a watch that is refused dies as soon as it is made.

    Raises:
        WatchDied: the watch died.
    """
    loop = asyncio.get_running_loop()
    died: asyncio.Future[str] = loop.create_future()

    def note(task: asyncio.Future[Any]) -> None:
        name = task.get_name() if isinstance(task, asyncio.Task) else ""
        if not name.startswith(_NAME) or task.cancelled() or died.done():
            return
        error = task.exception()
        if error is not None:
            died.set_result(f"{name}: {error!r}")

    def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Future[Any]:
        task = before(loop, work, **options) if before is not None else asyncio.Task(work, loop=loop, **options)
        task.add_done_callback(note)
        return task

    before: Callable[..., asyncio.Future[Any]] | None = loop.get_task_factory()
    for task in asyncio.all_tasks():
        task.add_done_callback(note)
    loop.set_task_factory(make)
    try:
        raise WatchDied(await died)
    finally:
        loop.set_task_factory(before)
