"""libvirt for nodes that have none: `libvirt.mode: managed` of the chart.

A container's children end with its control group, and programs that were started from an image's layers lose these with
the container. Guests have to outlive both. So what the image holds is copied to the node (`contents`, `trees`), and
libvirtd runs from there, in a control group (`cgroups`) and a mount namespace (`mounts`) of its own that no container
runtime knows. A container watches over it (`decisions`, `watch`), and can come and go.

Nothing is remembered: what runs, and from which tree, is read from the kernel each time (`processes`). Only the
standard library is used, since the image holds no more.
"""
