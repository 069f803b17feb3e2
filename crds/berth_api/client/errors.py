"""What the API server refuses, and what keeps us from reaching it.

`retryable` says whether the very same call may succeed later without anything else being changed first. After a write
that ended in `Unavailable` or `DeadlineExceeded` nobody knows whether it was done: repeat only what may be repeated.
Source: Kubernetes API conventions, "HTTP Status codes" and "Response Status Kind".
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

_MAX_MESSAGE = 2000


class ApiError(Exception):
    """A call to the API server failed.

    Attributes:
        status: HTTP status; 0 where no answer came.
        reason: `reason` of the Status object, one CamelCase word; may be empty.
        message: What the server says, in words for people.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})" if status else message)
        self.status, self.reason, self.message = status, reason, message


class NotFound(ApiError):
    """404: the object, or its whole kind, is not there."""


class AlreadyExists(ApiError):
    """409: an object of that name is there."""


class Conflict(ApiError):
    """409: the object has changed, or is another one of the same name. Read it again before the next try."""


class Forbidden(ApiError):
    """403: RBAC or an admission policy refuses."""


class Unauthorized(ApiError):
    """401: the credentials are not valid, also after they were read anew."""


class Invalid(ApiError):
    """400, 413, 415, 422: the request itself is at fault; the message says what to change."""


class Gone(ApiError):
    """410: a resource version or continue token is too old. List anew."""

    retryable = True


class TooManyRequests(ApiError):
    """429: the server asks to wait.

    Attributes:
        retry_after: Seconds to wait at least.
    """

    retryable = True

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 1.0) -> None:
        super().__init__(status, reason, message)
        self.retry_after = retry_after


class Unavailable(ApiError):
    """5xx, no connection, a connection lost, or an answer that is cut off or no JSON."""

    retryable = True


class DeadlineExceeded(ApiError):
    """No complete answer within the deadline."""

    retryable = True


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}
_CONFLICT, _TOO_MANY, _SERVER = 409, 429, 500


def from_answer(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The error that an answer with a status of 400 or more means.

    Args:
        status: HTTP status of the answer.
        body: Its body: a Status object where the API server itself answered, anything where a proxy did.
        retry_after: Its header `Retry-After`.
    """
    answer = _status_object(body)
    return from_status(status, answer, body[:_MAX_MESSAGE].decode(errors="replace"), retry_after)


def from_status(
    status: int, answer: Mapping[str, Any], otherwise: str = "", retry_after: str | None = None
) -> ApiError:
    """The error that a Status object stands for.

    Args:
        status: The HTTP status, or where there is none of its own (in a watch), the `code` of the object.
        answer: The object; empty where something else came.
        otherwise: What to say where the object has no message.
        retry_after: The answer's header `Retry-After`.
    """
    reason = str(answer.get("reason") or "")
    message = str(answer.get("message") or otherwise or f"HTTP status {status}")
    if status == _TOO_MANY:
        details = answer.get("details")
        hint = details.get("retryAfterSeconds") if isinstance(details, dict) else None
        return TooManyRequests(status, reason, message, _seconds(hint, retry_after))
    if status == _CONFLICT and reason == "AlreadyExists":
        return AlreadyExists(status, reason, message)
    if status >= _SERVER:
        return Unavailable(status, reason, message)
    return _BY_STATUS.get(status, ApiError)(status, reason, message)


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _seconds(*hints: Any) -> float:
    for hint in hints:
        try:
            return max(0.0, float(hint))
        except (TypeError, ValueError):
            continue
    return 1.0
