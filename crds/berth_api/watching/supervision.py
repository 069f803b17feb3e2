"""Seeing kopf's watches die.

In kopf 1.45 each watch is a task of its own. When the server refuses one (anything but 410 Gone), that task ends with
an error, nobody awaits it, and kopf goes on without it: a process that is alive and blind. So the tasks are looked
for by name, and the first one that ends with an error ends the process; whoever runs it starts it again.
"""

import asyncio
from weakref import WeakSet

_NAME = "watcher for "
PERIOD = 1.0
"""Seconds between looks for new watches: they come and go with the CRDs."""


class WatchDied(Exception):
    """A watch of kopf's ended with an error."""


async def supervise() -> None:
    """Run until a watch dies.

    Raises:
        WatchDied: the watch died.
    """
    died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    known: WeakSet[asyncio.Task[object]] = WeakSet()

    def note(task: asyncio.Task[object]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not died.done():
            died.set_result(f"{task.get_name()}: {error!r}")

    while not died.done():
        for task in asyncio.all_tasks():
            if task.get_name().startswith(_NAME) and task not in known:
                known.add(task)
                task.add_done_callback(note)
        await asyncio.wait({died}, timeout=PERIOD)
    raise WatchDied(died.result())
