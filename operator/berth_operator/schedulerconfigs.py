"""The scheduler's configuration file: the profiles that an administrator defines.

    profiles:
    - name: pack
      scores: {MostAllocated: 5, LeastAllocated: 0}
      disabledFilters: [TopologySpread]

It is read once, at start; whatever is wrong in it stops the program with a message that names the file, the profile
and what to change: deciding by other rules than were written would go unnoticed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from berth_operator.scheduling.profiles import Profile, ProfileError, ProfileSettings, build_profiles

_WORDS = {
    "model_type": "this must be a mapping",
    "dict_type": "this must be a mapping",
    "tuple_type": "this must be a list",
    "missing": "this is missing: give it",
    "extra_forbidden": "there is no such setting: correct its name, or remove it",
    "string_pattern_mismatch": "this must be of a-z, 0-9 and '-', and start and end with a letter or digit",
}
"""What to say instead of pydantic's words, by its error types."""


class ConfigError(Exception):
    """The file cannot be used. The message says what to change."""


class SchedulerConfig(BaseModel):
    """The file's content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profiles: tuple[ProfileSettings, ...] = ()


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice: of two weights for one score, YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's own signature
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"{key_node.value} is given twice: keep one of them", problem_mark=key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_profiles(path: Path | None) -> Mapping[str, Profile]:
    """All profiles by name: those of the file, and those built in that it does not replace.

    Args:
        path: The file; None: there is none.

    Raises:
        ConfigError: it cannot be read, or is not valid.
    """
    if path is None:
        return build_profiles(())
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"scheduler configuration {path} cannot be read: {error}") from error
    return parse_profiles(content, str(path))


def parse_profiles(text: bytes, origin: str) -> Mapping[str, Profile]:
    """All profiles by name, of a file that was read already.

    Args:
        text: What is in the file.
        origin: Where it is from, for errors.

    Raises:
        ConfigError: it is not valid.
    """
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        return build_profiles(SchedulerConfig.model_validate({} if content is None else content).profiles)
    except UnicodeDecodeError as error:
        raise ConfigError(f"scheduler configuration {origin} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"scheduler configuration {origin} is not valid YAML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"scheduler configuration {origin} is not valid: {_describe(error, content)}") from error
    except ProfileError as error:
        raise ConfigError(f"scheduler configuration {origin} is not valid: {error}") from error


def _describe(error: ValidationError, content: Any) -> str:
    found = ((each["loc"], _WORDS.get(each["type"], each["msg"])) for each in error.errors())
    return "; ".join(_place(location, content) + words.removeprefix("Value error, ") for location, words in found)


def _place(location: tuple[int | str, ...], content: Any) -> str:
    """Where in the file, with the profile by its name."""
    match location:
        case ("profiles", int(number), *rest):
            profile = content["profiles"][number]
            name = profile.get("name") if isinstance(profile, dict) else None
            words = [f"profile {name}" if isinstance(name, str) else f"profile number {number + 1}"]
            words += [".".join(map(str, rest))] if rest else []
        case _:
            words = [".".join(map(str, location))] if location else []
    return "".join(f"{word}: " for word in words)
