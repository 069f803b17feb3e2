"""The agent as a program: everything is put together here, by hand, once."""

import asyncio
import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from random import Random, SystemRandom
from socket import SOCK_STREAM
from urllib.parse import urlsplit

import kopf
from pydantic import ValidationError

from berth_agent.audits import Audit
from berth_agent.chronicles import AgentChronicle
from berth_agent.cluster_view import ClusterView
from berth_agent.endings import end_within
from berth_agent.guests.connectors import TapConnector
from berth_agent.guests.healths import Healths
from berth_agent.guests.information import Guests
from berth_agent.guests.lookouts import GuestLookout
from berth_agent.guests.presences import Presences
from berth_agent.guests.questions import Questions
from berth_agent.handlers.hypervisor_events import follow
from berth_agent.handlers.intake import NODE_REPORT, Intake
from berth_agent.handlers.watches import build_registry, selectors
from berth_agent.hypervisor.accelerators import choose_accelerator
from berth_agent.hypervisor.errors import AcceleratorUnusable
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_agent.hypervisor.settings import LibvirtSettings
from berth_agent.network.attacher import Attacher
from berth_agent.node.anchors import Anchor
from berth_agent.node.boots import BootUnknown, boot_id
from berth_agent.node.clusters import cluster_identity
from berth_agent.node.consoles import Consoles
from berth_agent.node.events import Events
from berth_agent.node.facts import NodeFacts
from berth_agent.node.heartbeats import Heartbeat
from berth_agent.node.keys import NodeKey
from berth_agent.node.origins import Origins
from berth_agent.node.outages import OutageReporter
from berth_agent.node.reports import NodeReporter
from berth_agent.node.storage_pools import NodePools
from berth_agent.pages import Pages
from berth_agent.reconcile.admissions import Admissions
from berth_agent.reconcile.epochs import Epochs
from berth_agent.reconcile.holds import Holds
from berth_agent.reconcile.reconciler import Act, Reconciler
from berth_agent.reconcile.rounds import Owner, Tools
from berth_agent.reconcile.steps import act as take_step
from berth_agent.settings import AgentSettings
from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.disks import Disks
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.seeds import Seeds
from berth_agent.storage.settings import DownloadLimits
from berth_agent.waiting import until_available
from berth_api import logs
from berth_api.client import ApiClient, ApiError
from berth_api.serving import CannotServe, serving
from berth_api.watching import WatchDied, supervise, watch_settings
from berth_api.workqueues import Backoff, WorkQueue

_M_ARENA_MAX = -8
"""mallopt(3): how many arenas glibc makes at most. One for each of many short threads is 0.2 MB for each VM."""
_THREADS = 32
"""Threads for files: what waits for a disk waits beside its like. Python's own number depends on CPUs, of which these
need none."""


def _at_leisure() -> None:
    """Whoever runs the agent ends only when all of it has ended."""


async def run(settings: AgentSettings, act: Act = take_step, *, stopping: Callable[[], object] = _at_leisure) -> None:
    """Run the agent until it is told to stop.

    Args:
        settings: What an administrator decides.
        act: Takes one step; tests put themselves before or behind the real thing.
        stopping: Called when the agent begins to end, for whatever reason.

    Raises:
        ApiError: there are no credentials, or the API server refuses the agent.
        AcceleratorUnusable: the accelerator that the settings ask for does not run guests here.
        CannotServe: nothing can be served where the settings say.
    """
    user_agent = f"berth-agent/{version('berth')} ({settings.node_name})"
    async with (
        await ApiClient.connect(settings.kubeconfig, user_agent=user_agent, deadline=settings.api_deadline) as api,
        asyncio.TaskGroup() as group,
    ):
        heartbeat = Heartbeat(
            api,
            namespace=settings.namespace,
            node_name=settings.node_name,
            interval=settings.heartbeat,
            valid=settings.heartbeat_valid,
        )
        pages = Pages(heartbeat)
        beating = group.create_task(heartbeat.run(), name="heartbeat")
        async with serving(pages.at(settings)):
            try:
                await _work(settings, api, act, pages, stopping)
            finally:
                stopping()
        beating.cancel()


async def _work(
    settings: AgentSettings, api: ApiClient, act: Act, pages: Pages, stopping: Callable[[], object]
) -> None:
    """All but the heartbeat, which must not wait for libvirt: the guests of a node whose libvirtd is away still run."""
    random = SystemRandom()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "berth-files"))
    async with LibvirtHypervisor(
        await choose_accelerator(settings.accelerator),
        LibvirtSettings(uri=settings.libvirt_uri),
        pages.metrics.libvirt_call,
    ) as hypervisor:
        pages.guests.follow(hypervisor)
        vms: WorkQueue[Owner] = WorkQueue(Backoff(), random)
        reports: WorkQueue[str] = WorkQueue(Backoff(), random)
        view = ClusterView(settings.namespace)
        pages.follow(view, vms=vms, reports=reports)
        lookout = _lookout(hypervisor, view, vms, random)
        outage = OutageReporter(api, settings.node_name, known=pages.settled)
        tools = await _tools(settings, api, hypervisor, view, lookout=lookout, outage=outage)
        events = Events(api, node_name=settings.node_name)
        chronicle = AgentChronicle(pages.metrics, events)
        holds = Holds(time.monotonic, random)
        reconciler = Reconciler(tools, holds, act=act, chronicle=chronicle, aside=vms.aside)
        reporter = NodeReporter(tools, agent_version=version("berth"))
        anchor_changed = tools.anchor.changed if tools.anchor is not None else _at_leisure
        intake = Intake(tools.view, reconciler, vms, reports, anchor_changed=anchor_changed)
        audit = Audit(tools, intake, vms, interval=settings.audit_interval, image_keep=settings.image_keep)
        await until_available("the API server", reporter.ensure_object)
        await audit.load()
        pages.settled()
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(work, name=name)
                for name, work in {
                    "vms": vms.run(partial(_reconcile, reconciler), settings.workers),
                    "reports": reports.run(lambda _: reporter.report(), 1),
                    "hypervisor events": follow(hypervisor, intake, lookout.rebooted),
                    "events": events.run(),
                    "audit": audit.run(),
                    "watches": supervise(),
                }.items()
            ]
            reports.add(NODE_REPORT)
            await kopf.operator(
                registry=build_registry(api, intake, stop=partial(_stop, background, stopping)),
                settings=watch_settings(selectors(settings.node_name)),
                clusterwide=True,
            )
        await lookout.close()


