"""What the leader does, a file per duty. Each looks at the present state and writes only what differs from it."""
