"""Connections that have lived for a while: they do without transports of the event loop, and nobody can tell."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.firstbytes import FIRST_BYTES
from fleet.routing.route import Timeouts
from interceptor.exchange import stream_tunnel
from interceptor.exchange.stream_tunnel import MOST_RELAY_READS, RELAY_READS
from interceptor.transport.relay import RELAYED_READ, Relayed
from tests.support.calls import calls
from tests.support.loopback import APP
from tests.support.ports import free_port
from tests.support.sockets import reset
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import Peer, StreamRig, TcpServer, echo, port, port_route, stream_rig
from tests.wire.test_ports_tcp_cost import CLIENTS, SERVER, running

NUMBER = free_port()
CONNECTIONS = 500
LARGE = 32 * 1024 * 1024
"""More than all sockets take."""


class Stage:
    """Connections at one port, whose number of sockets without a transport is known."""

    def __init__(self, rig: StreamRig, server: TcpServer) -> None:
        self.rig, self.server = rig, server
        self.relay = rig.rig.interceptor.proxy.relay

    async def talk(self) -> Peer:
        """A new connection, relayed."""
        before = self.rig.clients
        peer = await self.rig.connect(NUMBER)
        peer.send(b"hello")
        assert await peer.read(5) == b"hello"
        (client,) = self.rig.clients - before
        self.relayed(client)
        return peer

    def relayed(self, client: Any) -> None:
        client._tunnel._relay()
        assert client._tunnel._relayed
        assert isinstance(client._transport, Relayed)

    async def answers(self, peer: Peer, *, relayed: bool = True) -> None:
        peer.send(b"again")
        assert await peer.read(5) == b"again"
        assert bool(len(self.relay)) == relayed


@contextlib.asynccontextmanager
async def stage(script: Any = echo, **fields: Any) -> AsyncIterator[Stage]:
    settings, timeouts = fields.pop("settings", {}), fields.pop("timeouts", Timeouts())
    async with stream_rig(port_route(port(NUMBER, **fields), timeouts=timeouts), **settings) as rig:
        made = Stage(rig, await rig.server(script))
        await rig.bound(NUMBER)
        yield made
    assert not len(made.relay)


async def test_long_bodies_give_way_to_connections_without_transports() -> None:
    async with stage() as made:
        outbox = made.rig.rig.interceptor.proxy.outbox
        peer = await made.talk()
        outbox.giving_way = 0.0
        await made.answers(peer)
        assert outbox.giving_way > 0.0


async def test_a_connection_goes_on_without_transports_after_a_silent_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 0.0)
    async with stage() as made:
        peer = await made.rig.connect(NUMBER)
        peer.send(b"hello")
        assert await peer.read(5) == b"hello"
        await eventually(lambda: len(made.relay) == 2)
        for _ in range(100):
            await made.answers(peer)
        peer.writer.write_eof()
        assert await peer.rest() == b""
        await eventually(lambda: made.server.open == 0)


async def test_one_that_talks_goes_on_without_transports_after_some_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 3600.0)  # not because it is silent
    async with stage() as made:
        peer = await made.rig.connect(NUMBER)
        await made.answers(peer, relayed=False)
        (client,) = made.rig.clients
        assert client._tunnel._reads in {RELAY_READS, RELAY_READS - 1}, "the first may have come before its backend was there"
        for _ in range(client._tunnel._reads - 1):
            await made.answers(peer, relayed=False)
        await made.answers(peer)
        for _ in range(100):
            await made.answers(peer)
        peer.writer.write_eof()
        assert await peer.rest() == b""
        await eventually(lambda: made.server.open == 0)


async def test_one_that_has_said_much_before_it_was_known_to_count_does_so_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 3600.0)
    async with stage(first_bytes=("*status",)) as made:
        peer = await made.rig.connect(NUMBER)
        for _ in range(FIRST_BYTES // len(b"again")):
            await made.answers(peer, relayed=False)
        assert made.rig.entry.in_flight == 0
        for _ in range(RELAY_READS - 1):
            await made.answers(peer, relayed=False)
        assert made.rig.entry.in_flight == 1
        await made.answers(peer)


async def test_one_that_has_to_go_back_soon_is_tried_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change makes transports, which costs a hundred messages: nobody has it done for a few."""
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 3600.0)
    monkeypatch.setattr(stream_tunnel, "RELAY_LASTS", 3600.0)
    async with stage() as made:
        peer = await made.rig.connect(NUMBER)
        await made.answers(peer, relayed=False)
        (client,) = made.rig.clients
        client._tunnel._reads = RELAY_READS
        needed, much = RELAY_READS, os.urandom(4 * RELAYED_READ)
        while needed <= MOST_RELAY_READS:
            for _ in range(needed - 1):
                await made.answers(peer, relayed=False)
            await made.answers(peer)
            peer.send(much)
            assert await peer.read(len(much)) == much
            await eventually(lambda: len(made.relay) == 0 and not isinstance(client._transport, Relayed))
            needed *= 4
            client._tunnel._reads = client._tunnel._needed  # some of what was much have counted
        for _ in range(2 * RELAY_READS):
            await made.answers(peer, relayed=False)
        assert client._tunnel._needed == 0


