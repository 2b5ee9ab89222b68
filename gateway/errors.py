"""Errors of a field or of a request: what stands in `extensions`, with one code of a short list."""

from typing import Any

from services.shared.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)

UNAUTHENTICATED = "UNAUTHENTICATED"
FORBIDDEN = "FORBIDDEN"
CONSENT_REQUIRED = "CONSENT_REQUIRED"
SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
BAD_USER_INPUT = "BAD_USER_INPUT"
DOCUMENT_INVALID = "DOCUMENT_INVALID"
DOCUMENT_TOO_EXPENSIVE = "DOCUMENT_TOO_EXPENSIVE"
PERSISTED_QUERY_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
PERSISTED_QUERY_HASH_MISMATCH = "PERSISTED_QUERY_HASH_MISMATCH"
TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
SUBSCRIPTION_ENDED = "SUBSCRIPTION_ENDED"
INTERNAL = "INTERNAL"
# With which a request may be answered without being executed.
OF_REQUESTS = (
    UNAUTHENTICATED, FORBIDDEN, SERVICE_UNAVAILABLE, BAD_USER_INPUT, DOCUMENT_INVALID, DOCUMENT_TOO_EXPENSIVE,
    PERSISTED_QUERY_NOT_FOUND, PERSISTED_QUERY_HASH_MISMATCH, TOO_MANY_REQUESTS, INTERNAL,
)  # fmt: skip

_MASKED = "Something unexpected went wrong here; nothing that you can correct. Report it with the trace id."


class FieldError(Exception):
    """What the viewer is told of a field that cannot be answered: a code for programs, a sentence for people."""

    def __init__(self, code: str, message: str, *, reason: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.extensions: dict[str, Any] = {"code": code, "reason": reason or code, **details}


def field_error(error: Exception) -> FieldError | None:
    """The error as a viewer may see it; None if it is a defect, to be logged and masked."""
    if isinstance(error, FieldError):
        return error
    match error:
        case Unavailable() | DeadlineExceeded() | Aborted():
            return FieldError(
                SERVICE_UNAVAILABLE,
                "The service behind this cannot answer just now; ask again in a moment.",
                reason=error.reason,
            )
        case ResourceExhausted():
            return FieldError(SERVICE_UNAVAILABLE, error.message, reason=error.reason)
        case PermissionDenied():
            return FieldError(FORBIDDEN, error.message, reason=error.reason)
        case InvalidArgument() | NotFound() | AlreadyExists() | FailedPrecondition():
            return FieldError(BAD_USER_INPUT, error.message, reason=error.reason)
    return None


def subscription_ended(reason: str, message: str, **details: object) -> FieldError:
    """The last that a subscriber hears."""
    return FieldError(SUBSCRIPTION_ENDED, message, reason=reason, **details)


def masked() -> FieldError:
    """What is told of a defect."""
    return FieldError(INTERNAL, _MASKED)
