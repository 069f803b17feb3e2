"""The cluster on one machine."""
