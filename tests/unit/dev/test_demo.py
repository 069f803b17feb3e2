"""What the demo shows of a VM is what its status says."""

from berth_dev.demo import view


def test_a_vm_without_status_is_pending() -> None:
    vm = view({"metadata": {"name": "a", "uid": "u"}})
    assert (vm.name, vm.phase, vm.node, vm.address, vm.is_ready) == ("a", "Pending", "", "", False)


def test_a_ready_vm_shows_node_and_address() -> None:
    vm = view(
        {
            "metadata": {"name": "a", "uid": "u"},
            "status": {
                "phase": "Running",
                "nodeName": "node-1",
                "interfaces": [{"name": "default", "ipAddresses": ["10.88.1.10/24"]}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
    )
    assert (vm.node, vm.address, vm.is_ready) == ("node-1", "10.88.1.10", True)


def test_what_a_vm_waits_for_is_the_message_of_its_first_false_condition() -> None:
    condition = {"type": "Scheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes fit"}
    vm = view({"metadata": {"name": "a"}, "status": {"conditions": [condition]}})
    assert vm.reason == "Scheduled: 0/2 nodes fit"