async def _reconcile(reconciler: Reconciler, owner: Owner) -> float | None:
    """A round, all of whose log lines name its VM."""
    logs.tag(**owner.fields)
    return await reconciler.reconcile(owner)


async def _stop(background: Sequence[asyncio.Task[None]], stopping: Callable[[], object]) -> None:
    """End the work, between two awaits of each round."""
    stopping()
    for task in background:
        task.cancel()
    await asyncio.wait(background)


def _lookout(hypervisor: LibvirtHypervisor, view: ClusterView, vms: WorkQueue[Owner], random: Random) -> GuestLookout:
    """Who asks running guests how they are; news of a guest has its VM looked at."""

    def news(uid: str) -> None:
        vm = view.vm(uid)
        if vm is not None:
            vms.add(Owner.of(vm))

    questions = Questions(hypervisor, TapConnector(), time.monotonic)
    healths = Healths(questions, lambda: datetime.now(UTC), news, random.random)
    return GuestLookout(healths, Guests(hypervisor, news, random.random), Presences(news))


async def _tools(
    settings: AgentSettings,
    api: ApiClient,
    hypervisor: LibvirtHypervisor,
    view: ClusterView,
    *,
    lookout: GuestLookout,
    outage: OutageReporter,
) -> Tools:
    """Everything that steps work with; waits until libvirt tells what the node can run."""
    state = settings.state_dir
    cluster = await until_available("the cluster's identity", partial(cluster_identity, api))
    server = (await api.connection()).server
    denied = (*settings.all_denied_cidrs, *await until_available("a name service", partial(addresses_of, server)))
    pools = NodePools(hypervisor)
    images = ImageCache(
        state / "images",
        destinations=DestinationPolicy.of(denied_cidrs=denied, allowed_cidrs=settings.image_allowed_cidrs),
        clock=time.time,
        file_root=settings.image_file_dir,
        downloads=DownloadLimits(stall_seconds=settings.image_stall),
    )
    consoles = Consoles(settings.console_dir)

    async def prepare() -> NodeKey:
        await images.start()
        consoles.prepare()
        return NodeKey.load_or_create(state / "node.key")

    key = await until_available("the state directory", prepare)
    return Tools(
        node_name=settings.node_name,
        api=api,
        epochs=Epochs(api, settings.namespace),
        view=view,
        facts=NodeFacts(await until_available("libvirt", hypervisor.capabilities, tell=outage.tell), pools),
        hypervisor=hypervisor,
        attachments=Attacher(settings),
        images=images,
        disks=Disks(pools),
        seeds=Seeds(state / "seeds"),
        consoles=consoles,
        key=key,
        admissions=Admissions(),
        lookout=lookout,
        anchor=_anchor(settings, api, view),
        boot_id=boot_id(settings.boot_id_file),
        origins=Origins(state / "origins", cluster),
    )


def _anchor(settings: AgentSettings, api: ApiClient, view: ClusterView) -> Anchor | None:
    """Who says when a claim is covered, where the node has an anchor."""
    if not settings.anchor:
        return None
    return Anchor(
        api,
        view,
        namespace=settings.namespace,
        node_name=settings.node_name,
        patience=settings.anchor_patience,
        limit=settings.anchor_limit,
    )


async def addresses_of(url: str) -> tuple[str, ...]:
    """The addresses behind a URL: no image may come from the API server."""
    parts = urlsplit(url)
    found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 443, type=SOCK_STREAM)
    return tuple(sorted({str(address[4][0]) for address in found}))


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors themselves, out of all groups within groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def main() -> None:
    """Entry point of the console script `berth-agent`."""
    try:
        settings = AgentSettings()
    except ValidationError as error:
        sys.exit(f"the settings (BERTH_AGENT_…) are not valid: {error}")
    logs.configure(settings.log_level, settings.log_format, {"node": settings.node_name})
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    if sys.version_info < (3, 12):  # later ones do so by themselves: no thread for each process that is started
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        asyncio.run(run(settings, stopping=end_within))
    except* (ApiError, AcceleratorUnusable, BootUnknown, CannotServe, WatchDied) as errors:
        sys.exit("cannot go on: " + "; ".join(str(error) for error in leaves(errors)))


if __name__ == "__main__":
    main()
