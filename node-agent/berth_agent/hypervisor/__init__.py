"""The hypervisor behind a narrow port: what the agent needs of libvirt, with typed states, events and errors.

`ports` is all that the rest of the agent knows; `libvirt_adapter` is the one implementation; each file beside it has
one duty. Nothing outside this package imports libvirt.
"""
