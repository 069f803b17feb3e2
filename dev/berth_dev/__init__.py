"""A whole cluster on one machine: control plane, nodes, guest images."""
