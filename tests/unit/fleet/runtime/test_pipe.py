"""A pipe is read to its end, in turns, and its descriptor is closed once."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from fleet.runtime.pipe import READ_BYTES, PipeReader

LOOPS = pytest.mark.parametrize("run", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
Run = Callable[[Coroutine[Any, Any, None]], None]


class Heard(asyncio.Protocol):
    def __init__(self) -> None:
        self.data, self.reads, self.lost = b"", 0, 0
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.reads += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1
        self.over.set()


class Closed(io.FileIO):
    """Has been closed already when it is closed?"""

    before: bool | None = None

    def close(self) -> None:
        if not self.closed:
            try:
                os.fstat(self.fileno())
                self.before = False
            except OSError:
                self.before = True
        super().close()


def pipe() -> tuple[Closed, int]:
    reads, writes = os.pipe()
    return Closed(reads), writes


@LOOPS
def test_it_is_read_to_its_end_and_closed_once(run: Run) -> None:
    async def main() -> None:
        (reads, writes), heard = pipe(), Heard()
        PipeReader(reads, heard)
        os.write(writes, b"one")
        os.write(writes, b" two")
        os.close(writes)
        await heard.over.wait()
        assert (heard.data, heard.lost, reads.before) == (b"one two", 1, False)

    run(main())


@LOOPS
@pytest.mark.parametrize("reading", [True, False])
def test_a_close_is_heard_once_and_nothing_else_is(reading: bool, run: Run) -> None:
    async def main() -> None:
        (reads, writes), heard = pipe(), Heard()
        reader = PipeReader(reads, heard)
        os.write(writes, b"never read")
        if not reading:
            reader.pause_reading()
        reader.close()
        reader.close()
        assert reader.is_closing()
        assert not heard.lost, "only in a later turn"
        reader.resume_reading()
        await heard.over.wait()
        await asyncio.sleep(0)
        os.close(writes)
        assert (heard.data, heard.lost, reads.before) == (b"", 1, False)

    run(main())


@LOOPS
def test_nothing_is_read_while_it_is_paused_and_the_rest_afterwards(run: Run) -> None:
    async def main() -> None:
        (reads, writes), heard = pipe(), Heard()
        reader = PipeReader(reads, heard)
        reader.pause_reading()
        reader.pause_reading()
        os.write(writes, bytes(READ_BYTES))
        os.close(writes)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not heard.reads
        assert not reader.is_reading()
        reader.resume_reading()
        reader.resume_reading()
        await heard.over.wait()
        assert len(heard.data) == READ_BYTES

    run(main())


def test_a_fault_of_the_pipe_is_its_end() -> None:
    async def main() -> None:
        heard = Heard()
        ours, theirs = os.openpty()  # read after the other side has gone, it fails
        PipeReader(Closed(ours), heard)
        os.close(theirs)
        await heard.over.wait()
        assert heard.lost == 1

    uvloop.run(main())
