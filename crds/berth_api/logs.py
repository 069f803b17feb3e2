"""Logging: structured, one line an event, to standard error, for our own modules and for libraries' alike.

Every line about a VM carries `vm` (namespace/name), `uid` and, where it has one, `node`: whoever looks for what was
done about a VM filters by one field, whichever module wrote the line. They are tied to the task that works on the VM,
so that also what knows nothing of VMs (the client of the API server, a work queue) writes them.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import structlog

from berth_api.virtualmachines import VirtualMachine

Style = Literal["json", "text"]


def fields_of(vm: VirtualMachine) -> dict[str, str]:
    """What a line about this VM carries."""
    node = {"node": vm.status.node_name} if vm.status.node_name else {}
    return {"vm": "/".join(vm.key), "uid": vm.metadata.uid, **node}


def tag(**fields: str) -> None:
    """Let all further lines of this task, and of tasks and threads that it starts from now on, carry these."""
    structlog.contextvars.bind_contextvars(**fields)


@contextmanager
def tagged(**fields: str) -> Iterator[None]:
    """Let lines carry these for as long as the context lasts."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def chain(everywhere: Mapping[str, str]) -> "list[structlog.typing.Processor]":
    """What is done to every line, whoever wrote it, before it is rendered.

    Args:
        everywhere: Fields of all lines that do not say otherwise.
    """

    def complete(_logger: object, _method: str, line: "structlog.typing.EventDict") -> "structlog.typing.EventDict":
        return {**everywhere, **line}

    return [
        structlog.contextvars.merge_contextvars,
        complete,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def formatter(style: Style, everywhere: Mapping[str, str]) -> logging.Formatter:
    """Renders lines of structlog and of the standard library alike."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=chain(everywhere),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def configure(level: str, style: Style, everywhere: Mapping[str, str] | None = None) -> None:
    """Set up logging for the whole process. Called once, by the program.

    Args:
        level: Of our own lines; libraries say less.
        style: For programs, or for people.
        everywhere: Fields of all lines, such as the node that a process runs on.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *chain(everywhere or {}),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(style, everywhere or {}))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    if level != "DEBUG":
        logging.getLogger("kopf").setLevel(logging.WARNING)
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
