"""Playbooks for one side of the HTTP/1 codec: lines that begin with ">" are inputs, lines that begin with "<" are expected
outputs, to the peer ("out", "eof", "closed", "reset") or to the exchange.

In memory, on a clock that only the playbook moves. An input is a verb of a stage; a line that begins with "=" is the state after
it. Bytes are written as in Python literals; in outputs a bar means a line end, and three dots mean any rest.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from interceptor.core.deadlines import Deadlines
from interceptor.core.messages import Field, Fields, Request, Response
from interceptor.transport.tcp import Outbox
from tests.support.proxy_memory import MockTransport

__all__ = ["ForeignRequest", "ForeignResponse", "NotingTransport", "Stage", "bytes_of", "cells", "events_of_exchange", "play"]

_DATE = re.compile(rb"Date: [^\r]*\r\n")
_LONG = 300
_SENT_LAST = slice(44, 48)

_OF_EXCHANGES = re.compile(r"(?:tunnel )?(?:lost|pause|resume|data|end|x|deadline|body|broken|bulk|wind down)\b")
"""Events of an exchange or a tunnel, without their numbers."""

S = TypeVar("S", bound="Stage")


class ForeignRequest(Request):
    """Of a protocol that HTTP/1 knows nothing of."""

    own: Fields = ()

    def fields(self, peer: bytes, *, trusted: bool) -> list[Field]:
        return list(self.own)


class ForeignResponse(Response):
    """Of a protocol that HTTP/1 knows nothing of."""

    own: Fields = ()

    def fields(self) -> list[Field]:
        return list(self.own)


def bytes_of(text: str) -> bytes:
    """The bytes of a word in a playbook."""
    return text.encode().decode("unicode_escape").encode("latin-1")


class NotingSocket:
    """A socket that records the options set by a connection, and answers its queries."""

    def __init__(self, outputs: list[str]) -> None:
        self._outputs = outputs
        self._guards = False
        """Whether closing it sends a reset."""
        self.stuck = 0.0
        """Seconds since the peer accepted any data."""

    def instead_of(self, quiet: socket.socket) -> NotingSocket:
        """Take the place of a socket with nothing to read."""
        self.fileno = quiet.fileno
        return self

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        guards = value[:1] == b"\1"
        if guards != self._guards:
            self._guards = guards
            self._outputs.append("guard on" if guards else "guard off")

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        info = bytearray(size)
        info[_SENT_LAST] = int(self.stuck * 1000).to_bytes(4, "little")
        return bytes(info)


class NotingTransport(MockTransport):
    """Records what is sent to the peer."""

    def __init__(self, protocol: asyncio.BufferedProtocol, outputs: list[str], *, unread: bool = False) -> None:
        self._notes = outputs
        self.socket = NotingSocket(outputs)
        super().__init__(protocol, unread=unread)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        found = super().get_extra_info(name, default)
        return self.socket.instead_of(found) if name == "socket" else found

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self.closing:
            data = _DATE.sub(b"", bytes(data))
            text = data.decode("latin-1").replace("\r\n", "|")
            self._notes.append(f"out {text if len(text) < _LONG else f'{len(data)} bytes'}".rstrip())
        super().write(data)

    def write_eof(self) -> None:
        if not self.ended:
            self._notes.append("eof")
        super().write_eof()

    def close(self) -> None:
        if not self.closing:
            self._notes.append("reset" if self.aborted else "closed")
        super().close()


class Stage:
    """One connection, with the clock and the work left for later turns."""

    transport: NotingTransport

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self.now = 0.0
        self.clock: Callable[[], float] = lambda: self.now
        self.outbox = Outbox()
        self.deadlines = Deadlines(0.1, now=0.0)

    def note(self, what: str) -> None:
        self.outputs.append(what)

    async def settle(self) -> None:
        """Wait until all scheduled callbacks have run."""
        for _ in range(3):
            await asyncio.sleep(0)
        while self.outbox.backlog:  # noqa: ASYNC110 -- it has its part of every turn, and there is nothing else
            await asyncio.sleep(0)

    # -- the peer's actions ---------------------------------------------------------------------------------------

    def feed(self, *words: str) -> None:
        self.transport.feed(bytes_of(" ".join(words)))

    def feed_bytes(self, count: str) -> None:
        self.transport.feed(b"x" * int(count))

    def eof(self) -> None:
        self.transport.feed_eof()

    def stops_taking(self) -> None:
        self.transport.stop_taking()

    def takes_all(self) -> None:
        self.transport.go_on_taking()

    def reading(self) -> None:
        """Record whether the connection reads."""
        self.note("paused" if self.transport.paused else "read")

    def stuck(self, seconds: str) -> None:
        self.transport.socket.stuck = float(seconds)

    def at(self, seconds: str) -> None:
        """Set the time."""
        self.now = float(seconds)
        self.deadlines.sweep(self.now)

    # -- in between -----------------------------------------------------------------------------------------------

    def state(self) -> str:
        raise NotImplementedError


async def play(stage: S, script: str) -> S:
    """Run a playbook. Fails at the first expected line that is missing or different."""
    for number, line in enumerate(each.strip() for each in script.strip().splitlines()):
        if not line:
            continue
        kind, _, text = line.partition(" ")
        if kind == ">":
            assert stage.outputs == [], f"{stage.outputs} came before {line!r}"
            verb, *words = text.split(" ")
            getattr(stage, verb)(*words)
            await stage.settle()
        elif kind == "<":
            assert stage.outputs, f"{text!r} did not come; state {stage.state()}"
            output = stage.outputs.pop(0)
            assert output == text or (text.endswith("...") and output.startswith(text[:-3])), f"line {number + 1}: {output}"
        else:
            assert stage.state() == text, f"{line}: {stage.state()}"
    assert stage.outputs == [], f"{stage.outputs} came last"
    return stage


def cells(table: str) -> list[tuple[str, str, str]]:
    """The cells of a table of states by inputs: state, input, and expected result. A dash marks an input that cannot occur."""
    first, *rows = ([cell.strip() for cell in line.split("|")] for line in table.strip("\n").splitlines())
    return [(row[0], what, cell) for row in rows for what, cell in zip(first[1:], row[1:], strict=True) if cell != "-"]


async def events_of_exchange(stage: Stage, comes: str) -> str:
    """The state after an input, and the events of the exchange."""
    verb, *words = comes.split(" ")
    getattr(stage, verb)(*words)
    await stage.settle()
    outputs = [found[0] for line in stage.outputs if (found := _OF_EXCHANGES.match(line))]
    stage.outputs.clear()
    return " ".join([stage.state(), *outputs])
