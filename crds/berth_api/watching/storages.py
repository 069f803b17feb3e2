"""What kopf remembers on objects: nothing.

kopf copies and compares each object of each event with what it stored on it earlier, for handlers that we do not have.
Measured: more than half of what an event costs in kopf. And what is never read need never be written.
"""

from typing import Any

from kopf import DiffBaseStorage, ProgressStorage
from kopf._cogs.configs.progress import ProgressRecord  # the storages' own types are not exported
from kopf._cogs.structs.bodies import Body, BodyEssence
from kopf._cogs.structs.ids import HandlerId
from kopf._cogs.structs.patches import Patch

_NOTHING = BodyEssence({})


class NothingStored(DiffBaseStorage):
    """No earlier state, and nothing of the present one."""

    def build(self, *, body: Body, extra_fields: Any = None) -> BodyEssence:  # noqa: ARG002 - kopf's signature
        """Nothing to compare."""
        return _NOTHING

    def fetch(self, *, body: Body) -> BodyEssence | None:  # noqa: ARG002 - kopf's signature
        """Nothing was stored."""
        return None

    def store(self, *, body: Body, patch: Patch, essence: BodyEssence) -> None:
        """Store nothing."""


class NoProgress(ProgressStorage):
    """No handler is ever halfway."""

    def fetch(self, *, key: HandlerId, body: Body) -> ProgressRecord | None:  # noqa: ARG002 - kopf's signature
        """Nothing was stored."""
        return None

    def store(self, *, key: HandlerId, record: ProgressRecord, body: Body, patch: Patch) -> None:
        """Store nothing."""

    def purge(self, *, key: HandlerId, body: Body, patch: Patch) -> None:
        """There is nothing to remove."""

    def touch(self, *, body: Body, patch: Patch, value: str | None) -> None:
        """Never wake an object up by writing to it."""

    def clear(self, *, essence: BodyEssence) -> BodyEssence:
        """There is nothing to clear."""
        return essence
