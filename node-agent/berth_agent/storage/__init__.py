"""Images, disks and seeds on a node: everything a domain reads its first byte from.

An image is fetched once into a content-addressed cache, a disk is an overlay on it in a pool's directory, a seed is a
small ISO that tells the guest who it is. All three come from what users wrote, so all three are treated as hostile:
names become paths only through validated parts, addresses are checked where they are connected to, and no image is
opened by a program that would follow what is written in it.
"""
