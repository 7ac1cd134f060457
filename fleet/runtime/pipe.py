"""Reads the pipe of a process in turns of the event loop.

uvloop's transport for pipes closes the descriptor, and its file object closes the same number again (uvloop issue 763). Another
thread may have opened a file in between, and loses it. Here the file object alone closes it.
"""

from __future__ import annotations

import asyncio
import os
from typing import IO, Final

__all__ = ["PipeReader"]

READ_BYTES: Final = 64 * 1024
"""As much as a pipe of Linux holds."""


class PipeReader(asyncio.ReadTransport):
    """Owns the pipe from now on. Needs a running loop. Calls `connection_lost` once, in a later turn than `close`."""

    def __init__(self, pipe: IO[bytes], protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._pipe, self._protocol = pipe, protocol
        self._reading = False
        os.set_blocking(pipe.fileno(), False)
        protocol.connection_made(self)
        self.resume_reading()

    def is_closing(self) -> bool:
        return self._pipe.closed

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._pipe.fileno())

    def resume_reading(self) -> None:
        if not self._reading and not self._pipe.closed:
            self._reading = True
            self._loop.add_reader(self._pipe.fileno(), self._read)

    def close(self) -> None:
        self._end(None)

    def _read(self) -> None:
        try:
            data = os.read(self._pipe.fileno(), READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._end(None)

    def _end(self, error: OSError | None) -> None:
        if self._pipe.closed:
            return
        self.pause_reading()
        self._pipe.close()
        self._loop.call_soon(self._protocol.connection_lost, error)
