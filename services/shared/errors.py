"""What can go wrong, as sentences: the few kinds of expected failure, and their shape on the wire.

A service names its failures by subclassing a kind: `class IdentityAlreadyLinked(AlreadyExists)` has the reason
`IDENTITY_ALREADY_LINKED`. Kinds correspond to gRPC's status codes, one to one.
"""

import re
from typing import ClassVar

import grpc

# What is told of a value: whole if it is one of ours. A caller may send any length, and an answer's metadata has 8 KiB.
_LONGEST_DETAIL = 200


class DomainError(Exception):
    """An expected failure, safe to show to the caller.

    `reason` is UPPER_SNAKE_CASE and stable: programs decide by it. `message` is one sentence for a person that says
    what is wrong and what to do. `metadata` has the details as strings, for example which field.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str, *, reason: str | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or _upper_snake(type(self).__name__)
        self.metadata = {name: _told(str(value)) for name, value in metadata.items()}


class InvalidArgument(DomainError):
    """The input is wrong whatever the state; correct it before you call again."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(DomainError):
    """There is no such thing, or it is not for this caller to know."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(DomainError):
    """Something else has that name, number or request id already."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(DomainError):
    """The input is right, but the state does not allow it now."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PermissionDenied(DomainError):
    """The caller is known, and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Unauthenticated(DomainError):
    """The caller did not prove who it is."""

    code = grpc.StatusCode.UNAUTHENTICATED


class ResourceExhausted(DomainError):
    """A limit is reached; less, or later, may work."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Aborted(DomainError):
    """Others changed the same thing at the same time, again and again; the same call may be sent again."""

    code = grpc.StatusCode.ABORTED


class Unavailable(DomainError):
    """Something that is needed cannot be reached just now; the same call may be sent again."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(DomainError):
    """The time for the call ran out; it may have been carried out, and may be sent again with its request id."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Internal(DomainError):
    """A defect of ours. The details are in the log, under the trace id."""

    code = grpc.StatusCode.INTERNAL


KINDS: dict[grpc.StatusCode, type[DomainError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        PermissionDenied,
        Unauthenticated,
        ResourceExhausted,
        Aborted,
        Unavailable,
        DeadlineExceeded,
        Internal,
    )
}


def _told(value: str) -> str:
    return value if len(value) <= _LONGEST_DETAIL else f"{value[: _LONGEST_DETAIL - 1]}\u2026"


def _upper_snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
