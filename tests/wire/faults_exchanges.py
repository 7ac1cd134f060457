"""Exchanges that are to be broken: what a client sends step by step, what an origin answers, and what a client then has.

Every request names itself, and every answer and body repeats that name: an answer that belongs to another request is seen.
Names are of one length, so that the same bytes of every exchange of a kind stand in the same places.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from tests.support.raw_requests import get, post
from tests.support.strict_reader import Message, read_response
from tests.wire.proxy_backend import BackendPeer, ok
from tests.wire.proxy_client import RawClient

__all__ = ["KINDS", "NAME", "READY", "Kind", "Origin", "Seen", "converse", "fill"]

NAME = b"@@@@@"
"""Stands for a request's name where bytes are the same for all."""
READY = b"/ready"
"""Is asked for by probes, and not counted."""
SMALL, LARGE = 300, 200_000
"""Bytes of bodies: one that comes in one read; one beyond what is kept for sending a request again."""
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


def fill(name: bytes, size: int) -> bytes:
    """A body that could be nobody else's."""
    return (name * (size // len(name) + 1))[:size]


def _ask(*fields: bytes, method: bytes = b"GET", path: bytes = b"/small/") -> bytes:
    return get(path + NAME, *fields, method=method, host=NAME + b".test")


def _send(body: bytes, path: bytes = b"/small/", *, method: bytes, chunked: bool = False) -> bytes:
    return post(body, path + NAME, method=method, chunked=chunked).replace(b"a.test", NAME + b".test")


def _expecting(method: bytes) -> bytes:
    return _ask(b"Expect: 100-continue", b"Content-Length: %d" % SMALL, method=method)


@dataclass(frozen=True)
class Kind:
    """One conversation: what is sent, in steps; each waits for the answer to the one before."""

    name: str
    steps: tuple[bytes, ...]
    method: bytes = b"GET"
    idempotent: bool = True
    replayed: bool = True
    """Whether the proxy keeps what it needs to send it again."""
    tunnel: bool = False

    def wires(self, name: bytes) -> list[bytes]:
        return [step.replace(NAME, name) for step in self.steps]


KINDS = (
    Kind("get", (_ask(),)),
    Kind("head", (_ask(method=b"HEAD"),), method=b"HEAD"),
    Kind("post", (_send(fill(NAME, SMALL), method=b"POST"),), method=b"POST", idempotent=False),
    Kind("chunked", (_send(fill(NAME, SMALL), b"/chunked/", method=b"PUT", chunked=True),), method=b"PUT"),
    Kind("large", (_send(fill(NAME, LARGE), b"/large/", method=b"PUT"),), method=b"PUT", replayed=False),
    Kind("second", (_ask(), _ask(path=b"/chunked/"))),
    Kind("expect", (_expecting(b"POST"), fill(NAME, SMALL)), method=b"POST", idempotent=False),
    Kind("expect again", (_expecting(b"PUT"), fill(NAME, SMALL)), method=b"PUT"),
    Kind(
        "tunnel",
        (_ask(b"Connection: Upgrade", b"Upgrade: echo"), b"ping " + NAME + b"\n", b"PING " + NAME + b"\n"),
        tunnel=True,
    ),
)


class Origin:
    """Answers requests of every kind, and keeps account of what it was asked."""

    def __init__(self) -> None:
        self.served: Counter[bytes] = Counter()
        """Whole requests by name."""
        self.mixed: list[bytes] = []
        """Bodies that were not what their request said."""

    async def __call__(self, peer: BackendPeer) -> None:
        while True:
            head = await peer.read_until(b"\r\n\r\n")
            if b"100-continue" in head:
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            message = await peer.request()
            if message.target == READY:
                peer.send(ok(b"ready"))
                continue
            name = message.target.rpartition(b"/")[2]
            self._note(name, message)
            if message.get(b"upgrade"):
                peer.send(SWITCH)
                await self._echo(peer)
                return
            peer.send(self._answer(name, message))

    def _note(self, name: bytes, message: Message) -> None:
        self.served[name] += 1
        if message.body != fill(name, len(message.body)) or not message.all(b"host")[0].startswith(name):
            self.mixed.append(name + b" got " + message.body[:40])

    @staticmethod
    def _answer(name: bytes, message: Message) -> bytes:
        if message.method == b"HEAD":
            return b"HTTP/1.1 200 OK\r\nDate: then\r\nX-Name: %b\r\nContent-Length: %d\r\n\r\n" % (name, SMALL)
        if message.target.startswith(b"/chunked/"):
            chunks = b"".join(b"%x\r\n%b\r\n" % (size, fill(name, size)) for size in (100, 200, 50))
            return b"HTTP/1.1 200 OK\r\nDate: then\r\nX-Name: %b\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (
                name,
                chunks,
            )
        return ok(fill(name, LARGE if message.target.startswith(b"/large/") else SMALL), b"X-Name: " + name)

    @staticmethod
    async def _echo(peer: BackendPeer) -> None:
        """Each line comes back, until the client has no more of them."""
        while True:
            line = await peer.read_until(b"\n")
            peer._taken += line.index(b"\n") + 1
            peer.send(b"pong to " + line[: line.index(b"\n") + 1])


@dataclass
class Seen:
    """What a client had of a conversation."""

    answers: list[bytes]
    """Bytes that came in each step."""
    ended: bool
    """The connection was ended by the other side."""
    seconds: float

    @property
    def received(self) -> bytes:
        return b"".join(self.answers)

    def outcome(self, expected: Sequence[bytes], kind: Kind) -> str:
        """ "whole", "cut" (nothing wrong, and an end before the end), "silent" (the same without an end), the status that the
        proxy answered in the backend's place, or "part" of such an answer. Everything else is "wrong"."""
        received, whole = self.received, b"".join(expected)
        if received == whole:
            return "whole"
        if whole.startswith(received):
            return "cut" if self.ended else "silent"
        for step in range(len(expected)):
            before = b"".join(expected[:step])
            rest = received.removeprefix(before) if received.startswith(before) else b""
            if refusal := _refusal(rest, kind.method):
                return str(refusal)
            said = rest.partition(b"\r\n\r\n")[2][:6]
            if rest.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) and b"weir: ".startswith(said):
                return "part"
        return "wrong"


