"""The command line of hollow nodes: `python -m berth_dev hollow`."""

import argparse

from berth_dev.hollow.options import Faults, HollowOptions, Shape, Taint


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Every option, with the defaults of `HollowOptions`."""
    default, shape = HollowOptions(), Shape()
    command.add_argument("--kubeconfig", metavar="FILE", help="an administrator's, of a cluster that is no --cluster")
    command.add_argument("--nodes", type=int, default=default.count, metavar="N", help="how many (%(default)s)")
    command.add_argument("--prefix", default=default.prefix, help="names are PREFIX-0001 and so on (%(default)s)")
    command.add_argument("--zones", type=int, default=default.zones, metavar="N", help="zones (%(default)s)")
    command.add_argument("--cpu", default=shape.cpu, metavar="QUANTITY", help="of each node (%(default)s)")
    command.add_argument("--memory", default=shape.memory, metavar="QUANTITY", help="of each node (%(default)s)")
    command.add_argument("--pool-size", default=shape.pool_size, metavar="QUANTITY", help="of each pool (%(default)s)")
    command.add_argument("--accelerator", default=shape.accelerator, choices=["kvm", "tcg"], help="(%(default)s)")
    _add_list(command, "--pool", "NAME", "a StoragePool that the nodes have (default)")
    _add_list(command, "--network", "NAME", "a VirtualNetwork that the nodes have (default)")
    _add_list(command, "--label", "KEY=VALUE", "a further label of every Node")
    _add_list(command, "--taint", "KEY=VALUE:EFFECT", "a taint of every Node")
    _add_seconds(command, "--heartbeat", default.heartbeat_interval, "from one heartbeat of a node to its next")
    _add_seconds(command, "--boot-delay", default.boot_delay, "from admission to Running")
    _add_seconds(command, "--admission-delay", default.faults.admission_delay, "from a claim to its answer")
    command.add_argument("--refuse", type=float, default=0.0, metavar="0..1", help="chance that a claim is refused")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of that chance (%(default)s)")
    _add_list(command, "--refusing", "NODE", "a node that refuses every claim")
    _add_list(command, "--silent", "NODE", "a node without a heartbeat")
    _add_seconds(command, "--every", 10.0, "between two lines that tell what has happened")
    command.add_argument("--report", metavar="FILE", help="write what was counted there, as JSON, in the end")
    command.add_argument(
        "--keep", action="store_true", help="leave the objects in the end; a later run takes them over"
    )


def _add_list(command: argparse.ArgumentParser, name: str, metavar: str, text: str) -> None:
    command.add_argument(name, action="append", default=[], metavar=metavar, help=f"{text}; may be repeated")


def _add_seconds(command: argparse.ArgumentParser, name: str, default: float, text: str) -> None:
    command.add_argument(name, type=float, default=default, metavar="SECONDS", help=f"{text} (%(default)g)")


def options_of(arguments: argparse.Namespace) -> HollowOptions:
    """What the command line asks for.

    Raises:
        DevError: It asks for what cannot be.
    """
    faults = Faults(
        refuse_probability=arguments.refuse,
        seed=arguments.seed,
        refusing=frozenset(arguments.refusing),
        admission_delay=arguments.admission_delay,
        silent=frozenset(arguments.silent),
    )
    shape = Shape(
        cpu=arguments.cpu,
        memory=arguments.memory,
        pool_size=arguments.pool_size,
        accelerator=arguments.accelerator,
        pools=tuple(arguments.pool) or Shape.pools,
        networks=tuple(arguments.network) or Shape.networks,
    )
    return HollowOptions(
        count=arguments.nodes,
        prefix=arguments.prefix,
        zones=arguments.zones,
        shape=shape,
        labels=dict(_label(text) for text in arguments.label),
        taints=tuple(Taint.read(text) for text in arguments.taint),
        heartbeat_interval=arguments.heartbeat,
        heartbeat_valid=max(1, round(4 * arguments.heartbeat)),
        boot_delay=arguments.boot_delay,
        keep=arguments.keep,
        faults=faults,
    )


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value
