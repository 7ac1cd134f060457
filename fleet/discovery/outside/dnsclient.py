"""One question to one name server: over UDP, and over TCP when the answer does not fit (RFC 1035, RFC 7766)."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final, Protocol

from fleet.discovery.outside.dnswire import MAX_MESSAGE, Answer, WireError, parse_answer, query

__all__ = ["DNS_PORT", "Ask", "AskError", "ask"]

DNS_PORT: Final = 53
MAX_STRAY: Final = 16
"""Datagrams that are no answer to the question, after which it is given up: somebody guesses."""


class AskError(Exception):
    """A server gave no answer. One line."""


class Ask(Protocol):
    """How a question is put. Raises AskError."""

    async def __call__(self, server: str, port: int, name: bytes, kind: int, *, seconds: float) -> Answer: ...


async def ask(server: str, port: int, name: bytes, kind: int, *, seconds: float) -> Answer:
    """Ask once. The socket, so its port, and the number are new for each question, and both have to fit in the answer."""
    number = secrets.randbelow(1 << 16)
    try:
        async with asyncio.timeout(seconds):
            answer = await _by_udp(server, port, number, name, kind)
            if answer.truncated:
                answer = await _by_tcp(server, port, number, name, kind)
    except TimeoutError as error:
        raise AskError(f"no answer within {seconds:g} s") from error
    except OSError as error:
        raise AskError(error.strerror or str(error) or type(error).__name__) from error
    except (WireError, EOFError) as error:
        raise AskError(f"a malformed answer: {error}") from error
    return answer


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the answer to one question."""

    def __init__(self, number: int, name: bytes, kind: int) -> None:
        self._asked = (number, name, kind)
        self._stray = 0
        self._transport: asyncio.BaseTransport | None = None
        self._closed = False
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._closed:
            transport.close()

    def close(self) -> None:
        """Close the socket, also one that is only being opened: uvloop leaves it open if that is cancelled."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()
        if self.answer.done() and not self.answer.cancelled():
            self.answer.exception()  # it is reported by the call, or not needed any more

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.answer.done():
            return
        try:
            found = parse_answer(data, *self._asked) if len(data) <= MAX_MESSAGE else None
        except WireError as error:
            self.answer.set_exception(error)
            return
        if found is not None:
            self.answer.set_result(found)
            return
        self._stray += 1
        if self._stray >= MAX_STRAY:
            self.answer.set_exception(WireError("only answers to other questions"))

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _by_udp(server: str, port: int, number: int, name: bytes, kind: int) -> Answer:
    loop = asyncio.get_running_loop()
    protocol = _Datagrams(number, name, kind)
    try:
        # A connected socket: the kernel drops what comes from anywhere else, and reports a closed port.
        transport, _ = await loop.create_datagram_endpoint(lambda: protocol, remote_addr=(server, port))
        transport.sendto(query(number, name, kind))
        return await protocol.answer
    finally:
        protocol.close()


async def _by_tcp(server: str, port: int, number: int, name: bytes, kind: int) -> Answer:
    reader, writer = await asyncio.open_connection(server, port, limit=MAX_MESSAGE)
    try:
        question = query(number, name, kind)
        writer.write(len(question).to_bytes(2, "big") + question)
        length = int.from_bytes(await reader.readexactly(2), "big")
        if length > MAX_MESSAGE:
            raise WireError(f"{length} bytes, at most {MAX_MESSAGE} are read")
        answer = parse_answer(await reader.readexactly(length), number, name, kind)
    finally:
        writer.transport.abort()
    if answer is None:
        raise WireError("it is for another question")
    if answer.truncated:
        raise WireError("it is truncated over TCP too")
    return answer
