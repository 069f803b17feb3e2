"""How all tests are run: those that share a cluster, an API server or a node stay together in one worker."""

from pathlib import Path

import pytest

_SHARING = ("integration", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group by folder what has session fixtures that are dear; a worker takes a group whole."""
    root = Path(__file__).parent
    for item in items:
        parts = item.path.relative_to(root).parts
        if parts[0] in _SHARING:
            item.add_marker(pytest.mark.xdist_group("/".join(parts[:-1])))
