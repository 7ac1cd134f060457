"""Conversations with one end of the codec of HTTP/1, as text: lines that begin with ">" go in, and those that begin with "<" must
come out of it, to the peer ("out", "eof", "closed", "reset") or to the exchange.

In memory, on a clock that only a playbook moves. What goes in is a verb of a stage; a line that begins with "=" is the state
after it. Bytes stand in lines as in literals of Python; in what comes out a line's end is a bar, and three dots are any rest.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from interceptor.core.deadlines import Deadlines
from interceptor.transport.tcp import Outbox
from tests.support.proxy_memory import MockTransport

__all__ = ["NotingTransport", "Stage", "bytes_of", "play"]

_DATE = re.compile(rb"Date: [^\r]*\r\n")
_LONG = 300
_SENT_LAST = slice(44, 48)

S = TypeVar("S", bound="Stage")


def bytes_of(text: str) -> bytes:
    """As written in a playbook."""
    return text.encode().decode("unicode_escape").encode("latin-1")


class NotingSocket:
    """What a connection asks its socket, and sets."""

    def __init__(self, told: list[str]) -> None:
        self._told = told
        self._guards = False
        """Whether closing it resets."""
        self.stuck = 0.0
        """Seconds since the peer took anything."""

    def instead_of(self, quiet: socket.socket) -> NotingSocket:
        """One of which nothing can be read."""
        self.fileno = quiet.fileno
        return self

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        guards = value[:1] == b"\1"
        if guards != self._guards:
            self._guards = guards
            self._told.append("guard on" if guards else "guard off")

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        info = bytearray(size)
        info[_SENT_LAST] = int(self.stuck * 1000).to_bytes(4, "little")
        return bytes(info)


class NotingTransport(MockTransport):
    """Notes what goes to the peer."""

    def __init__(self, protocol: asyncio.BufferedProtocol, told: list[str]) -> None:
        self._notes = told
        self.socket = NotingSocket(told)
        super().__init__(protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        found = super().get_extra_info(name, default)
        return self.socket.instead_of(found) if name == "socket" else found

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self.closing:
            data = _DATE.sub(b"", bytes(data))
            text = data.decode("latin-1").replace("\r\n", "|")
            self._notes.append(f"out {text if len(text) < _LONG else f'{len(data)} bytes'}")
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
    """One connection, with the time and what is left for later turns."""

    transport: NotingTransport

    def __init__(self) -> None:
        self.told: list[str] = []
        self.now = 0.0
        self.clock: Callable[[], float] = lambda: self.now
        self.outbox = Outbox()
        self.deadlines = Deadlines(0.1, now=0.0)

    def note(self, what: str) -> None:
        self.told.append(what)

    async def settle(self) -> None:
        """What was set off has happened."""
        for _ in range(3):
            await asyncio.sleep(0)
        while self.outbox.backlog:  # noqa: ASYNC110 -- it has its part of every turn, and there is nothing else
            await asyncio.sleep(0)

    # -- what the peer does ---------------------------------------------------------------------------------------

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

    def stuck(self, seconds: str) -> None:
        self.transport.socket.stuck = float(seconds)

    def at(self, seconds: str) -> None:
        """The time is this."""
        self.now = float(seconds)
        self.deadlines.sweep(self.now)

    # -- in between -----------------------------------------------------------------------------------------------

    def state(self) -> str:
        raise NotImplementedError


async def play(stage: S, script: str) -> S:
    """Fails at the first line that is not met."""
    for number, line in enumerate(each.strip() for each in script.strip().splitlines()):
        if not line:
            continue
        kind, _, text = line.partition(" ")
        if kind == ">":
            assert stage.told == [], f"{stage.told} came before {line!r}"
            verb, *words = text.split(" ")
            getattr(stage, verb)(*words)
            await stage.settle()
        elif kind == "<":
            assert stage.told, f"{text!r} did not come; state {stage.state()}"
            told = stage.told.pop(0)
            assert told == text or (text.endswith("...") and told.startswith(text[:-3])), f"line {number + 1}: {told}"
        else:
            assert stage.state() == text, f"{line}: {stage.state()}"
    assert stage.told == [], f"{stage.told} came last"
    return stage
