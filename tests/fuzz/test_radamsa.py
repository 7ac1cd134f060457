"""A whole interceptor on loopback, fed by radamsa from both sides: whatever comes, everybody else is served as before.

Radamsa mutates by what it guesses of the structure of its input, in ways that nobody here has thought of. After each message a
good request on a fresh connection must be answered, and at the end nothing may be left. The seeds count up, so every run tries
the same messages; with WEIR_FULL_SIZE=1 as many as fit into ten minutes, half of them on each event loop.
"""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import count, islice
from time import monotonic, process_time
from typing import Any

import pytest
import uvloop

from tests.fuzz.test_heads import BODY_SEEDS, REQUEST_SEEDS, RESPONSE_SEEDS
from tests.support.full import FULL
from tests.support.judge import judged_answer
from tests.support.raw_requests import get
from tests.support.strict_reader import NotStrict, read_response
from tests.wire.proxy_backend import BackendPeer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

# pyproject.toml installs it where there is a wheel: it is published for no other platform, and not as source.
if (sys.platform, platform.machine()) == ("linux", "x86_64"):
    Radamsa: Any = import_module("pyradamsa").Radamsa  # which has no types
else:
    pytest.skip(
        f"pyradamsa is built for Linux on x86_64 only, not for {sys.platform} on {platform.machine()}", allow_module_level=True
    )

MESSAGES = 250
"""Of each test on each loop. With WEIR_FULL_SIZE=1 the time is what ends them."""
SECONDS = 150.0
FAR = 10_000_000
"""Between the seeds of tests that shall not try the same."""
ROUND = 250
"""Messages to one interceptor, after which it must have nothing left."""
MOST_BYTES = 16 * 1024
"""Of a message: it goes out in one piece, so that no part of it is taken for what comes after it."""
MOST_SECONDS = 0.5
"""Of processor time for one message, and a good request behind it, on both sides: some thousandths are usual."""

pytestmark = pytest.mark.timeout(400 if FULL else 120)

CHUNKED = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# What a client sends has no HEAD, so that an answer can be read without knowing to what.
REQUESTS = [*(seed for seed in REQUEST_SEEDS if b"HEAD" not in seed.upper()), *(CHUNKED + body for body in BODY_SEEDS)]
RESPONSES = [*(head + b"hello" for head in RESPONSE_SEEDS), *(ANSWERED + body for body in BODY_SEEDS)]


def messages(seeds: Sequence[bytes], first: int) -> Iterator[bytes]:
    radamsa = Radamsa()
    for number in count(first):
        data: bytes = radamsa.fuzz(seeds[number % len(seeds)], seed=number, max_mut=MOST_BYTES)
        if data:
            yield data


def rounds(seeds: Sequence[bytes], first: int) -> Iterator[list[bytes]]:
    loop_of_product = isinstance(asyncio.get_running_loop(), uvloop.Loop)
    made = messages(seeds, first + (FAR if FULL and loop_of_product else 0))
    if not FULL:
        yield list(islice(made, MESSAGES))
        return
    end = monotonic() + SECONDS
    while monotonic() < end:
        yield list(islice(made, ROUND))


def read_all(data: bytes) -> int:
    """Read what a client got. Returns the number of whole final answers; what is left over must be the beginning of one."""
    answers = 0
    while data:
        found = read_response(data, closed=True)
        if found is None:
            return answers
        message, rest = found
        judged, left = judged_answer(data, upgrade=message.status == 101)
        assert (judged.status, judged.body, left) == (message.status, message.body, rest)
        answers += message.status >= 200
        data = rest
    return answers


async def good_request(rig: Rig) -> None:
    client = await rig.client()
    answer = await client.ask(get(b"/good"))
    assert (answer.status, answer.body) == (200, b"good")
    client.close()
    rig.clients.remove(client)


async def leave(rig: Rig, client: RawClient) -> None:
    client.close()
    rig.clients.remove(client)
    await eventually(lambda: rig.ledger.outstanding == 0)
    assert not rig.faults


async def answer_all(peer: BackendPeer) -> None:
    while True:
        message = await peer.request()
        peer.send(ok(b"good" if message.target == b"/good" else b"fuzzed"))


async def test_whatever_clients_send() -> None:
    answered = 0
    for batch in rounds(REQUESTS, 1):
        async with proxy_rig(answer_all) as rig:
            for data in batch:
                start = process_time()
                client = await rig.client()
                client.send(data)
                await good_request(rig)
                client.writer.write_eof()
                received = await client.read_to_end()
                try:
                    answered += read_all(received)
                    await leave(rig, client)
                except (AssertionError, NotStrict) as error:
                    raise AssertionError(f"after {data!r} came {received!r}") from error
                assert process_time() - start < MOST_SECONDS, data
    assert answered > MESSAGES / 4


class Fuzzing:
    """Answers requests for /fuzzed with what a test sets, and all others well."""

    def __init__(self) -> None:
        self.data = b""
        self.peers: list[BackendPeer] = []

    async def __call__(self, peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            if message.target == b"/fuzzed":
                self.peers.append(peer)
                peer.send(self.data)
            else:
                peer.send(ok(b"good"))

    def end(self) -> None:
        """Close, as an answer may have no other end."""
        for peer in self.peers:
            peer.close()
        self.peers.clear()


async def test_whatever_backends_answer() -> None:
    passed = 0
    script = Fuzzing()
    for batch in rounds(RESPONSES, 2 * FAR):
        async with proxy_rig(script) as rig:
            for data in batch:
                start = process_time()
                script.data = data
                client = await rig.client()
                client.send(get(b"/fuzzed", b"Connection: close", method=b"POST"))
                await eventually(lambda: script.peers)
                await good_request(rig)
                script.end()
                received = await client.read_to_end()
                try:
                    passed += read_all(received)
                    await leave(rig, client)
                except (AssertionError, NotStrict) as error:
                    raise AssertionError(f"after {data!r} came {received!r}") from error
                assert process_time() - start < MOST_SECONDS, data
    assert passed > MESSAGES / 4


def test_every_run_tries_the_same() -> None:
    def some() -> list[bytes]:
        return list(islice(messages(REQUESTS, 1), 50))

    first: Any = some()
    assert first == some()
    assert len(set(first)) > 40
