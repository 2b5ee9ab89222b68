"""The server that replays the services' answers to the gateway's bench speaks with gRPC's own client."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import aio

from tests.bench.http2 import Server

METHOD = "/alliance.test.v1.TestService/Repeat"


def repeat(path: str, message: bytes) -> bytes | None:
    """What was sent, as often as it says itself."""
    if path != METHOD:
        return None
    times, _, text = message.partition(b" ")
    return text * int(times)


@pytest.fixture
async def channel() -> AsyncIterator[aio.Channel]:
    server = await asyncio.get_running_loop().create_server(lambda: Server(repeat), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


async def test_calls_at_the_same_time_get_their_own_answers(channel: aio.Channel) -> None:
    call = channel.unary_unary(METHOD)
    answers = await asyncio.gather(*(call(b"2 %d," % number) for number in range(200)))
    assert answers == [b"%d," % number * 2 for number in range(200)]


async def test_an_answer_beyond_every_window_comes_whole_and_small_ones_beside_it(channel: aio.Channel) -> None:
    call = channel.unary_unary(METHOD)
    large, small = await asyncio.gather(call(b"3000000 x"), call(b"1 y"))
    assert large == b"x" * 3_000_000
    assert small == b"y"


async def test_headers_that_push_each_other_out_of_the_table_leave_the_path_readable(channel: aio.Channel) -> None:
    call = channel.unary_unary(METHOD)
    for number in range(60):
        metadata = aio.Metadata((f"name-{number}", "v" * 400), ("authorization", f"Bearer {number // 10}"))
        assert await call(b"1 z", metadata=metadata) == b"z"


async def test_an_unknown_method_is_unimplemented(channel: aio.Channel) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await channel.unary_unary("/alliance.test.v1.TestService/Other")(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
