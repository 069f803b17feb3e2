"""The command line: `python3 -m berth_libvirt contents|lay-out|watch|launch`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from berth_libvirt import contents, launches, trees, watch
from berth_libvirt.errors import LibvirtError
from berth_libvirt.settings import Settings

_IMAGE = Path("/")


def parser() -> argparse.ArgumentParser:
    """Every command and its arguments."""
    main = argparse.ArgumentParser(prog="python3 -m berth_libvirt", description="libvirt for nodes that have none.")
    commands = main.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("contents", help="write the list of what folders hold that become an image's root")
    listing.add_argument("roots", type=Path, nargs="+", metavar="FOLDER")
    commands.add_parser("lay-out", help="copy this image's content to the node, unless it is there")
    commands.add_parser("watch", help="keep libvirtd running on the node, from that copy")
    launching = commands.add_parser("launch", help="start a daemon on the node")
    launching.add_argument("name", choices=sorted(launches.ARGUMENTS))
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = parser().parse_args(argv)
    try:
        if given.command == "contents":
            sys.stdout.buffer.write(contents.dump(contents.scan(given.roots)))
            return 0
        settings = Settings.of(os.environ)
        if given.command == "lay-out":
            with watch.held(settings.folder):
                tree = trees.lay_out(_IMAGE, settings.folder)
            watch.say_for(settings.node)("laid out", tree=tree.name)
        elif given.command == "watch":
            watch.watch(settings, _IMAGE)
        else:
            launches.launch(settings, settings.folder / contents.load(_IMAGE)[0], given.name)
    except (LibvirtError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
