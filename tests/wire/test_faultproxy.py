"""The fault proxy does what its plan says, at the byte where it says it: tests of others rest on that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.faultproxy import Act, Fault, FaultProxy, Plan, Way, drawn, every, first, sound
from tests.wire.proxy_backend import BackendPeer, RawBackend
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import eventually

SENT = b"0123456789"
ANSWER = b"abcdefghij"


async def exchange(peer: BackendPeer) -> None:
    """Answer each ten bytes, and half-close after the client did."""
    while True:
        await peer.read_until(SENT)
        peer._taken = len(peer.received)
        peer.send(ANSWER)


class Pair:
    """A server, the fault proxy before it, and clients that end with the test."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.server = RawBackend(exchange)
        self.clients: list[RawClient] = []

    async def start(self) -> None:
        await self.server.start()
        self.proxy = FaultProxy((self.server.backend.host, self.server.backend.port), self.plan)
        await self.proxy.start()

    async def client(self, *, send: bytes = SENT) -> RawClient:
        client = await RawClient.connect(self.proxy.port)
        self.clients.append(client)
        client.send(send)
        return client

    async def close(self) -> None:
        for client in self.clients:
            client.close()
        await self.proxy.close()
        await self.server.close()
        assert not self.proxy.live


@asynccontextmanager
async def between(plan: Plan) -> AsyncIterator[Pair]:
    pair = Pair(plan)
    await pair.start()
    try:
        yield pair
    finally:
        await pair.close()


async def came(client: RawClient) -> tuple[bytes, bool]:
    """All that comes before the end, and whether the end was a reset."""
    data = b""
    try:
        while piece := await asyncio.wait_for(client.reader.read(100), 60):
            data += piece
    except ConnectionResetError:
        return data, True
    return data, False


async def test_what_is_sound_passes_whole() -> None:
    async with between(sound) as pair:
        client = await pair.client(send=b"")
        for _ in range(2):
            client.send(SENT)
            assert await client.read_until(ANSWER) == ANSWER
        client.close()
        await eventually(lambda: not pair.proxy.live)
        assert pair.proxy.links[0].passed == {Way.TO_SERVER: SENT * 2, Way.TO_CLIENT: ANSWER * 2}
        assert pair.server.received == SENT * 2


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
@pytest.mark.parametrize("after", [1, 9])
async def test_an_end_comes_after_exactly_so_many_bytes(act: Act, after: int) -> None:
    async with between(every(Fault(act, Way.TO_CLIENT, after))) as pair:
        client = await pair.client()
        assert await came(client) == (ANSWER[:after], act is Act.RESET)
        await eventually(lambda: not pair.server.open)
        assert pair.server.received == SENT


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
async def test_what_is_not_sent_is_not_received(act: Act) -> None:
    async with between(every(Fault(act, Way.TO_SERVER, 4))) as pair:
        client = await pair.client()
        assert await came(client) == (b"", act is Act.RESET)
        await eventually(lambda: pair.server.peers and not pair.server.open)
        assert pair.server.received == SENT[:4]


async def test_an_end_at_the_first_byte_needs_no_server() -> None:
    async with between(first(Fault(Act.CUT), count=2)) as pair:
        for _ in range(2):
            assert await came(await pair.client()) == (b"", False)
        client = await pair.client()
        assert await client.read_until(ANSWER)
        assert len(pair.server.peers) == 1


@pytest.mark.parametrize("lazy", [False, True])
async def test_lazy_waits_for_one_more_byte(lazy: bool) -> None:
    async with between(every(Fault(Act.RESET, Way.TO_SERVER, len(SENT), lazy=lazy))) as pair:
        client = await pair.client()
        if lazy:
            assert await client.read_until(ANSWER) == ANSWER
            client.send(b"x")
        assert (await came(client))[1]
        assert pair.server.received == SENT


async def test_a_stall_holds_back_one_way_only() -> None:
    async with between(every(Fault(Act.STALL, Way.TO_CLIENT, 3))) as pair:
        client = await pair.client()
        await client.read_until(ANSWER[:3])
        client.send(SENT)
        await eventually(lambda: pair.server.received == SENT * 2)
        assert client.received == b""
        pair.proxy.strike(Act.CUT)
        assert await came(client) == (b"", False)


async def test_a_trickle_loses_nothing() -> None:
    async with between(every(Fault(Act.TRICKLE, Way.TO_CLIENT, 2, piece=1))) as pair:
        client = await pair.client()
        pieces: list[bytes] = []
        while len(b"".join(pieces)) < len(ANSWER):
            pieces.append(await client.reader.read(100))
        assert b"".join(pieces) == ANSWER
        assert len(pieces) > 3


@pytest.mark.parametrize("lazy", [False, True])
async def test_a_half_close_leaves_the_other_half(lazy: bool) -> None:
    async with between(every(Fault(Act.HALF_CLOSE, Way.TO_CLIENT, 4, lazy=lazy))) as pair:
        client = await pair.client()
        assert await came(client) == (ANSWER[:4], False)
        client.send(SENT)
        await eventually(lambda: pair.server.received == SENT * 2)


async def test_refuse_and_listen_again() -> None:
    async with between(sound) as pair:
        pair.proxy.refuse()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await pair.client()
        await pair.proxy.start()
        client = await pair.client()
        assert await client.read_until(ANSWER)


def test_what_is_drawn_is_the_same_every_time() -> None:
    one, other = drawn(1, 0.5, 100), drawn(2, 0.5, 100)
    assert [one(number) for number in range(50)] == [drawn(1, 0.5, 100)(number) for number in range(50)]
    assert [one(number) for number in range(50)] != [other(number) for number in range(50)]
    assert 10 < sum(bool(one(number)) for number in range(50)) < 40
