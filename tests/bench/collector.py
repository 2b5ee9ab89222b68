"""Takes traces in and forgets them: `python -m tests.bench.collector <port>`."""

import sys
from typing import Any

import grpc
import uvloop
from grpc import aio


class Forgetful(grpc.GenericRpcHandler):
    """Answers whatever is exported with an empty message: all was taken."""

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        """The handler of any method."""
        return grpc.unary_unary_rpc_method_handler(_taken)


async def _taken(_: bytes, __: Any) -> bytes:
    return b""


async def main(port: str) -> None:
    server = aio.server()
    server.add_generic_rpc_handlers((Forgetful(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
