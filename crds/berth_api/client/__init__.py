"""A client for the API server that reads and writes plain JSON.

Generated clients have no model of our kinds, and their dynamic client costs discovery and memory; an agent needs eight
verbs. Programs depend on the `Api` protocol, so that tests run against a fake that keeps the objects in memory.
"""

from berth_api.client.clients import ApiClient
from berth_api.client.credentials import Connection
from berth_api.client.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from berth_api.client.ports import Api, ObjectList, Sink, Watcher
from berth_api.client.reflectors import Reflector
from berth_api.client.streams import WatchEvent

__all__ = [
    "AlreadyExists",
    "Api",
    "ApiClient",
    "ApiError",
    "Conflict",
    "Connection",
    "DeadlineExceeded",
    "Forbidden",
    "Gone",
    "Invalid",
    "NotFound",
    "ObjectList",
    "Reflector",
    "Sink",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "WatchEvent",
    "Watcher",
]
