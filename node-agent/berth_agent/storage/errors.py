"""What can go wrong with images, disks and seeds, each with the reason that its Kubernetes condition carries.

Only the outermost layer turns these into conditions and retries. `reason` is CamelCase, as the API conventions ask;
`retryable` says that the same call may succeed soon without anybody changing anything: a server that is busy, not a
checksum that is wrong.
"""

from typing import ClassVar


class StorageError(Exception):
    """Something about an image, a disk or a seed that its user, or the node's administrator, should read."""

    reason: ClassVar[str] = "StorageFailed"
    retryable: ClassVar[bool] = False


class InvalidSource(StorageError):
    """The source or the checksum is not something that could ever be fetched."""

    reason = "InvalidSource"


class InvalidName(StorageError):
    """A name that would make an unsafe file name."""

    reason = "InvalidName"


# --- fetching ---------------------------------------------------------------------------------------------------------


class DownloadFailed(StorageError):
    """The server could not be reached, or did not answer as an HTTP server should; it may do so later."""

    reason = "DownloadFailed"
    retryable = True


class ImageNotFound(StorageError):
    """The server says 404 or 410, or there is no such file."""

    reason = "ImageNotFound"


class DownloadForbidden(StorageError):
    """The server refuses this request (401, 403 and the other 4xx)."""

    reason = "DownloadForbidden"


class CertificateInvalid(StorageError):
    """The server's TLS certificate does not prove who it is."""

    reason = "CertificateInvalid"


class DownloadStalled(StorageError):
    """No connection, or no byte, within the deadline."""

    reason = "DownloadStalled"
    retryable = True


class DownloadTimedOut(StorageError):
    """Bytes kept coming, but not all of them within the total deadline."""

    reason = "DownloadTimedOut"
    retryable = True


class DownloadTruncated(StorageError):
    """The connection ended before the image did."""

    reason = "DownloadTruncated"
    retryable = True


class DestinationForbidden(StorageError):
    """The URL leads to an address that the node's administrator does not let images come from."""

    reason = "DestinationForbidden"


class FileOutsideDirectory(StorageError):
    """The path leads out of the directory of image files, or no such directory is configured."""

    reason = "FileOutsideDirectory"


class ImageTooLarge(StorageError):
    """More bytes than the node's administrator allows."""

    reason = "ImageTooLarge"


class InsufficientStorage(StorageError):
    """The file system has no room for it; unused images age out, so there may be room later."""

    reason = "InsufficientStorage"
    retryable = True


class ChecksumMismatch(StorageError):
    """The bytes that came are not the bytes that were asked for.

    Attributes:
        expected: the digest that the spec names, as ``sha256:<hex>``.
        actual: the digest of what came.
    """

    reason = "ChecksumMismatch"

    def __init__(self, *, expected: str, actual: str, source: str) -> None:
        super().__init__(
            f"{source} has the checksum {actual}, but {expected} was asked for: correct the checksum, or the source"
        )
        self.expected = expected
        self.actual = actual


# --- the cache --------------------------------------------------------------------------------------------------------


class ImageRejected(StorageError):
    """The image is not a plain raw or qcow2 image: it refers to other files, is encrypted, or cannot be read."""

    reason = "ImageRejected"


class ImageBusy(StorageError):
    """Another process works on the same image for longer than the deadline."""

    reason = "ImageBusy"
    retryable = True


class ImageInUse(StorageError):
    """A disk on this node has the image as its backing file."""

    reason = "ImageInUse"


class ImageToolFailed(StorageError):
    """qemu-img failed, or took longer than its deadline, for a reason that is not the image's."""

    reason = "ImageToolFailed"
    retryable = True


# --- disks ------------------------------------------------------------------------------------------------------------


class StorageHangs(StorageError):
    """Files are on a file system that does not answer."""

    reason = "StorageNotResponding"
    retryable = True


class PoolUnavailable(StorageError):
    """The pool is not on this node, or its directory is not there."""

    reason = "PoolUnavailable"
    retryable = True


class InvalidSize(StorageError):
    """A size that no disk can have on this node."""

    reason = "InvalidSize"


class DiskSmallerThanImage(StorageError):
    """The disk could not hold the image that it is born from.

    Attributes:
        size: what was asked for, in bytes.
        virtual_size: what the image needs, in bytes.
    """

    reason = "DiskSmallerThanImage"

    def __init__(self, *, disk: str, size: int, virtual_size: int) -> None:
        super().__init__(
            f"disk {disk} has a size of {size} bytes, but its image needs {virtual_size} bytes: "
            f"set the disk's size to at least {virtual_size}"
        )
        self.size = size
        self.virtual_size = virtual_size


class DiskMismatch(StorageError):
    """A disk of that name exists and is not the one that is asked for; it is left as it is."""

    reason = "DiskMismatch"
