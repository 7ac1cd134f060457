"""Whole messages: a head, its content in one DATA frame, and perhaps trailers. Pure.

Small messages are read and written at once, such as those of unary calls. Each is one event, and one piece of output, in place of
two or three. The rules are those of the frames one by one: whatever is unusual is left to them.
"""

from __future__ import annotations

from typing import Final

from interceptor.core.messages import Fields
from interceptor.http2.core.block_writer import deadline_literal
from interceptor.http2.core.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_SIZE,
    HEADERS,
    LARGEST_ID,
    LAST_HEADERS,
    pack_head,
    read_head,
)
from interceptor.http2.core.header_rules import NO_FIELDS
from interceptor.http2.core.inflow import Inflow
from interceptor.http2.core.outflow import OUTPUT_BYTES
from interceptor.http2.core.states import CLOSED, HALF_LOCAL, HALF_REMOTE, IDLE, NOT_ALLOWED, OPEN
from interceptor.http2.core.stream import Stream

__all__ = ["WholeMessages"]

_AFTER: Final = {
    IDLE: HALF_LOCAL,
    OPEN: HALF_LOCAL,
    HALF_REMOTE: CLOSED,
    HALF_LOCAL: NOT_ALLOWED,
    CLOSED: NOT_ALLOWED,
}
"""The state after a whole message was sent."""
_AFTER_RESPONSE: Final = {OPEN: HALF_REMOTE, HALF_LOCAL: CLOSED}
"""The state after a whole response was received."""


class WholeMessages(Inflow):
    """The part of a session that receives and sends them."""

    __slots__ = ()

    # -- received -------------------------------------------------------------------------------------------------

    def _on_open_headers(self, number: int, data: bytes | memoryview, start: int, at: int, end: int) -> int:
        """HEADERS without END_STREAM at data[start:at], and at least the head of a frame behind it, in data up to `end`. Returns
        where that ends which was processed."""
        word, flags, follows = read_head(data, at)
        size, first = word >> 8, at + HEAD_SIZE
        last = first + size
        block = bytes(data[start:at])
        if (
            word & 0xFF == DATA
            and flags <= END_STREAM
            and follows & LARGEST_ID == number
            and 0 < size <= self._largest_whole
            and last <= end
            and size <= self.receive_window
        ):
            if self._client:
                stream = self.streams.get(number)
                if stream is not None and (done := self._on_whole_response(stream, block, data, first, last, ends=flags)) > 0:
                    return done
            elif flags and number > self._last:
                return last if self._on_request_block(number, 0, block, data[first:last]) else at
        self._on_headers(END_HEADERS, number, block)
        return at

    def _on_whole_response(
        self, stream: Stream, block: bytes, data: bytes | memoryview, first: int, last: int, *, ends: int
    ) -> int:
        """A head that is known, content at data[first:last], and unless that `ends` the message, trailers that are known. Returns
        where they end; 0, without having done anything, if it is something else."""
        head = self._reader.heads.get(block)
        if head is None or stream.has_head or stream.bodiless or head.status < 200 or head.status in (204, 304):
            return 0
        size, state = last - first, _AFTER_RESPONSE.get(stream.state, NOT_ALLOWED)
        if size > stream.receive_window or state < 0 or 0 <= head.length != size:
            return 0
        trailers, end = NO_FIELDS, last
        if not ends:
            after = last + HEAD_SIZE
            if after > len(data):
                return 0
            word, flags, follows = read_head(data, last)
            end = after + (word >> 8)
            if word & 0xFF != HEADERS or flags != LAST_HEADERS or follows & LARGEST_ID != stream.id or end > len(data):
                return 0
            known = self._reader.trailers.get(bytes(data[after:end]))
            if known is None:
                return 0
            trailers = known
        self._units -= 1 if ends else 2
        stream.has_head = True
        stream.state = state
        self.receive_window -= size
        stream.unconsumed = size
        stream.sink.on_message(head, data[first:last], trailers)
        self._owed += stream.unconsumed  # its user keeps no more of it than it would anyway
        stream.unconsumed = 0
        if self._owed * 2 >= self.config.connection_window:
            self._owe(0)
        if state == CLOSED:
            self._finish(stream)
        return end

    # -- sent -----------------------------------------------------------------------------------------------------

    def send_message(
        self, stream: Stream, fields: Fields, data: bytes | memoryview, trailers: Fields = NO_FIELDS, deadline: bytes = b""
    ) -> None:
        """Send a head and all of its content, which must not be empty, with the trailers that follow it. Check
        `stream.congested` afterwards. No effect if the stream has ended."""
        size, state = len(data), _AFTER[stream.state]
        if (
            size > stream.send_window
            or size > self.send_window
            or size > self._frame
            or self._ready
            or self.held
            or stream.queue is not None
            or self._out_size >= OUTPUT_BYTES
            or state < 0
        ):
            self._send_in_parts(stream, fields, data, trailers, deadline)
            return
        writer, most, number = self._writer, self._frame, stream.id
        block = writer.block if fields is writer.fields else writer.find(fields)
        if deadline:
            block += deadline_literal(deadline)
        last = b""
        if trailers:
            last = writer.tail if trailers is writer.trailers else writer.find_tail(trailers)
        if len(block) > most or len(last) > most:
            self._put_large_block(number, block, 0)
            self._put(pack_head(size << 8 | DATA, 0 if last else END_STREAM, number) + data)
            if last:
                self._put_large_block(number, last, END_STREAM)
        else:
            head = pack_head(len(block) << 8 | HEADERS, END_HEADERS, number)
            if last:
                content, end = pack_head(size << 8 | DATA, 0, number), pack_head(len(last) << 8 | HEADERS, LAST_HEADERS, number)
                piece = b"".join((head, block, content, data, end, last))
            else:
                piece = b"".join((head, block, pack_head(size << 8 | DATA, END_STREAM, number), data))
            if not self._out:
                self._owner.on_output()
            self._out.append(piece)
            self._out_size += len(piece)
        self.send_window -= size
        self.progress += 2
        stream.state = state
        if state == CLOSED:
            self._finish(stream)
        else:
            stream.send_window -= size

    def _send_in_parts(self, stream: Stream, fields: Fields, data: bytes | memoryview, trailers: Fields, deadline: bytes) -> None:
        if stream.state == IDLE:
            self._write_headers(stream, OPEN, fields, frozenset(), deadline=deadline)
        else:
            self.send_headers(stream, fields)
        self.send_data(stream, data, end=not trailers)
        if trailers:
            self.send_trailers(stream, trailers)
