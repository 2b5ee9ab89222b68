"""What a service says when something fails that is none of a caller's business: the database, or itself."""

from dataclasses import dataclass

from grpc import aio
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from services.shared.errors import DomainError, Internal, Unavailable
from services.shared.rpc_errors import OVERLOADED
from services.shared.telemetry import log, trace_id


@dataclass(frozen=True)
class Closed:
    """Why no calls are answered just now."""

    reason: str
    message: str

    def error(self) -> Unavailable:
        """As a caller is told."""
        return Unavailable(self.message, reason=self.reason)


# InternalError, UnknownError, OutOfDiskSpace: the database's own trouble, which an operator has to end; until then a
# caller can only wait, and is told so.
_DATABASE_FAILS = frozenset({1, 8, 14031})
TOO_MUCH = Closed(OVERLOADED, "There is more to do than can be done just now; call again in a moment.")
NO_DATABASE = Closed("DATABASE_UNAVAILABLE", "The database cannot be reached; call again in a moment.")


def as_told(error: Exception, method: str) -> DomainError:
    """What the caller is told. The unexpected is logged whole and told as a trace id."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, aio.AbortError):
        raise error
    if passing(error):
        log.warning("database unreachable", method=method, error=str(error))
        return NO_DATABASE.error()
    if isinstance(error, OperationFailure) and error.code in _DATABASE_FAILS:
        log.error("the database fails", method=method, error=str(error))
        return NO_DATABASE.error()
    log.error("unexpected error", method=method, exc_info=error)
    return Internal(
        "Something unexpected went wrong here; nothing that you can correct. Report it with the trace id.",
        reason="INTERNAL",
        trace_id=trace_id(),
    )


def passing(error: Exception) -> bool:
    """Whether the database could not be reached or was too slow, so that the same may well succeed in a moment."""
    return isinstance(error, PyMongoError) and (
        error.timeout
        or isinstance(error, AutoReconnect | ConnectionFailure | ExecutionTimeout | NetworkTimeout | WTimeoutError)
        or any(map(error.has_error_label, ("TransientTransactionError", "UnknownTransactionCommitResult")))
    )
