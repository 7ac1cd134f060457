"""Where the network cuts a stream means nothing: every split of requests and answers gives the same bytes at both ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.proxy_memory import MemoryProxy, MockTransport
from tests.support.raw_requests import get, post
from tests.support.strict_reader import NotStrict, read_request, read_requests, read_response
from tests.wire.proxy_backend import BackendPeer, ok
from tests.wire.proxy_rig import proxy_rig
from tests.wire.proxy_smuggling import CASES

Cut = Callable[[bytes], list[bytes]]

REQUESTS = {
    "plain": get(b"/a?b=c", b"Accept: */*"),
    "pipelined": get(b"/1") + get(b"/2", method=b"OPTIONS") + post(b"body", b"/3") + get(b"/4"),
    "length": post(b"hello world", b"/", b"X-Forwarded-For: 203.0.113.9"),
    "chunked": get(b"/", b"Transfer-Encoding: chunked", method=b"PUT")
    + b'5;a="b;c"\r\nhello\r\n1\r\n \r\n00A\r\n0123456789\r\n0\r\nX-T: u\r\nContent-Length: 3\r\n\r\n'
    + get(b"/next"),
    "head": get(method=b"HEAD") + get(b"/after"),
    "old": get(b"/", version=b"1.0"),
    "old and kept": get(b"/1", b"Connection: keep-alive", version=b"1.0") + get(b"/2", version=b"1.0"),
    "expect": post(b"body", b"/", b"Expect: 100-continue"),
    "close": get(b"/", b"Connection: close") + get(b"/never"),
    "empty lines": b"\r\n\r\n" + get() + b"\r\n" + get(b"/2"),
    "unknown host": get(host=b"nobody.test") + get(),
}

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = {
    "length": ok(b"hello", b"Server: x"),
    "empty": ok(b""),
    "chunked": CHUNKED + b"3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"1\r\na\r\n0\r\nX-T: u\r\nSet-Cookie: no\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok(b"hello"),
    "no content": b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: x\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    "keep-alive": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    "malformed head": b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n",
}
BODILESS = ("no content", "not modified", "empty")
"""Answers that suit a HEAD request too."""

DATE = re.compile(rb"Date: [^\r]*")
"""Of the proxy's own answers: the time of day is another one for every split."""


@dataclass(frozen=True)
class Outcome:
    """All that can be seen from outside."""

    client: bytes
    backends: tuple[bytes, ...]
    closed: bool
    balanced: bool
    load: int


def whole(data: bytes) -> list[bytes]:
    return [data]


def at(*positions: int) -> Cut:
    """Cut there, as far as there is that much."""

    def cut(data: bytes) -> list[bytes]:
        ends = sorted({position % len(data) for position in positions} | {0, len(data)})
        return [data[start:end] for start, end in pairwise(ends)]

    return cut


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


async def run(request: bytes, answer: bytes, cut_request: Cut, cut_answer: Cut) -> Outcome:
    """Send the requests, then answer each that a backend got whole, until there is none."""
    memory = MemoryProxy()
    client = memory.connect()
    await memory.deliver(client, cut_request(request))
    answered: dict[MockTransport, int] = {}
    while (backend := unanswered(memory, answered)) is not None:
        await memory.deliver(backend, cut_answer(answer))
    seen = tuple(memory.received)
    client.close()
    await memory.turn()
    written = DATE.sub(b"Date: then", bytes(client.written))
    return Outcome(written, seen, client.ended or client.aborted, memory.ledger.balanced(), memory.endpoint.load)


def unanswered(memory: MemoryProxy, answered: dict[MockTransport, int]) -> MockTransport | None:
    for transport in memory.backends:
        if transport.written and not transport.closing:
            count = len(read_requests(bytes(transport.written))[0])
            if count > answered.get(transport, 0):
                answered[transport] = count
                return transport
    return None


def pairs() -> list[tuple[bytes, bytes]]:
    """Every request with an answer that suits it, and every answer with a plain request."""
    found = [(wire, ANSWERS["no content" if name == "head" else "length"]) for name, wire in REQUESTS.items()]
    found += [(REQUESTS["plain"], answer) for answer in ANSWERS.values()]
    found += [(REQUESTS["head"], ANSWERS[name]) for name in BODILESS]
    return found + [(REQUESTS["old"], ANSWERS[name]) for name in ("chunked", "trailers", "interim", "keep-alive")]


