"""Where a VM goes: pure functions over a snapshot of all nodes. No I/O, no clock; same input, same node."""
