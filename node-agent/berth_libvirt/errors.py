"""What goes wrong when libvirt is brought to a node, each with what to do about it."""


class LibvirtError(Exception):
    """Any failure of this package that somebody can do something about."""


class BrokenImage(LibvirtError):
    """The image does not hold what it says that it holds."""


class NodeUnsuited(LibvirtError):
    """Something of the node, or of how the Pod sees it, stands in the way."""


class LaunchFailed(LibvirtError):
    """A daemon could not be started, or did not stay."""
