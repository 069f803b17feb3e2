"""What the scheduling benchmark counts and reads must be right, or its figures are none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from benchmarks.scheduling import options, processes, reports
from benchmarks.scheduling.binding import Round
from benchmarks.scheduling.clients import Arrivals, RefusedError
from benchmarks.scheduling.objects import GROUP_SIZE, group_of, pod, virtual_machine
from benchmarks.scheduling.reports import Goal
from benchmarks.scheduling.writes import count_writes, tell

METRICS = """
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",dry_run="",resource="pods",subresource="binding",verb="POST"} 300
apiserver_request_total{code="409",dry_run="",resource="pods",subresource="binding",verb="POST"} 2
apiserver_request_total{code="200",dry_run="",resource="virtualmachines",subresource="status",verb="APPLY"} 1.5e+03
apiserver_request_total{code="201",dry_run="All",resource="virtualmachines",subresource="",verb="POST"} 9
apiserver_request_total{code="200",dry_run="",resource="pods",subresource="",verb="LIST"} 7
apiserver_request_total{code="200",dry_run="",resource="leases",subresource="",verb="PUT"} 1
""".strip()


def test_writes_are_counted_by_what_they_do_and_reads_and_dry_runs_are_not() -> None:
    assert count_writes(METRICS) == {
        "POST pods/binding": 300,
        "POST pods/binding (409)": 2,
        "APPLY virtualmachines/status": 1500,
        "PUT leases": 1,
    }


def test_frequent_writes_are_named_and_rare_ones_summed() -> None:
    told = tell(count_writes(METRICS), least=10)
    assert told == "1500 APPLY virtualmachines/status, 300 POST pods/binding, 3 others"


def test_processor_time_is_read_behind_a_name_with_parentheses_and_spaces() -> None:
    fields = ["S", *("0" for _ in range(10)), "250", "50", *("0" for _ in range(6)), "9"]
    ticks = processes.cpu_of(f"17 (a) b) {' '.join(fields)}") * processes._TICKS
    assert ticks == pytest.approx(300)


def test_a_rate_counts_from_the_first_to_the_last_and_is_none_where_some_are_left() -> None:
    def a_round(bound: int) -> Round:
        return Round(
            wanted=100,
            bound=bound,
            first=2.0,
            last=4.0,
            cpu=0.0,
            apiserver_cpu=0.0,
            etcd_cpu=0.0,
            peak_mib=0.0,
            writes={},
        )

    assert (a_round(100).rate, a_round(100).rate_from_start) == (50.0, 25.0)
    assert (a_round(99).rate, a_round(99).rate_from_start) == (0.0, 0.0)


def test_a_mixed_round_has_a_fifth_in_full_groups() -> None:
    groups = [group_of(number, mixed=True) for number in range(500)]
    named = [group for group in groups if group is not None]
    assert len(named) == 100
    assert {named.count(group) for group in named} == {GROUP_SIZE}
    assert {group_of(number, mixed=False) for number in range(500)} == {None}


def test_vms_and_pods_ask_for_the_same_and_keep_apart_by_the_same_term() -> None:
    vm, peer = virtual_machine("a", "g")["spec"], pod("a", "g")["spec"]
    assert vm["affinity"]["vmAntiAffinity"] == peer["affinity"]["podAntiAffinity"]
    requests = peer["containers"][0]["resources"]["requests"]
    assert (requests["cpu"], requests["memory"]) == (str(vm["cpu"]["cores"]), vm["memory"]["size"])


def event(kind: str, name: str, version: int) -> bytes:
    return b'{"type":"%s","object":{"metadata":{"name":"%s","resourceVersion":"%d"}}}\n' % (
        kind.encode(),
        name.encode(),
        version,
    )


class Watches:
    """Answers of an API server to one watch after the other, in pieces."""

    def __init__(self, *answers: list[bytes]) -> None:
        self.answers = list(answers)
        self.versions: list[str] = []

    @asynccontextmanager
    async def watch(self, version: str) -> AsyncIterator[asyncio.StreamReader]:
        self.versions.append(version)
        yield _Pieces(self.answers.pop(0))  # type: ignore[misc]  # all that is read of a stream


class _Pieces:
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def iter_any(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def test_arrivals_are_counted_across_pieces_and_watches() -> None:
    first, second = event("ADDED", "a", 11), event("MODIFIED", "a", 12)
    watches = Watches([first[:20], first[20:] + second], [], [event("ADDED", "b", 13)], *([] for _ in range(11)))
    seen = Arrivals("10")
    seen.names = {}
    await seen.follow(watches.watch)  # type: ignore[arg-type]  # a stream of which only iter_any is there
    assert list(seen.names) == ["a", "b"]
    assert len(seen.times) == 2
    assert watches.versions[:4] == ["10", "12", "12", "13"]
    with pytest.raises(RefusedError, match="11 watches that had told nothing"):
        await seen.news(0)


async def test_a_broken_watch_is_no_silence() -> None:
    seen = Arrivals("10")
    await seen.follow(Watches([b'{"type":"ERROR","object":{"code":410}}\n']).watch)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="410"):
        await seen.news(0)


def test_sizes_given_win_over_those_of_a_smoke_run() -> None:
    chosen = options.parse(["--smoke", "--part", "c, b", "--objects", "7", "--profile", "profiles"])
    assert (chosen.parts, chosen.objects, chosen.nodes) == (("b", "c"), 7, 50)
    assert chosen.profile == Path("profiles")
    assert options.parse([]) == options.Options()


@pytest.mark.parametrize("wrong", [["--part", "b,x"], ["--objects", "0"], ["--rounds", "many"], ["--tree", "/nowhere"]])
def test_a_wrong_command_line_is_explained(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_goals_go_either_way(capsys: pytest.CaptureFixture[str]) -> None:
    goals = [Goal("rate", 1.4, 1.3, at_least=True), Goal("p99", 99.0, 100.0, at_least=False)]
    assert reports.conclude(goals, {"more": 1.0})
    assert capsys.readouterr().out.endswith("RESULT scheduling rate=1.400 p99=99.000 more=1.000\n")
    assert not reports.conclude([Goal("rate", 1.2, 1.3, at_least=True)], {})
    assert "MISSED" in capsys.readouterr().out
