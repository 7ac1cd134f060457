"""Known request-smuggling heads, over real sockets: a backend sees what the client legitimately sent, and nothing else."""

from __future__ import annotations

import asyncio

import h11
import pytest

from tests.support.raw_requests import get
from tests.support.strict_reader import read_requests, read_responses
from tests.wire.proxy_backend import BackendPeer, RawBackend, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig
from tests.wire.proxy_smuggling import CASES, SMUGGLED, Case, Sent

SENTINEL: Sent = (b"GET", b"/sentinel", b"")


async def tell_target(peer: BackendPeer) -> None:
    """Answer each request with its own target, so that an answer in the wrong place shows."""
    while True:
        message = await peer.request()
        body = b"" if message.method == b"HEAD" else message.target
        peer.send(ok(body) if message.method != b"HEAD" else b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")


def seen_strictly(backend: RawBackend) -> list[Sent]:
    return [(message.method, message.target, message.body) for message in backend.requests]


def seen_by_h11(backend: RawBackend) -> list[Sent]:
    """What a second, unrelated parser makes of the same bytes."""
    return [sent for peer in backend.peers for sent in _h11_requests(bytes(peer.received))]


def _h11_requests(data: bytes) -> list[Sent]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    found: list[Sent] = []
    method = target = body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            method, target, body = event.method, event.target, b""
            connection.send(h11.InformationalResponse(status_code=100, headers=[]))
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            found.append((method, target, body))
            connection.send(h11.Response(status_code=200, headers=[(b"Content-Length", b"0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return found
            connection.start_next_cycle()
        else:
            return found


def test_the_corpus_is_large_and_has_no_twins() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({case.wire for case in CASES}) == len(CASES)
    assert len(CASES) >= 40


async def offer(rig: Rig, case: Case) -> tuple[list[Sent], list[Sent]]:
    """Send a case on a connection of its own; returns what two readers say that the backend got."""
    backend = await rig.backend(tell_target, listed=False)
    rig.sources.set("default/a", [backend.backend])
    client = await rig.client()
    client.send(case.wire)
    methods = [method for method, _, _ in case.expect]
    expected = list(case.expect)
    if case.refused:
        received = await client.read_to_end()
        *answers, refusal = read_responses(received, [*methods, b"GET"], closed=True)
        assert refusal.status in (400, 414, 417, 431, 501, 505)
        assert refusal.get(b"connection") == b"close"
    else:
        answers = [await client.response(method) for method in methods]
        if answers[-1].get(b"connection") == b"close":
            assert await client.ends()
        else:
            echo = await client.ask(get(b"/sentinel"))
            assert echo.body == b"/sentinel"
            expected.append(SENTINEL)
    assert [answer.status for answer in answers] == [200] * len(methods)
    assert [answer.body for answer in answers] == [b"" if method == b"HEAD" else target for method, target, _ in case.expect]
    client.close()
    assert b"\r\nUpgrade:" not in backend.received or case.name in ("upgrade that is declined", "upgrade with a body")
    assert seen_strictly(backend) == expected
    return seen_strictly(backend), seen_by_h11(backend)


@pytest.mark.parametrize("part", range(4))
async def test_only_what_the_client_sent_reaches_the_backend(part: int) -> None:
    failures = []
    async with proxy_rig(backends=0) as rig:
        for case in CASES[part::4]:
            try:
                async with asyncio.timeout(60):
                    strict, other = await offer(rig, case)
                assert strict == other
            except (AssertionError, Exception) as error:  # noqa: BLE001 -- every case is tried, then all that failed are told
                failures.append((case.name, repr(error)))
    assert not failures, "\n".join(f"{name}: {why}" for name, why in failures)


async def test_bytes_that_reach_the_backend_are_never_those_of_a_refused_body() -> None:
    """What follows a broken chunk is dropped, not sent on in the hope that the backend knows better."""
    async with proxy_rig(tell_target) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST") + b"5\r\nhello\r\n")
        backend = rig.backends[0]
        await eventually(lambda: b"hello" in backend.received)
        client.send(b"5;\r\n" + SMUGGLED)
        (refusal,) = read_responses(await client.read_to_end(), [b"POST"], closed=True)
        assert refusal.status == 400
    assert b"smuggled" not in backend.received
    assert read_requests(backend.received)[0] == []