def _refusal(data: bytes, method: bytes) -> int:
    """The status of the proxy's own answer. To a head that never came whole it has a body, whatever the method was to be."""
    found = read_response(data, b"GET" if b"\r\n\r\nweir: " in data else method)
    if found is None or found[1] or found[0].status < 400:
        return 0
    message = found[0]
    said = message.body.startswith(b"weir: ") and (method != b"HEAD" or message.get(b"connection") == b"close")
    return message.status if said or (method == b"HEAD" and not message.body) else 0


async def converse(client: RawClient, kind: Kind, name: bytes, expected: Sequence[bytes] = (), *, patience: float) -> Seen:
    """Go through the steps. With nothing expected, a step ends with its answer, and with its line in a tunnel."""
    began, answers = monotonic(), []
    for number, wire in enumerate(kind.wires(name)):
        client.send(wire)
        last = number == len(kind.steps) - 1
        want = expected[number].replace(NAME, name) if expected else b""
        answers.append(await _answer(client, kind, want, patience, tunnelled=kind.tunnel and number > 0, last=last))
        if client.closed or answers[-1] != (want or answers[-1]):
            break
    return Seen(answers, client.closed, monotonic() - began)


async def _answer(client: RawClient, kind: Kind, want: bytes, patience: float, *, tunnelled: bool, last: bool) -> bytes:
    came = b""
    try:
        async with asyncio.timeout(patience):
            while not _complete(came, kind, want, tunnelled=tunnelled, last=last):
                data, client.received = await client.read_some(), b""
                if not data:
                    break
                came += data
    except TimeoutError:
        pass
    return came


def _complete(came: bytes, kind: Kind, want: bytes, *, tunnelled: bool, last: bool) -> bool:
    if want:
        return came == want or (not want.startswith(came) and bool(_refusal(came, kind.method)))
    if tunnelled:
        return came.endswith(b"\n")
    found = read_response(came, kind.method)
    return found is not None and (found[0].status >= 200 or not last)