async def test_one_that_was_without_for_long_is_tried_as_soon_as_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 3600.0)
    monkeypatch.setattr(stream_tunnel, "RELAY_LASTS", 0.0)
    async with stage() as made:
        peer, much = await made.talk(), os.urandom(4 * RELAYED_READ)
        (client,) = made.rig.clients
        client._tunnel._needed = 4 * RELAY_READS
        peer.send(much)
        assert await peer.read(len(much)) == much
        await eventually(lambda: len(made.relay) == 0)
        assert client._tunnel._needed == RELAY_READS


async def test_one_whose_backend_has_ended_keeps_its_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is left of it is the end of the other side, which would need transports again."""
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 3600.0)
    heard = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(await reader.readexactly(5))
        writer.write_eof()
        while data := await reader.read(1 << 16):
            heard += len(data)

    async with stage(script) as made:
        peer = await made.rig.connect(NUMBER)
        peer.send(b"hello")
        assert await peer.read(5) == b"hello"
        (client,) = made.rig.clients
        assert await peer.rest() == b""
        client._tunnel._reads = 1
        peer.send(b"again")
        await eventually(lambda: heard == 5)
        assert client._tunnel._reads == 0
        assert not len(made.relay)


async def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 0.0)
    async with stage(settings={"relay_ports": False}, timeouts=Timeouts(idle=1.0)) as made:
        peer = await made.rig.connect(NUMBER)
        peer.send(b"hello")
        assert await peer.read(5) == b"hello"
        assert await peer.is_reset(), "its limits are looked at, often enough to be relayed"
        assert not len(made.relay)


async def test_much_data_goes_back_to_transports_and_later_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", 0.0)
    async with stage() as made:
        peer = await made.talk()
        for size in (RELAYED_READ - 1, RELAYED_READ, RELAYED_READ + 1, LARGE // 32):
            data = os.urandom(size)
            peer.send(data)
            assert await peer.read(size) == data
        await eventually(lambda: len(made.relay) == 2)
        await made.answers(peer)


@pytest.mark.parametrize("side", ["client", "backend"])
async def test_a_peer_that_does_not_read_stops_the_other_and_loses_nothing(side: str) -> None:
    sent, go_on = os.urandom(LARGE), asyncio.Event()
    taken = 0

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        writer.write(await reader.readexactly(5))
        if side == "client":
            await reader.readexactly(5)
            for at in range(0, LARGE, 8000):
                writer.write(sent[at : at + 8000])
                await writer.drain()
                taken = at
        else:
            await go_on.wait()
            assert await reader.readexactly(LARGE) == sent
            writer.write(b"whole")
        await reader.read()

    async with stage(backend) as made:
        peer = await made.talk()
        (client,) = made.rig.clients
        if side == "client":
            peer.send(b"start")
            await eventually(lambda: client._tunnel._connection.paused)
            assert taken < LARGE - 8000
            assert await peer.read(LARGE) == sent
        else:
            peer.send(sent[:10_000])
            peer.send(sent[10_000:])
            await eventually(lambda: client.paused)
            go_on.set()
            assert await peer.read(5) == b"whole"
        await eventually(lambda: not client.paused and not client._tunnel._connection.paused)


async def test_one_that_was_paused_before_is_watched_by_nobody_else() -> None:
    """Its descriptor has another number afterwards, and the old one is soon another socket's."""
    async with stage() as made:
        peer = await made.rig.connect(NUMBER)
        peer.send(b"hello")
        assert await peer.read(5) == b"hello"
        (client,) = made.rig.clients
        hangups = made.rig.rig.interceptor.proxy.hangups
        client.pause_reading()
        client.resume_reading()
        assert len(hangups) == 1
        made.relayed(client)
        assert len(hangups) == 0
        await made.answers(peer)


async def test_silence_stops_counting_and_a_byte_from_either_side_counts_again() -> None:
    async with stage(idle=0.3) as made:
        peer = await made.talk()
        entry = made.rig.entry
        await eventually(lambda: entry.in_flight == 0)
        assert len(made.relay) == 2
        await made.answers(peer)
        assert entry.in_flight == 1
        await eventually(lambda: entry.in_flight == 0)
        assert len(made.relay) == 2


