"""Large bodies, which pass the proxy inside the kernel: whole, in order, and never mixed with one another."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from tests.support.raw_requests import get, post
from tests.support.waiting import turns
from tests.wire.proxy_backend import BackendPeer, Script, answer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import eventually, proxy_rig

LARGE = 3 << 20


def body(seed: int, size: int = LARGE) -> bytes:
    """No two parts of it are alike, and no two bodies."""
    return random.Random(seed).randbytes(size)


def bodies() -> Script:
    """/N answers with body N; a request with a body is answered with its digest."""

    async def script(peer: BackendPeer) -> None:
        while True:
            request = await peer.request()
            seed = int(request.target[1:])
            peer.send(ok(hashlib.sha256(request.body).hexdigest().encode() if request.body else body(seed)))

    return script


async def test_bodies_under_way_at_once_do_not_mix() -> None:
    async with proxy_rig(bodies()) as rig:

        async def download(seed: int) -> bool:
            client = await rig.client()
            return all([(await client.ask(get(b"/%d" % seed))).body == body(seed) for _ in range(2)])

        async def upload(seed: int) -> bool:
            client = await rig.client()
            sent = [await client.ask(post(body(seed), b"/%d" % seed), b"POST") for _ in range(2)]
            return {one.body for one in sent} == {hashlib.sha256(body(seed)).hexdigest().encode()}

        assert all(await asyncio.gather(*map(download, range(4)), *map(upload, range(4, 8))))


async def test_clients_that_leave_take_nobody_elses_bytes_along() -> None:
    """Also what was in the pipe for them must not reach who comes next."""
    async with proxy_rig(bodies()) as rig:
        for seed in range(12):
            leaving, staying = await rig.client(receive_buffer=8192), await rig.client()
            leaving.send(get(b"/%d" % seed))
            await leaving.read_some()
            asked = asyncio.create_task(staying.ask(get(b"/%d" % (seed + 100))))
            await turns()
            if seed % 2:
                leaving.reset()
            else:
                leaving.close()
            assert (await asked).body == body(seed + 100)


@pytest.mark.parametrize("size", [1 << 10, 70 << 10, 600 << 10, LARGE])
async def test_a_slow_reader_gets_the_whole_of_it_from_little_memory(size: int) -> None:
    async with proxy_rig(answer(ok(body(1, size)))) as rig:
        client = await rig.client(receive_buffer=16 * 1024, limit=4096)
        client.send(get())
        most = 0
        while not client.received.endswith(body(1, size)[-64:]):
            (connection,) = rig.connections
            most = max(most, connection._transport.get_write_buffer_size())
            assert await client.read_some()
        assert (await client.response()).body == body(1, size)
        assert most <= 1 << 20
        assert (await client.ask(get())).status == 200


async def test_a_slow_backend_gets_the_whole_of_an_upload() -> None:
    taken = hashlib.sha256()

    async def slow(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        head, _, begun = bytes(peer.received).partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % LARGE in head
        taken.update(begun)
        left = LARGE - len(begun)
        while left:
            data = await peer.reader.read(32 * 1024)
            taken.update(data)
            left -= len(data)
            await asyncio.sleep(0)
        peer.send(ok())
        await peer.ended.wait()

    async with proxy_rig(backends=0) as rig:
        await rig.backend(slow, receive_buffer=8192)
        client = await rig.client()
        assert (await client.ask(post(body(2)), b"POST")).status == 200
        assert taken.digest() == hashlib.sha256(body(2)).digest()


@pytest.mark.parametrize("cut", [100_000, 1_000_000, LARGE - 1])
async def test_an_answer_that_is_cut_short_ends_with_a_cut(cut: int) -> None:
    async def short(peer: BackendPeer) -> None:
        await peer.request()
        wire = ok(body(3))
        peer.send(wire[: len(wire) - LARGE + cut])

    async with proxy_rig(short) as rig:
        client = await rig.client()
        client.send(get())
        with pytest.raises(ConnectionError):
            await client.response()
        got = client.received.partition(b"\r\n\r\n")[2]
        assert body(3).startswith(got)
        assert len(got) <= cut


async def test_bytes_after_the_body_reach_nobody() -> None:
    """A backend that sends more than it said is not used again, and what was too much goes nowhere."""
    async with proxy_rig(answer(ok(body(4)) + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")) as rig:
        client = await rig.client()
        for _ in range(3):
            assert (await client.ask(get())).body == body(4)
        assert not client.received
        await eventually(lambda: not rig.pooled)


async def test_a_request_sent_ahead_behind_an_upload_is_the_next_one() -> None:
    async with proxy_rig(bodies()) as rig:
        client: RawClient = await rig.client()
        client.send(post(body(5), b"/5") + get(b"/6") + post(body(7), b"/7"))
        digests = {seed: hashlib.sha256(body(seed)).hexdigest().encode() for seed in (5, 7)}
        assert (await client.response(b"POST")).body == digests[5]
        assert (await client.response()).body == body(6)
        assert (await client.response()).body == digests[7]
