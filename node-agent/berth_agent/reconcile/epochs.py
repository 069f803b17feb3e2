"""The operator's epoch, asked of the API server itself at each admission.

Thirty VMs that are bound at once ask together: one answer serves all of them, and none is older than the claim that it
is held against.
"""

from berth_agent.questions import Question
from berth_api.client import Api, NotFound
from berth_api.fields import OPERATOR_LEASE
from berth_api.kinds import LEASE


class Epochs:
    """`leaseTransitions` of the operator's Lease."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._question = Question(self._read, "epoch")

    async def current(self) -> int:
        """The epoch as it was after this was called; 0 where there was no leader yet.

        Raises:
            ApiError: the API server gave no answer.
        """
        return await self._question.ask()

    async def _read(self) -> int:
        try:
            lease = await self._api.get(LEASE, OPERATOR_LEASE, self._namespace)
        except NotFound:
            return 0
        return int(lease.get("spec", {}).get("leaseTransitions") or 0)
