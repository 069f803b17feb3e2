"""Who wrote how much: the API server's own count of requests, read before and after."""

import re
from collections import Counter
from collections.abc import Mapping

METRIC = "apiserver_request_total"
_VERBS = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})
_LINE = re.compile(rf"{METRIC}\{{(?P<labels>.*)\}} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_REFUSED = "400"


def count_writes(metrics: str) -> Counter[str]:
    """Writes so far, by what was done to what: `POST pods/binding`; those refused have the answer's code behind.

    Args:
        metrics: What the API server's /metrics says. Source: Kubernetes Metrics Reference, `apiserver_request_total`.
    """
    writes: Counter[str] = Counter()
    for line in metrics.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        labels = dict(_LABEL.findall(match["labels"]))
        if labels.get("verb") not in _VERBS or labels.get("dry_run"):
            continue
        target = "/".join(filter(None, (labels.get("resource", ""), labels.get("subresource", ""))))
        code = labels.get("code", "")
        writes[f"{labels['verb']} {target}{f' ({code})' if code >= _REFUSED else ''}"] += int(float(match["value"]))
    return writes


def tell(writes: Mapping[str, int], *, least: int) -> str:
    """The writes in words, most frequent first; those fewer than `least` as one sum."""
    ordered = sorted(writes.items(), key=lambda item: (-item[1], item[0]))
    said = [f"{count} {what}" for what, count in ordered if count >= least]
    rest = sum(count for _, count in ordered if count < least)
    return ", ".join([*said, *([f"{rest} others"] if rest else [])]) or "none"
