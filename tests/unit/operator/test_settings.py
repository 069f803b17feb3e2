"""What the operator can be told: the scheduler's part of the environment, and its configuration file."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from berth_operator.schedulerconfigs import ConfigError, read_profiles
from berth_operator.scheduling.filters import FILTERS
from berth_operator.scheduling.parking import Pace
from berth_operator.scheduling.scores import SCORES
from berth_operator.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "scheduling.md"


def rows(header: str) -> list[list[str]]:
    """The cells of the page's table with this header."""
    _, _, rest = PAGE.read_text().partition(f"\n{header}\n")
    table = rest.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def weights(path: Path | None, name: str) -> dict[str, float]:
    return {score.name: weight for weight, score in read_profiles(path)[name].scores}


def filters(path: Path | None, name: str) -> set[str]:
    return {each.name for each in read_profiles(path)[name].filters}


def written(folder: Path, text: str) -> Path:
    path = folder / "scheduler.yaml"
    path.write_text(text)
    return path


def test_the_scheduler_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_OPERATOR_SCHEDULER_CONFIG", "/etc/berth/scheduler.yaml")
    monkeypatch.setenv("BERTH_OPERATOR_METRICS_URL", "http://0.0.0.0:9090/metrics")
    monkeypatch.setenv("BERTH_OPERATOR_WRITES_IN_FLIGHT", "8")
    settings = Settings()
    assert settings.scheduler_config == Path("/etc/berth/scheduler.yaml")
    assert settings.metrics_url == "http://0.0.0.0:9090/metrics"
    assert settings.writes_in_flight == 8


def test_the_pace_is_the_queues_own_where_nothing_is_said() -> None:
    settings = Settings()
    assert (settings.retry_parked, settings.retell) == (Pace().retry, Pace().retell)


@pytest.mark.parametrize(
    "url",
    [
        "0.0.0.0:9090",
        "https://0.0.0.0:9090/metrics",
        "http://0.0.0.0/metrics",
        "http://:9090/metrics",
        "http://0.0.0.0:99999/metrics",
        "http://0.0.0.0:9090/metrics?all",
    ],
)
def test_a_url_that_nobody_can_listen_at_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="metrics_url"):
        Settings(metrics_url=url)


@pytest.mark.parametrize("settings", [{"writes_in_flight": 0}, {"reserve_after": 0}, {"retry_parked": -1}])
def test_amounts_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(settings)


@pytest.mark.parametrize("content", ["", "profiles: []\n", None])
def test_without_profiles_of_its_own_an_operator_spreads_or_packs(tmp_path: Path, content: str | None) -> None:
    path = None if content is None else written(tmp_path, content)
    assert set(read_profiles(path)) == {"default", "pack"}
    assert weights(path, "default")["LeastAllocated"] == 1
    assert "MostAllocated" not in weights(path, "default")


def test_a_profile_says_what_differs_from_the_defaults(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        profiles:
        - name: dense
          scores: {MostAllocated: 5, LeastAllocated: 0}
          disabledFilters: [TopologySpread]
        """,
    )
    assert set(read_profiles(path)) == {"default", "pack", "dense"}
    assert weights(path, "dense")["MostAllocated"] == 5
    assert weights(path, "dense")["TaintToleration"] == 3
    assert "LeastAllocated" not in weights(path, "dense")
    assert filters(path, "default") - filters(path, "dense") == {"TopologySpread"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("LEASE_RETRY", "6"), ("LEASE_RENEW_DEADLINE", "9"), ("LEASE_DURATION", "6"), ("LEASE_DURATION", "inf")],
)
def test_times_of_the_lease_that_do_not_grow_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert (Settings().lease_times.retry, Settings().lease_times.renew_deadline) == (1.0, 6.0)
    monkeypatch.setenv(f"BERTH_OPERATOR_{name}", value)
    with pytest.raises(ValidationError, match=r"set BERTH_OPERATOR_LEASE_RETRY|finite number"):
        Settings()


def test_a_built_in_profile_may_be_configured_otherwise(tmp_path: Path) -> None:
    path = written(tmp_path, "profiles: [{name: default, scores: {MostAllocated: 2}}]")
    assert weights(path, "default")["MostAllocated"] == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("profiles: [{name: a, scores: {Foo: 1}}]", "profile a: there is no score Foo: choose of LeastAllocated"),
        ("profiles: [{name: a, scores: {LeastAllocated: -1}}]", "profile a: scores.LeastAllocated: Input should be"),
        ("profiles: [{name: a, scores: {LeastAllocated: .nan}}]", "profile a: scores.LeastAllocated: Input should be"),
        ("profiles: [{name: a, disabledFilters: [Memory]}]", "profile a: filter Memory cannot be disabled: only"),
        ("profiles: [{name: a}, {name: b, weights: {}}]", "profile b: weights: there is no such setting"),
        ("profiles: [{name: a}, {name: a}]", "profile a is given twice"),
        ("profiles: [{scores: {}}]", "profile number 1: name: this is missing"),
        ("profiles: [{name: A B}]", "profile A B: name: this must be of a-z"),
        ("profiles: [spread]", "profile number 1: this must be a mapping"),
        ("profiles: {name: a}", "profiles: this must be a list"),
        ("profile: []", "profile: there is no such setting"),
        ("- name: a", "this must be a mapping"),
        ("profiles: [{name: a, scores: {Migrations: 1, Migrations: 2}}]", "Migrations is given twice"),
        ("profiles: [", "not valid YAML"),
        ("profiles: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_mistake_is_told_with_file_profile_and_what_to_change(tmp_path: Path, content: str, words: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as error:
        read_profiles(path)
    assert f"scheduler configuration {path} is not valid" in str(error.value)
    assert words in str(error.value)


def test_a_file_that_is_not_there_is_a_mistake_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.yaml cannot be read"):
        read_profiles(tmp_path / "scheduler.yaml")


def test_the_page_tells_of_every_filter_in_the_order_of_its_reasons() -> None:
    told = [(name, may) for name, _, may in rows("| filter | a node passes if | a profile may do without |")]
    assert told == [(each.name, "yes" if each.optional else "") for each in FILTERS]


def test_the_page_tells_of_every_score_and_its_weight() -> None:
    told = [(name, float(weight)) for name, weight, _ in rows("| score | default weight | rates higher |")]
    assert told == [(each.name, each.weight) for each in SCORES]
