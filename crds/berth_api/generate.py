"""Write the CustomResourceDefinitions, `crds/<plural>.yaml`, or check that they are what the models say.

The files are committed, so that `kubectl apply -f crds/` works from a clone and a review sees what a change of a model
means; `--check` fails where the two have come apart.
"""

import argparse
import sys
from pathlib import Path

import yaml

from berth_api.customresources import CUSTOM_RESOURCES, definition

_HEADER = "# Generated from berth_api by `make generate`. Do not edit: change the models instead.\n"
_DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent


def documents() -> dict[str, str]:
    """The text of each file by its name."""
    return {
        f"{resource.kind.plural}.yaml": _HEADER + yaml.safe_dump(definition(resource), sort_keys=False, width=110)
        for resource in CUSTOM_RESOURCES
    }


def stale(output: Path) -> list[str]:
    """Names of files in `output` that are missing, differ, or belong to no kind."""
    wanted = documents()
    found = {path.name: path.read_text() for path in output.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(output: Path) -> None:
    """Write all files; those of kinds that are no more are removed."""
    output.mkdir(parents=True, exist_ok=True)
    wanted = documents()
    for name, text in wanted.items():
        (output / name).write_text(text)
    for path in output.glob("*.yaml"):
        if path.name not in wanted and path.read_text().startswith(_HEADER):
            path.unlink()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m berth_api.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file is not up to date")
    parser.add_argument("--output", type=Path, default=_DEFAULT_OUTPUT, metavar="DIR")
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.output)
        return 0
    differing = stale(options.output)
    for name in differing:
        sys.stderr.write(f"{options.output / name} is not what the models say: run `make generate`\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
