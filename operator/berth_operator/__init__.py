"""The operator: places virtual machines, claims what they need, binds them to nodes."""
