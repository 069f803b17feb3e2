"""Profiles are checked where they are read, and change what decides."""

import pytest
from pydantic import ValidationError
from tests.unit.operator.scheduling.examples import node, snapshot, why_not, wish

from berth_operator.scheduling.filters import FILTERS
from berth_operator.scheduling.nodes import Taint
from berth_operator.scheduling.place import Placement, examine, place
from berth_operator.scheduling.profiles import DEFAULT_PROFILE, ProfileError, ProfileSettings, build_profiles


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            {"name": "p", "scores": {"Leastallocated": 1}},
            "there is no score Leastallocated: choose of LeastAllocated, ",
        ),
        ({"name": "p", "disabledFilters": ["Memory"]}, "filter Memory cannot be disabled: only Selected, Tolerated, "),
        ({"name": "p", "disabledFilters": ["Nonsense"]}, "filter Nonsense cannot be disabled"),
        ({"name": "p", "scores": {"NodeAffinity": -1}}, "greater than or equal to 0"),
        ({"name": "p", "scores": {"NodeAffinity": 1001}}, "less than or equal to 1000"),
        ({"name": "p", "scores": {"NodeAffinity": float("nan")}}, "finite number"),
        ({"name": "p", "weights": {}}, "Extra inputs are not permitted"),
        ({"name": "Not A Label"}, "name"),
        ({}, "name"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_can(given: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ProfileSettings.model_validate(given)


def test_what_keeps_nodes_from_being_overfilled_cannot_be_disabled() -> None:
    required = {each.name for each in FILTERS if not each.optional}
    assert required >= {"Pinned", "Ready", "Schedulable", "Memory", "CPU", "Storage", "Slots", "Networks", "VolumeNode"}
    for name in required:
        with pytest.raises(ValidationError, match="cannot be disabled"):
            ProfileSettings.model_validate({"name": "p", "disabledFilters": [name]})


def test_a_disabled_filter_turns_nobody_down() -> None:
    seen = snapshot(node("a", taints=(Taint("x"),)))
    assert "taint" in why_not(seen, wish())
    profile = ProfileSettings.model_validate({"name": "p", "disabledFilters": ["Tolerated"]}).build()
    assert isinstance(place(seen, wish(), profile), Placement)
    assert "Tolerated" not in examine(seen, wish(), profile).masks


def test_weights_decide_and_0_switches_off() -> None:
    seen = snapshot(node("a", cpu=8000, memory=16 * 2**30), node("b", images={"i": 4 * 2**30}))
    request = wish(images=frozenset({"i"}))
    heavy = place(seen, request, ProfileSettings(name="h", scores={"ImageLocality": 2}).build())
    assert isinstance(heavy, Placement)
    assert heavy.node == "b"
    without = ProfileSettings(name="p", scores={"ImageLocality": 0}).build()
    answer = place(seen, request, without)
    assert isinstance(answer, Placement)
    assert answer.node == "a"
    assert "ImageLocality" not in [score.name for _, score in without.scores]


def test_two_profiles_do_not_mix_their_answers_up() -> None:
    """Not even where they have one name, as before and after a change of the configuration."""
    seen = snapshot(node("a", taints=(Taint("x"),)), node("b", cpu=2000))
    before = ProfileSettings(name="p").build()
    after = ProfileSettings.model_validate(
        {"name": "p", "disabledFilters": ["Tolerated"], "scores": {"BalancedAllocation": 0}}
    ).build()
    answers = [place(seen, wish(), profile) for profile in (before, after, before)]
    assert [answer.node for answer in answers if isinstance(answer, Placement)] == ["b", "a", "b"]
    for profile in (before, after):
        fresh = snapshot(node("a", taints=(Taint("x"),)), node("b", cpu=2000))
        assert place(seen, wish(), profile) == place(fresh, wish(), profile)


def test_there_is_always_a_default_and_one_that_packs() -> None:
    built = build_profiles([ProfileSettings(name="own")])
    assert sorted(built) == ["default", "own", "pack"]
    assert {score.name: weight for weight, score in built["pack"].scores}["MostAllocated"] == 1
    assert "LeastAllocated" not in [score.name for _, score in built["pack"].scores]


def test_the_default_may_be_configured_otherwise() -> None:
    built = build_profiles([ProfileSettings(name="default", scores={"Migrations": 7})])
    assert [weight for weight, score in built["default"].scores if score.name == "Migrations"] == [7]
    assert built["default"] is not DEFAULT_PROFILE


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ProfileError, match="profile p is given twice"):
        build_profiles([ProfileSettings(name="p"), ProfileSettings(name="p")])