async def test_every_single_split_gives_the_same() -> None:
    for request, answer in pairs():
        expected = await run(request, answer, whole, whole)
        assert expected.client
        assert (expected.balanced, expected.load) == (True, 0)
        for position in range(1, len(request)):
            assert await run(request, answer, at(position), whole) == expected, request[:position]
        for position in range(1, len(answer)):
            assert await run(request, answer, whole, at(position)) == expected, answer[:position]


async def test_byte_by_byte_gives_the_same() -> None:
    for request, answer in pairs():
        assert await run(request, answer, bytewise, bytewise) == await run(request, answer, whole, whole)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize(("of_request", "most"), [(True, 256), (False, 1024)])
async def test_a_head_has_as_many_fields_whole_as_in_parts(of_request: bool, most: int, more: int) -> None:
    """Plain as it may be otherwise: what arrives whole is looked at in another way than what does not."""
    own = b"Host: a.test" if of_request else b"Content-Length: 2"
    fields = b"\r\n".join([own, *[b"a:"] * (most - 1 + more)]) + b"\r\n\r\n"
    request = b"GET / HTTP/1.1\r\n" + fields if of_request else get()
    answer = ok() if of_request else b"HTTP/1.1 200 OK\r\n" + fields + b"ok"
    expected = await run(request, answer, whole, whole)
    status = (b"431" if of_request else b"502") if more else b"200"
    assert expected.client.startswith(b"HTTP/1.1 " + status)
    for cut in (at(20), at(len(fields) // 2), at(len(fields))):
        found = await run(request, answer, cut if of_request else whole, whole if of_request else cut)
        assert found.client.startswith(b"HTTP/1.1 " + status)


CUTS = st.lists(st.integers(0, 2000), max_size=8)


@settings(max_examples=300)
@given(st.sampled_from(pairs()), CUTS, CUTS)
def test_any_splits_give_the_same(pair: tuple[bytes, bytes], request_cuts: list[int], answer_cuts: list[int]) -> None:
    async def compare() -> None:
        assert await run(*pair, at(*request_cuts), at(*answer_cuts)) == await run(*pair, whole, whole)

    asyncio.run(compare())


def verdict(outcome: Outcome) -> tuple[list[tuple[bytes, bytes, bytes]], list[str], bool]:
    """What was told apart: the whole requests that backends got, and whether each answer was one of theirs or a refusal.

    A refusal's words may differ: half a head can be known to be wrong before the rest has come.
    """
    requests = [message for seen in outcome.backends for message in read_requests(seen)[0]]
    kinds = []
    data = outcome.client
    while data:
        found = read_response(data, closed=True)
        assert found is not None
        message, data = found
        kinds.append("refused" if message.status >= 400 else "answered")
    return [(message.method, message.target, message.body) for message in requests], kinds, outcome.closed


async def test_every_split_of_smuggling_heads_gives_the_same_verdict() -> None:
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    for case in CASES:
        wire = case.wire if len(case.wire) < 2000 else b""
        expected = verdict(await run(case.wire, answer, whole, whole))
        assert expected[0] == list(case.expect), case.name
        assert expected[1] == ["answered"] * len(case.expect) + ["refused"] * case.refused, case.name
        for position in range(1, len(wire), 3):
            assert verdict(await run(wire, answer, at(position), whole)) == expected, (case.name, wire[:position])
        assert verdict(await run(wire or case.wire, answer, bytewise, whole)) == expected, case.name


async def test_splits_over_real_sockets() -> None:
    """The same corpus once over TCP, in pieces of one, two and seven bytes."""

    async def slowly(peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            for part in bytewise(ok(message.target + message.body)):
                peer.send(part)
                await asyncio.sleep(0)

    async with proxy_rig(slowly) as rig:
        for size in (1, 2, 7):
            client = await rig.client()
            await client.send_slowly(REQUESTS["pipelined"] + REQUESTS["chunked"], size)
            bodies = [(await client.response()).body for _ in range(6)]
            assert bodies == [b"/1", b"/2", b"/3body", b"/4", b"/hello 0123456789", b"/next"]


def test_the_corpus_is_strict() -> None:
    """What the corpus sends is what a strict reader takes, but for the old version and empty lines, which it does not know."""
    loose = {"old", "old and kept", "empty lines", "chunked"}
    for name, wire in REQUESTS.items():
        try:
            assert read_request(wire) is not None
        except NotStrict:
            assert name in loose


def test_cuts_lose_nothing() -> None:
    cuts: Sequence[Cut] = (whole, bytewise, at(3), at(1, 5, 9))
    assert all(b"".join(cut(b"0123456789")) == b"0123456789" for cut in cuts)
