"""An explanation for people, and for programs.

What is printed comes from many hands: labels, taints, messages of nodes. All of it is data here, never markup, and what
could steer a terminal, or make text look like other text, is shown as an escape.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from berth_operator.explanations import Explanation, NodeAccount

_UNLIMITED = 100_000
_PASSED, _FAILED, _TIMES = "\N{CHECK MARK}", "\N{BALLOT X}", "\N{MULTIPLICATION SIGN}"
Row = list[str]


def visible(text: str) -> str:
    """The text with everything that is no printable character as an escape: control characters, bidi overrides."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def as_json(explanation: Explanation, nodes: Sequence[NodeAccount]) -> str:
    """Everything, for programs; of the nodes, these. ASCII, one object."""
    found: dict[str, Any] = {
        "namespace": explanation.namespace,
        "name": explanation.name,
        "schedulerProfile": explanation.profile,
        "boundTo": explanation.bound_to,
        "chosen": explanation.chosen,
        "reason": explanation.reason,
        "message": explanation.message,
        "nodes": [_node_as_json(explanation, node) for node in nodes],
        "notes": list(explanation.notes),
    }
    return json.dumps(found, indent=2)


def _node_as_json(explanation: Explanation, node: NodeAccount) -> dict[str, Any]:
    filters: dict[str, dict[str, Any]] = {}
    for name in explanation.filters:
        why = node.refusals.get(name)
        filters[name] = {"passed": True} if why is None else {"passed": False, "reason": why.reason}
        if why is not None and why.detail:
            filters[name]["detail"] = why.detail
    scores = {
        name: {"rate": node.rates[name], "weight": weight}
        for name, weight in explanation.weights.items()
        if name in node.rates
    }
    return {"name": node.name, "feasible": node.feasible, "filters": filters, "scores": scores, "total": node.total}


def new_console(stream: TextIO, *, wide: bool = False) -> Console:
    """Where to print. A terminal is coloured, and unless `wide` filled; elsewhere lines are as long as they are."""
    console = Console(file=stream)
    return console if console.is_terminal and not wide else Console(file=stream, width=_UNLIMITED)


def as_text(explanation: Explanation, nodes: Sequence[NodeAccount], console: Console, *, wide: bool) -> str:
    """Tables, for people; of the nodes, these.

    Args:
        explanation: What to show.
        nodes: Its nodes to show, in this order.
        console: Where it will be printed; see `new_console`.
        wide: Every filter and every score gets a column, also one that tells no nodes apart.
    """
    parts = _parts(explanation, nodes, wide=wide)
    with console.capture() as capture:
        console.print(Group(*parts), markup=False, highlight=False, emoji=False)
    text = "".join(f"{line.rstrip()}\n" for line in capture.get().split("\n")[:-1])
    return text.encode(console.encoding, "backslashreplace").decode(console.encoding)


def _parts(explanation: Explanation, nodes: Sequence[NodeAccount], *, wide: bool) -> Iterator[RenderableType]:
    yield _line(f"VirtualMachine {explanation.namespace}/{explanation.name}, profile {explanation.profile}", "bold")
    if nodes:
        yield from _filters(explanation, nodes, wide=wide)
        feasible = [node for node in nodes if node.feasible]
        if feasible:
            yield from _scores(explanation, feasible, wide=wide)
        if len(nodes) < len(explanation.nodes):
            yield _line(f"{len(nodes)} of {len(explanation.nodes)} nodes are shown.")
    yield Text()
    yield _line(_verdict(explanation), "green" if explanation.chosen else "red")
    yield Text()
    for note in explanation.notes:
        yield _line(f"- {note}", "dim")


def _verdict(explanation: Explanation) -> str:
    if explanation.chosen is not None:
        return explanation.message
    return f"{explanation.reason}: {explanation.message}"


def _filters(explanation: Explanation, nodes: Sequence[NodeAccount], *, wide: bool) -> Iterator[RenderableType]:
    telling = [name for name in explanation.filters if wide or any(name in node.refusals for node in nodes)]
    if telling:
        rows = [[_marked(explanation, node), *(_answer(node, name) for name in telling)] for node in nodes]
        yield Text()
        yield _table(["NODE", *telling], rows)
    rest = [name for name in explanation.filters if name not in telling]
    if rest:
        yield _line(f"Every node shown passes: {', '.join(rest)}")


def _answer(node: NodeAccount, name: str) -> str:
    why = node.refusals.get(name)
    return _PASSED if why is None else f"{_FAILED} {why.detail or why.reason}"


def _scores(explanation: Explanation, nodes: Sequence[NodeAccount], *, wide: bool) -> Iterator[RenderableType]:
    telling = [name for name in explanation.weights if wide or any(node.rates[name] for node in nodes)]
    header = ["NODE", "TOTAL", *(f"{name}{_TIMES}{explanation.weights[name]:g}" for name in telling)]
    rows = [
        [_marked(explanation, node), f"{node.total or 0:.4f}", *(f"{node.rates[name]:.4f}" for name in telling)]
        for node in nodes
    ]
    yield Text()
    yield _table(header, rows)
    rest = [f"{name}{_TIMES}{weight:g}" for name, weight in explanation.weights.items() if name not in telling]
    if rest:
        yield _line(f"0 for every node shown: {', '.join(rest)}")


def _marked(explanation: Explanation, node: NodeAccount) -> str:
    return f"{node.name} *" if node.name == explanation.chosen else node.name


def _table(header: Iterable[str], rows: Iterable[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for number, name in enumerate(header):
        table.add_column(_line(name, "bold"), overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(text: str) -> Text:
    return _line(text, "red" if text.startswith(_FAILED) else "")


def _line(text: str, style: str = "") -> Text:
    return Text(visible(text), style)
