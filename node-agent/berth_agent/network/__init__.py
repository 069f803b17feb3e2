"""The network of one node: a CNI runtime for guests that have no Pod, and the taps that libvirt plugs them into."""
