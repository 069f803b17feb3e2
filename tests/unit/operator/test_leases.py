"""Who leads, on virtual time: never two at once, and as soon as possible one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.api import FakeApi
from tests.unit.operator.worlds import START

from berth_api import kinds
from berth_api.client import Unavailable
from berth_operator.leases import Election, Leadership, LeaseTimes, NotLeadingError

pytestmark = pytest.mark.looptime


class Candidate:
    """An operator that stands for election and notes when it leads."""

    def __init__(self, api: FakeApi, name: str, times: LeaseTimes | None = None) -> None:
        self.name, self.api = name, api
        self.terms: list[Leadership] = []
        self.leads = False
        self.began, self.ended = asyncio.Event(), asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self.election = Election(
            api,
            namespace="berth-system",
            name="berth-operator",
            identity=name,
            times=times or LeaseTimes(),
            clock=loop.time,
            now=lambda: START + timedelta(seconds=loop.time()),
        )

    async def lead(self, leadership: Leadership) -> None:
        self.terms.append(leadership)
        self.leads = True
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leads = False
            self.ended.set()

    def start(self) -> None:
        self.task = asyncio.create_task(self.election.run(self.lead))

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    @asynccontextmanager
    async def standing(self) -> AsyncIterator["Candidate"]:
        self.start()
        try:
            yield self
        finally:
            await self.stop()


def lease(api: FakeApi) -> dict[str, object]:
    found = api.peek(kinds.LEASE, "berth-operator", "berth-system")
    assert found is not None
    return found["spec"]  # type: ignore[no-any-return]


async def test_the_first_leads_at_once_and_goes_on_leading() -> None:
    api = FakeApi()
    async with Candidate(api, "a").standing() as one:
        await asyncio.sleep(60)
        assert one.leads
        assert len(one.terms) == 1
        assert one.terms[0].valid
        assert lease(api)["leaseTransitions"] == one.terms[0].epoch == 1


@pytest.mark.parametrize(("duration", "published"), [(6.4, 7), (9.0, 9), (6.7, 7)])
async def test_others_are_told_no_less_than_the_holder_gives_itself(duration: float, published: int) -> None:
    """The Lease has whole seconds; fewer of them, and who waits starts before the holder has stopped."""
    api = FakeApi()
    async with Candidate(api, "a", LeaseTimes(duration, renew_deadline=6.2)).standing() as one:
        await one.began.wait()
        assert lease(api)["leaseDurationSeconds"] == published


async def test_a_second_waits_until_the_first_lets_go_and_has_a_later_epoch() -> None:
    api = FakeApi()
    first, second = Candidate(api, "a"), Candidate(api, "b")
    first.start()
    await asyncio.sleep(1)
    async with second.standing():
        await asyncio.sleep(60)
        assert not second.leads
        await first.stop()
        assert lease(api)["holderIdentity"] == ""
        await asyncio.sleep(2.1)
        assert second.leads
        assert second.terms[0].epoch == 2


async def test_a_crashed_leader_is_followed_after_its_lease_has_run_out() -> None:
    api = FakeApi()
    api.add(
        kinds.LEASE,
        {
            "metadata": {"name": "berth-operator", "namespace": "berth-system"},
            "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 15, "leaseTransitions": 4},
        },
    )
    async with Candidate(api, "a").standing() as one:
        await asyncio.sleep(14)
        assert not one.leads
        await asyncio.sleep(3)
        assert one.leads
        assert one.terms[0].epoch == 5


@pytest.mark.parametrize("life", [10.0, 10.3, 10.7, 10.999])
async def test_a_leader_that_dies_unseen_is_followed_soon_enough_to_keep_the_promise(life: float) -> None:
    """15 s from its death to the first decision: what is left after this is for reading the cluster."""
    api, loop = FakeApi(), asyncio.get_running_loop()
    first, second = Candidate(api, "a"), Candidate(api, "b")
    first.start()
    await asyncio.sleep(0.4)
    async with second.standing():
        await asyncio.sleep(life)
        api.fail(Unavailable(503, "", "dead"), verb="update", times=1)
        await first.stop()
        died = loop.time()
        await asyncio.wait_for(second.began.wait(), 15)
        assert loop.time() - died <= 10.0
        assert second.terms[0].epoch == 2


class Hanging(FakeApi):
    """An API server behind a link that has died: the next calls are never answered."""

    hung = 0

    async def get(self, *args: Any, **options: Any) -> dict[str, Any]:
        await self._hang()
        return await super().get(*args, **options)

    async def update(self, *args: Any, **options: Any) -> dict[str, Any]:
        await self._hang()
        return await super().update(*args, **options)

    async def _hang(self) -> None:
        if self.hung:
            self.hung -= 1
            await asyncio.Event().wait()


async def test_one_call_that_is_never_answered_costs_neither_the_leadership_nor_the_turn() -> None:
    api, loop = Hanging(), asyncio.get_running_loop()
    first, second = Candidate(api, "a"), Candidate(api, "b")
    async with first.standing():
        await asyncio.sleep(5)
        api.hung = 1
        await asyncio.sleep(10)
        assert first.leads
        assert len(first.terms) == 1
    api.hung, begun = 1, loop.time()
    async with second.standing():
        await asyncio.wait_for(second.began.wait(), 15)
        assert loop.time() - begun <= 5


async def test_a_renewal_that_was_cut_off_does_not_keep_the_lease_from_being_released() -> None:
    api = FakeApi()
    async with Candidate(api, "a").standing():
        await asyncio.sleep(0.5)
        body = api.peek(kinds.LEASE, "berth-operator", "berth-system")
        assert body is not None
        await api.update(
            kinds.LEASE, "berth-operator", "berth-system", body | {"spec": body["spec"] | {"renewTime": "x"}}
        )
    assert lease(api)["holderIdentity"] == ""


async def test_whoever_got_the_lease_without_hearing_of_it_does_not_wait_for_itself() -> None:
    api, loop = FakeApi(), asyncio.get_running_loop()
    api.fail(Unavailable(504, "", "no answer"), verb="create", after=True)
    begun = loop.time()
    async with Candidate(api, "a").standing() as one:
        await asyncio.wait_for(one.began.wait(), 15)
        assert loop.time() - begun <= 2
        assert one.terms[0].epoch == 2


async def test_a_leader_that_cannot_renew_stops_before_anyone_else_may_start() -> None:
    api = FakeApi()
    loop = asyncio.get_running_loop()
    async with Candidate(api, "a").standing() as one:
        await asyncio.sleep(20)
        api.fail(Unavailable(503, "", "away"), verb="update", times=1000)
        cut = loop.time()
        await asyncio.wait_for(one.ended.wait(), 60)
        assert loop.time() - cut <= 10
        assert not one.terms[0].valid
        with pytest.raises(NotLeadingError):
            one.terms[0].check()


async def test_a_short_outage_costs_nothing() -> None:
    api = FakeApi()
    async with Candidate(api, "a").standing() as one:
        await asyncio.sleep(5)
        api.fail(Unavailable(503, "", "away"), verb="update", times=3)
        await asyncio.sleep(30)
        assert one.leads
        assert len(one.terms) == 1


async def test_a_frozen_leader_finds_out_before_it_writes() -> None:
    api = FakeApi()
    async with Candidate(api, "a").standing() as one:
        await asyncio.sleep(5)
        one.terms[0].until = asyncio.get_running_loop().time() - 0.01
        with pytest.raises(NotLeadingError):
            one.terms[0].check()


async def test_a_leader_whose_lease_was_taken_stops_at_the_next_renewal() -> None:
    api = FakeApi()
    async with Candidate(api, "a").standing() as one:
        await asyncio.sleep(5)
        body = api.peek(kinds.LEASE, "berth-operator", "berth-system")
        assert body is not None
        body["spec"] |= {"holderIdentity": "thief", "leaseTransitions": 9}
        await api.update(kinds.LEASE, "berth-operator", "berth-system", body)
        await asyncio.sleep(3)
        assert not one.leads


async def test_someone_who_touches_the_lease_does_not_end_the_term() -> None:
    api = FakeApi()
    async with Candidate(api, "a").standing() as one:
        await asyncio.sleep(5)
        body = api.peek(kinds.LEASE, "berth-operator", "berth-system")
        assert body is not None
        body["metadata"]["labels"] = {"seen": "true"}
        await api.update(kinds.LEASE, "berth-operator", "berth-system", body)
        await asyncio.sleep(30)
        assert one.leads
        assert len(one.terms) == 1


async def test_of_many_at_most_one_leads_whatever_stops() -> None:
    api = FakeApi()
    all_of_them = [Candidate(api, name) for name in "abcd"]
    for one in all_of_them:
        one.start()
    leaders = set()
    for _ in range(4):
        for _ in range(200):
            await asyncio.sleep(0.1)
            assert sum(one.leads for one in all_of_them) <= 1
        (leader,) = [one for one in all_of_them if one.leads]
        leaders.add(leader.name)
        await leader.stop()
        all_of_them.remove(leader)
    assert leaders == set("abcd")


async def test_an_error_of_the_work_ends_the_election_and_frees_the_lease() -> None:
    api = FakeApi()
    one = Candidate(api, "a")

    async def fail(_leadership: Leadership) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await one.election.run(fail)
    assert lease(api)["holderIdentity"] == ""


def test_times_that_would_let_two_lead_are_refused() -> None:
    with pytest.raises(ValueError, match="lease times must grow"):
        LeaseTimes(duration=10, renew_deadline=10, retry=2)