async def test_an_idle_limit_ends_it() -> None:
    async with stage(timeouts=Timeouts(idle=0.5)) as made:
        peer = await made.talk()
        assert await peer.is_reset()
        await eventually(lambda: made.server.open == 0)


async def test_a_drain_asks_the_backend_to_end_it() -> None:
    async with stage(settings={"drain_delay": 0, "drain_timeout": 60}) as made:
        peer = await made.talk()
        draining = asyncio.create_task(made.rig.rig.interceptor.drain())
        await made.answers(peer)
        peer.writer.write_eof()
        assert await peer.rest() == b""
        await draining


async def test_the_end_of_a_drain_winds_it_down() -> None:
    async with stage(settings={"drain_delay": 0, "drain_timeout": 0.5}) as made:
        peer = await made.talk()
        draining = asyncio.create_task(made.rig.rig.interceptor.drain())
        assert await peer.rest() == b"", "the backend has closed, as its client seemed to"
        await draining
        assert not len(made.relay)


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("count", [1, 40])
async def test_many_that_end_in_one_turn_end_alone(*, count: int, resets: bool) -> None:
    async with stage() as made:
        stays = await made.talk()
        peers = [await made.talk() for _ in range(count)]
        assert len(made.relay) == 2 * count + 2
        for peer in peers:
            if resets:
                reset(peer.writer)
            else:
                peer.close()
        await eventually(lambda: len(made.rig.clients) == 1 and made.server.open == 1)
        await made.answers(stays)
        assert len(made.relay) == 2
        assert made.rig.entry.in_flight == 1


async def test_a_reset_is_a_reset_on_the_other_side() -> None:
    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(5) == b"hello":
            writer.write(b"hello")
        reset(writer)

    async with stage(backend) as made:
        peer = await made.talk()
        peer.send(b"reset")
        assert await peer.is_reset()


async def test_closing_the_interceptor_resets_all() -> None:
    async with stage() as made:
        peers = [await made.talk() for _ in range(20)]
        for client in made.rig.clients:
            client.abort()
        assert all([await peer.is_reset() for peer in peers])
        await eventually(lambda: made.server.open == 0)


async def test_without_descriptors_it_keeps_its_transports() -> None:
    async with stage() as made:
        peer = await made.rig.connect(NUMBER)
        peer.send(b"hello")
        assert await peer.read(5) == b"hello"
        (client,) = made.rig.clients
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        kept = [os.dup(0) for _ in range(2)]
        last = max(map(int, os.listdir("/proc/self/fd")))
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, limits[1]))
            with contextlib.suppress(OSError):
                while True:
                    kept.append(os.dup(0))
            for left in range(2):
                client._tunnel._relay()
                assert client._tunnel._relayed is False, f"{left} descriptors are left, and two are needed"
                os.close(kept.pop())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for number in kept:
                os.close(number)
        await made.answers(peer, relayed=False)
        made.relayed(client)
        await made.answers(peer)


async def test_a_small_message_is_no_call_of_a_connection() -> None:
    async with stage() as made:
        peer = await made.talk()
        with calls() as ours:
            for _ in range(50):
                peer.send(b"y")
                await peer.read(1)
        found = {name: count for name, count in ours.items() if name.startswith(("Stream", "Connection", "Relay", "Tunnel"))}
        assert set(found) == {"Relay._pass_on"}
        assert found["Relay._pass_on"] <= 100
        assert len(made.relay) == 2


async def test_an_idle_connection_takes_a_third_of_the_memory() -> None:
    async with stream_rig(port_route(port(NUMBER))) as rig, running(SERVER) as (_, server):
        rig.rig.sources.set(APP, [Backend("127.0.0.1", int(server))])
        await rig.bound(NUMBER)
        relay = rig.rig.interceptor.proxy.relay
        async with running(CLIENTS, str(NUMBER), "50") as (_, said):
            assert said == "open"
            await eventually(lambda: len(relay) == 100)
        await eventually(lambda: not rig.clients)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            async with running(CLIENTS, str(NUMBER), str(CONNECTIONS)) as (_, said):
                assert said == "open"
                await eventually(lambda: len(relay) == 2 * CONNECTIONS)

                def each() -> float:
                    """Bytes of a connection, with its backend's."""
                    gc.collect()
                    return (tracemalloc.get_traced_memory()[0] - before) / CONNECTIONS

                await eventually(lambda: each() < 1700)  # the transports that were left are closed in later turns
            await eventually(lambda: not rig.clients)
        finally:
            tracemalloc.stop()
