"""What there is and what to do about it, as pure functions: no clock, no libvirt, no API server."""
