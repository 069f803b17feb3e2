"""Benchmarks: each prints a table and a ratio against its peer, measured in the same run."""
