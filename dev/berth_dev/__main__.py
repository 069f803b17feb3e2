"""The command line: `python -m berth_dev up|down|status|build|images|install|exec|logs|env|demo|hollow`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from berth_dev import archives, containers, demo, history, images, kind, startup, states, statuses, teardown
from berth_dev.caches import cache_root
from berth_dev.clusters import Cluster
from berth_dev.errors import DevError
from berth_dev.hollow import arguments as hollow_arguments
from berth_dev.kubernetesreleases import NEWEST, RELEASES
from berth_dev.progress import timed_lines
from berth_dev.states import Options

_CONTAINERS = {
    "operator": containers.operator_image,
    "agent": containers.agent_image,
    "libvirt": containers.libvirt_image,
    "pause": containers.pause_image,
}
_IMAGES = ("guests", *_CONTAINERS)


def parser() -> argparse.ArgumentParser:
    """Every command and its arguments."""
    main = argparse.ArgumentParser(prog="python -m berth_dev", description="A whole cluster on one machine.")
    commands = main.add_subparsers(dest="command", required=True)

    up = commands.add_parser("up", help="make a cluster and wait until it is ready")
    _add_cluster(up)
    up.add_argument("--nodes", type=int, default=2, metavar="N", help="how many nodes (2)")
    up.add_argument("--operator", type=_switch, default=True, metavar="0|1", help="run the operator (1)")
    up.add_argument("--agent", type=_switch, default=True, metavar="0|1", help="run an agent on each node (1)")
    up.add_argument("--scheduler", type=_switch, default=False, metavar="0|1", help="run kube-scheduler (0)")
    up.add_argument("--kubelets", type=_switch, default=False, metavar="0|1", help="let nodes run Pods, not Berth (0)")
    up.add_argument(
        "--libvirt",
        type=_switch,
        default=True,
        metavar="0|1",
        help="have a libvirtd on nodes; 0: the chart brings it (1)",
    )
    up.add_argument("--durable-etcd", type=_switch, default=False, metavar="0|1", help="let etcd sync to disk (0)")
    up.add_argument("--accelerator", default="tcg", choices=["auto", "kvm", "tcg"], help="how guests run (tcg)")
    releases = [release.minor for release in RELEASES]
    up.add_argument("--kubernetes", default=NEWEST.minor, choices=releases, help=f"the release ({NEWEST.minor})")
    up.add_argument(
        "--backend", default="auto", choices=["auto", "process", "kind"], help="what nodes are made of (auto)"
    )

    _add_cluster(commands.add_parser("down", help="leave nothing of a cluster behind"))
    status = commands.add_parser("status", help="show what runs and where its logs are")
    status.add_argument("--cluster", default=None, metavar="NAME", help="only this cluster")
    commands.add_parser("build", help="build all that clusters and tests take and the cache does not have yet")
    building = commands.add_parser("images", help="build images, and print where they are")
    building.add_argument(
        "kinds",
        nargs="*",
        default=_IMAGES,
        metavar="guests|operator|agent|libvirt|pause",
        help="which (all)",
        type=_kind,
    )
    _add_cluster(commands.add_parser("env", help="print the line that points kubectl at a cluster"))

    install = commands.add_parser("install", help="install or upgrade Berth by its chart, where there are kubelets")
    _add_cluster(install)
    install.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one of the chart's values")

    logs = commands.add_parser("logs", help="print the log of a part")
    _add_cluster(logs)
    logs.add_argument("part", help="as `status` names it")

    execute = commands.add_parser("exec", help="run a command on a node")
    _add_cluster(execute)
    execute.add_argument("node")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND ...")

    demo = commands.add_parser("demo", help="from nothing to guests that answer, on two nodes")
    demo.add_argument("--cluster", default="demo", metavar="NAME", help="the cluster's name (demo)")

    hollow = commands.add_parser("hollow", help="play simulated nodes until Ctrl-C")
    _add_cluster(hollow)
    hollow_arguments.add_arguments(hollow)
    return main


def _add_cluster(command: argparse.ArgumentParser) -> None:
    command.add_argument("--cluster", default="berth", metavar="NAME", help="the cluster's name (berth)")


def _kind(text: str) -> str:
    if text not in _IMAGES:
        raise argparse.ArgumentTypeError(f"one of {', '.join(_IMAGES)}, not {text!r}")
    return text


def _switch(text: str) -> bool:
    if text not in {"0", "1"}:
        raise argparse.ArgumentTypeError(f"0 or 1, not {text!r}")
    return text == "1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGHUP, _exit)
    try:
        return _COMMANDS[arguments.command](arguments)
    except DevError as error:
        print(f"error: {error}", file=sys.stderr)
        for note in getattr(error, "__notes__", []):
            print(f"  {note}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _exit(number: int, _: object) -> None:
    """Let a signal end us as an exception would, so that what was made is taken down."""
    sys.exit(128 + number)


def _up(arguments: argparse.Namespace) -> int:
    options = Options(
        nodes=arguments.nodes,
        operator=arguments.operator and not arguments.kubelets,
        agent=arguments.agent and not arguments.kubelets,
        scheduler=arguments.scheduler,
        kubelets=arguments.kubelets,
        libvirt=arguments.libvirt,
        kubernetes=arguments.kubernetes,
        durable_etcd=arguments.durable_etcd,
        accelerator=arguments.accelerator,
    )
    say = timed_lines()
    on_kind = arguments.backend == "kind" or (arguments.backend == "auto" and kind.is_available())
    bring_up = startup.bring_up_kind if on_kind else Cluster.up
    cluster = bring_up(arguments.cluster, options, say=say)
    say(f"cluster {arguments.cluster} is ready")
    if not statuses.has_kubectl():
        print(f"alias kubectl={cluster.run.artifacts.bin / 'kubectl'}")
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    if not teardown.take_down(arguments.cluster, say=timed_lines(), root=states.state_root()):
        print(f"there is no cluster {arguments.cluster}: nothing to take down", file=sys.stderr)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    known = [run for run in states.load_all(states.state_root()) if arguments.cluster in {None, run.cluster}]
    if not known:
        print("no such cluster; make up makes one")
    for run in known:
        print(statuses.describe(run))
    return 0 if all(statuses.is_whole(run) for run in known) else 1


def _build(_: argparse.Namespace) -> int:
    cache, project, say = cache_root(), startup.project_root(), timed_lines()
    former = history.former_release(project)
    for release in RELEASES:
        startup.build(say, kubelets=True, kubernetes=release.minor)
    # It comes first: should its images have another base, the layers that are kept are those of the present one's.
    for title, tree in ((f"of release {former.version}", former.tree(cache, project, say)), ("", project)):
        for name in containers.targets(tree):
            say(f"image {name} {title}".rstrip())
            _CONTAINERS[name](cache, tree, say)
    return 0


def _images(arguments: argparse.Namespace) -> int:
    cache, project, say = cache_root(), startup.project_root(), timed_lines()
    if "guests" in arguments.kinds:
        for image in images.read_images(images.build_images(cache, project, say)).values():
            print(f"{image.name}: {image.path} sha256:{image.sha256}")
    for name, build in _CONTAINERS.items():
        if name in arguments.kinds:
            archive = build(cache, project, say)
            print(f"{archive.stem}: {archive} {archives.digest(archive)}")
    return 0


def _env(arguments: argparse.Namespace) -> int:
    print(f"export KUBECONFIG={Cluster.load(arguments.cluster).kubeconfig}")
    return 0


def _install(arguments: argparse.Namespace) -> int:
    from berth_dev import releases  # noqa: PLC0415 - the other commands bring no chart anywhere

    cluster, project, say = Cluster.load(arguments.cluster), startup.project_root(), timed_lines()
    wanted = ("operator", "agent") if cluster.run.options.libvirt else ("operator", "agent", "libvirt")
    built = [_CONTAINERS[name](cache_root(), project, say) for name in wanted]
    chosen = [argument for value in arguments.set for argument in ("--set", value)]
    print(releases.install(cluster, project / "charts" / "berth", *chosen, images=built))
    say("Berth is ready")
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    log = Cluster.load(arguments.cluster).part(arguments.part).log
    if not log.exists():
        raise DevError(f"{arguments.part} has not run yet: there is no {log}")
    sys.stdout.write(log.read_text(encoding="utf-8", errors="replace"))
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    argv = [part for part in arguments.argv if part != "--"] or ["/bin/bash"]
    return Cluster.load(arguments.cluster).node(arguments.node).attach(argv)


def _demo(arguments: argparse.Namespace) -> int:
    demo.run(arguments.cluster, say=timed_lines())
    return 0


def _hollow(arguments: argparse.Namespace) -> int:
    from berth_dev.hollow import command  # noqa: PLC0415 - the other commands need no client of the API

    options = hollow_arguments.options_of(arguments)
    kubeconfig = Path(arguments.kubeconfig) if arguments.kubeconfig else Cluster.load(arguments.cluster).kubeconfig
    report = Path(arguments.report) if arguments.report else None
    command.play(kubeconfig, options, every=arguments.every, report=report, say=timed_lines())
    return 0


_COMMANDS = {
    "up": _up,
    "down": _down,
    "status": _status,
    "build": _build,
    "images": _images,
    "env": _env,
    "install": _install,
    "logs": _logs,
    "exec": _exec,
    "demo": _demo,
    "hollow": _hollow,
}

if __name__ == "__main__":
    sys.exit(main())
