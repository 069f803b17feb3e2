"""Profiles: which filters and scores decide, and how much each score weighs. A VM names one in `schedulerProfile`.

They come from the operator's configuration, are checked once, and cannot switch off what keeps a node from being
overfilled or a VM from failing there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from berth_api.objects import Label
from berth_operator.scheduling.filters import FILTERS
from berth_operator.scheduling.plugins import Filter, Score
from berth_operator.scheduling.scores import SCORES

DEFAULT = "default"
_SCORE_NAMES = [score.name for score in SCORES]
_OPTIONAL = [each.name for each in FILTERS if each.optional]


class ProfileError(ValueError):
    """A profile cannot be used as it is written."""


@dataclass(frozen=True, eq=False)
class Profile:
    """What decides: filters in the order of their reasons, and scores with their weights. None equals another."""

    name: str
    filters: tuple[Filter, ...]
    scores: tuple[tuple[float, Score], ...]

    @cached_property
    def lasting(self) -> tuple[Filter, ...]:
        """Filters whose answers hold until a node changes."""
        return tuple(each for each in self.filters if each.lasting)

    @cached_property
    def rowwise(self) -> tuple[Filter, ...]:
        """Filters whose answers for a row hold until that row changes."""
        return tuple(each for each in self.filters if each.rowwise)

    @cached_property
    def passing(self) -> tuple[Filter, ...]:
        """Filters that have to be asked for each decision."""
        return tuple(each for each in self.filters if not each.lasting and not each.rowwise)

    @cached_property
    def leading(self) -> tuple[tuple[float, Score], ...]:
        """The scores up to the first that is not rowwise: their sum for a row holds until that row changes."""
        return tuple(takewhile(lambda weighed: weighed[1].rowwise, self.scores))

    @cached_property
    def following(self) -> tuple[tuple[float, Score], ...]:
        """The other scores."""
        return self.scores[len(self.leading) :]


Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class ProfileSettings(BaseModel):
    """A profile as the operator's configuration gives it."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=None, use_attribute_docstrings=True)

    name: Label
    scores: dict[str, Weight] = Field(default_factory=dict)
    """Weights by score; what is not named keeps its default, 0 switches it off."""
    disabled_filters: Annotated[tuple[str, ...], Field(alias="disabledFilters")] = ()
    """Filters to do without; only those that are a matter of taste can be named."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.scores:
            if name not in _SCORE_NAMES:
                raise ProfileError(f"there is no score {name}: choose of {', '.join(_SCORE_NAMES)}")
        for name in self.disabled_filters:
            if name not in _OPTIONAL:
                raise ProfileError(f"filter {name} cannot be disabled: only {', '.join(_OPTIONAL)} can")
        return self

    def build(self) -> Profile:
        """The profile."""
        weighed = ((self.scores.get(score.name, score.weight), score) for score in SCORES)
        return Profile(
            self.name,
            tuple(each for each in FILTERS if each.name not in self.disabled_filters),
            tuple((weight, score) for weight, score in weighed if weight),
        )


DEFAULT_PROFILE = ProfileSettings(name=DEFAULT).build()
PACK_PROFILE = ProfileSettings(name="pack", scores={"LeastAllocated": 0, "MostAllocated": 1}).build()


def build_profiles(configured: Iterable[ProfileSettings]) -> Mapping[str, Profile]:
    """All profiles by name: `default` and `pack`, which may be configured otherwise, and those configured.

    Raises:
        ProfileError: two have one name.
    """
    profiles = {each.name: each for each in (DEFAULT_PROFILE, PACK_PROFILE)}
    seen: set[str] = set()
    for settings in configured:
        if settings.name in seen:
            raise ProfileError(f"profile {settings.name} is given twice: give each another name")
        seen.add(settings.name)
        profiles[settings.name] = settings.build()
    return profiles
