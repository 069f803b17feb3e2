"""Observe, plan, act: how a VM on this node comes to be what its object says."""
