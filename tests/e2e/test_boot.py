"""From apply to answering guests."""

from tests.e2e.conftest import VM, World, address_of, http_answer


def test_three_vms_on_two_nodes_get_ready_and_answer_on_their_address(world: World) -> None:
    vms = world.start(*(world.vm(name) for name in ("web-1", "web-2", "web-3")))

    assert {vm["status"]["nodeName"] for vm in vms} == {"node-1", "node-2"}
    assert len({address_of(vm) for vm in vms}) == 3
    for vm in vms:
        assert http_answer(address_of(vm))["hostname"] == vm["metadata"]["name"]
        assert vm["status"]["phase"] == "Running"
        assert vm["status"]["admittedClaim"] == vm["status"]["claim"]["id"]
        assert {c["type"]: c["status"] for c in vm["status"]["conditions"]} == {
            "Scheduled": "True",
            "DisksReady": "True",
            "NetworkReady": "True",
            "Ready": "True",
        } | {c["type"]: "True" for c in vm["status"]["conditions"] if c["type"] == "GuestAgentConnected"}


def test_two_field_managers_write_a_vms_status_and_no_third(world: World) -> None:
    world.start(world.vm("web"))
    written = world.kubectl(
        "get",
        VM,
        "web",
        "--show-managed-fields",
        "-o",
        r"jsonpath={range .metadata.managedFields[?(@.subresource=='status')]}{.manager} {end}",
    )
    assert sorted(written.split()) == ["berth-agent", "berth-operator"]


def test_an_unchanged_vm_causes_no_writes(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    http_answer(address_of(vm))
    said = "--for=jsonpath={.status.guest.interfaces[0].name}=eth0"  # the last thing that is told of a start
    world.kubectl("wait", "--for=condition=GuestAgentConnected", f"{VM}/web", "--timeout=60s", timeout=70)
    world.kubectl("wait", said, f"{VM}/web", "--timeout=120s", timeout=130)
    before = world.get("web")["metadata"]["resourceVersion"]
    watched = world.kubectl("get", VM, "web", "--watch-only", "-o", "name", "--request-timeout=15s", timeout=30)
    assert watched == ""
    assert world.get("web")["metadata"]["resourceVersion"] == before


def test_the_spec_stays_the_users(world: World) -> None:
    wanted = world.vm("web", networks=[{"name": "lan", "networkName": "default"}])
    world.start(wanted)
    managers = world.kubectl(
        "get",
        VM,
        "web",
        "--show-managed-fields",
        "-o",
        "jsonpath={.metadata.managedFields[?(@.fieldsV1.f:spec)].manager}",
    )
    assert managers.split() == ["berth-dev"]


def test_a_class_gives_cpu_and_memory(world: World) -> None:
    flavor = {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualMachineClass",
        "metadata": {"name": "two-cpus"},
        "spec": {"cpu": {"cores": 2}, "memory": {"size": "112Mi"}},
    }
    world.cluster.kubectl.apply([flavor])
    (vm,) = world.start(world.vm("web", className="two-cpus", cpu=None, memory=None))
    assert http_answer(address_of(vm))["cpus"] == "2"


def test_a_paused_vm_stops_and_goes_on(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot = http_answer(address_of(vm))["boot_id"]
    world.apply(world.vm("web", paused=True))
    world.kubectl("wait", "--for=jsonpath={.status.phase}=Paused", f"{VM}/web", "--timeout=30s", timeout=40)
    assert "paused" in world.cluster.node(vm["status"]["nodeName"]).exec(["virsh", "list", "--all"]).stdout
    world.apply(world.vm("web", paused=False))
    world.kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"{VM}/web", "--timeout=30s", timeout=40)
    assert http_answer(address_of(vm))["boot_id"] == boot


def test_a_halted_vm_is_shut_down_gracefully(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    http_answer(address_of(vm))
    world.apply(world.vm("web", runStrategy="Halted"))
    world.kubectl("wait", "--for=jsonpath={.status.phase}=Stopped", f"{VM}/web", "--timeout=60s", timeout=70)
    console = world.cluster.node(vm["status"]["nodeName"]).path(f"/var/lib/berth/consoles/{vm['metadata']['uid']}.log")
    heard = console.read_text(errors="replace")
    assert "power button" in heard or "shutdown by guest agent" in heard


def test_a_vm_without_networks_has_none(world: World) -> None:
    (vm,) = world.start(world.vm("web", networks=[]))
    assert "interfaces" not in vm["status"]
    assert vm["status"]["claim"].get("interfaces", []) == []
