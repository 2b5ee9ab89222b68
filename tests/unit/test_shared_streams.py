"""How long streams last: so long, to the stop, or to their own end, and whatever ends them, they clean up."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from services.shared.streams import Streams


class Source:
    """Tells numbers as they are put in."""

    def __init__(self, *numbers: int) -> None:
        self.numbers: asyncio.Queue[int | Exception] = asyncio.Queue()
        self.closed = False
        # All that was put in has been told.
        self.waiting = False
        for number in numbers:
            self.numbers.put_nowait(number)

    async def _next(self) -> int | Exception:
        self.waiting = self.numbers.empty()
        return await self.numbers.get()

    async def tell(self) -> AsyncGenerator[int, None]:
        try:
            while (number := await self._next()) != 0:
                if isinstance(number, Exception):
                    raise number
                yield number
        finally:
            self.closed = True


async def all_of(streams: Streams, source: Source) -> list[int]:
    return [number async for number in streams.lasting(source.tell())]


async def test_a_stream_ends_by_itself_or_after_its_time():
    own_end, outlived = Source(1, 2, 0), Source(1)
    assert await all_of(Streams(60), own_end) == [1, 2]
    assert await all_of(Streams(0.05), outlived) == [1]
    assert own_end.closed
    assert outlived.closed


async def test_all_streams_end_at_the_stop():
    streams, source = Streams(60), Source(1)
    heard = asyncio.create_task(all_of(streams, source))
    async with asyncio.timeout(60):
        while not source.waiting:
            await asyncio.sleep(0.001)
    streams.end()
    assert await heard == [1]
    assert source.closed
    assert await all_of(streams, Source(1)) == []


@pytest.mark.parametrize("error", [ValueError("broken"), TimeoutError("of its own")])
async def test_an_error_is_not_taken_for_an_end(error: Exception):
    source = Source(1)
    source.numbers.put_nowait(error)
    with pytest.raises(type(error)):
        await all_of(Streams(60), source)
    assert source.closed
