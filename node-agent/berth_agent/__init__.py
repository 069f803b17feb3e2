"""The node agent: turns what is bound to its node into libvirt domains, and reports on the object."""
