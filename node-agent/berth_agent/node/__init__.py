"""The node itself: its key, its heartbeat, what it has, and how its Hypervisor object says so."""
