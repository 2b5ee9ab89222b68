"""DomainError <-> gRPC status with one google.rpc.ErrorInfo: the only mechanism by which errors cross an RPC."""

from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from services.shared.errors import KINDS, DomainError, Internal, Unavailable

DOMAIN = "alliance"
_DETAILS = "grpc-status-details-bin"
OVERLOADED = "OVERLOADED"
# gRFC A6: a negative number of milliseconds after which to retry means not at all.
_NO_RETRY = ("grpc-retry-pushback-ms", "-1")


async def abort(context: "aio.ServicerContext[object, object]", error: DomainError) -> NoReturn:
    """Ends the call with the error's code, message, reason and metadata.

    Who is one too many is told so as it is: gRPC's own retries would only make more of them.
    """
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    detail = Any()
    detail.Pack(info)
    status = status_pb2.Status(code=error.code.value[0], message=error.message, details=[detail])
    # `abort` rather than `abort_with_status`: only with the former does the telemetry's span get the code.
    trailing = ((_DETAILS, status.SerializeToString()), *((_NO_RETRY,) if error.reason == OVERLOADED else ()))
    await context.abort(error.code, error.message, trailing)
    raise AssertionError("abort returned")


def from_rpc(error: aio.AioRpcError) -> DomainError:
    """The error as it was raised on the other side: the kind by its code, the reason by its ErrorInfo."""
    code = error.code()
    if code is grpc.StatusCode.CANCELLED:
        # A caller that gives up itself gets no status; this one is from a server that stops.
        return Unavailable("The service is stopping; send it again.", reason="SERVICE_STOPPING")
    kind = KINDS.get(code, Internal)
    info = _info(error)
    if info is None:
        # Not ours: the transport's own, for example a refused connection.
        return kind(error.details() or error.code().name, reason=code.name)
    restored = kind(error.details() or "", reason=info.reason)
    restored.metadata = dict(info.metadata)
    return restored


def _info(error: aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS:
            continue
        raw = value if isinstance(value, bytes) else value.encode()
        for detail in status_pb2.Status.FromString(raw).details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                return info
    return None


def unexpected(code: grpc.StatusCode) -> bool:
    """Whether a status says that something is broken, rather than that the answer is no."""
    return code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
