"""What Berth takes of a cluster before it does anything for it: images, memory, processor time."""
