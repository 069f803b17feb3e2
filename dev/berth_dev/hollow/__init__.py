"""Simulated nodes for scale tests: one process plays the Hypervisors, heartbeats and admissions of many nodes.

`HollowNodes` (nodes.py) is the way in from Python, `python -m berth_dev hollow` from a shell. Nothing is imported here:
the command line reads its arguments without waiting for what only this one command needs.
"""
