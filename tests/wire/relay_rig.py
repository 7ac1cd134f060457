"""Connections at a TCP port with plain sockets at both ends: what each end does happens at once, in no turn of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

from fleet.discovery.sources import Backend
from interceptor.transport.relay import Relayed
from interceptor.transport.tcp import NO_LINGER
from tests.support.loopback import APP
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import StreamRig, port, port_route, stream_rig

__all__ = ["Ends", "Sockets", "cut", "open_files", "read", "sockets", "turns"]

SMALL = 4096
"""Asked for as the size of a socket's buffers; the kernel takes the least that it allows."""


def cut(end: socket.socket) -> None:
    """End with a TCP reset, now."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    end.close()


def read(end: socket.socket, most: int = 1 << 20) -> bytes | None:
    """What is there now: None for nothing yet, and nothing for the end. Raises ConnectionError for a reset."""
    try:
        return end.recv(most)
    except BlockingIOError:
        return None


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Ends:
    """Both ends of one connection, and what the interceptor has of it."""

    def __init__(self, client: socket.socket, backend: socket.socket, inside: Any) -> None:
        self.client, self.backend, self.inside = client, backend, inside

    @property
    def tunnel(self) -> Any:
        return self.inside._tunnel

    def end(self, side: str) -> tuple[socket.socket, socket.socket]:
        """The end of this side, and the other one."""
        return (self.client, self.backend) if side == "client" else (self.backend, self.client)

    def connection(self, side: str) -> Any:
        """The interceptor's connection to this side."""
        return self.inside if side == "client" else self.tunnel._connection

    def relay(self) -> bool:
        """Do without transports from now on, if that is possible."""
        tunnel = self.tunnel
        tunnel._relay()
        return bool(tunnel._relayed)

    def relayed(self) -> None:
        assert self.relay()
        assert isinstance(self.inside._transport, Relayed)

    async def hears(self, side: str, data: bytes) -> None:
        """This side gets these bytes, and no others."""
        end, got = self.end(side)[0], b""

        def all_there() -> bool:
            nonlocal got
            got += read(end, len(data) - len(got)) or b""
            return len(got) == len(data)

        await eventually(all_there)
        assert got == data
        assert read(end) is None

    async def passes(self) -> None:
        for side in ("client", "backend"):
            end, other = self.end(side)
            other.send(data := os.urandom(100))
            await self.hears(side, data)
            assert end is not other

    async def ends(self, side: str) -> bool:
        """Drop what this side gets until it ends. Returns whether that is a reset."""
        end = self.end(side)[0]
        try:
            await eventually(lambda: read(end) == b"")
        except ConnectionError:
            return True
        return False

    def close(self) -> None:
        self.client.close()
        self.backend.close()


class Sockets:
    """A port, the socket at which its application listens, and what is open between them."""

    def __init__(self, rig: StreamRig, number: int) -> None:
        self.rig, self.number = rig, number
        self.relay = rig.rig.interceptor.proxy.relay
        self.hangups = rig.rig.interceptor.proxy.hangups
        self.open: list[Ends] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        rig.rig.sources.set(APP, [Backend("127.0.0.1", self._listener.getsockname()[1])])

    async def connect(self, *, small: bool = False) -> Ends:
        """A new connection; `small` if little of it is to fit into sockets."""
        before, loop = self.rig.clients, asyncio.get_running_loop()
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", self.number))
        backend, _ = await loop.sock_accept(self._listener)
        backend.setblocking(False)
        await eventually(lambda: self.rig.clients - before)
        (inside,) = self.rig.clients - before
        await eventually(lambda: inside._tunnel is not None)
        ends = Ends(client, backend, inside)
        for side in ("client", "backend") if small else ():
            outer, inner = ends.end(side)[0], ends.connection(side)._transport.get_extra_info("socket")
            for each in (outer, inner):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        self.open.append(ends)
        return ends

    async def nothing_is_left(self) -> None:
        await eventually(lambda: not self.rig.clients)
        await eventually(self.rig.rig.ledger.balanced)
        await eventually(lambda: not any(one.load for each in self.rig.rig.endpoints for one in each.in_use))
        assert not len(self.relay)
        assert not len(self.hangups)

    def close(self) -> None:
        for ends in self.open:
            ends.close()
        self._listener.close()


@contextlib.asynccontextmanager
async def sockets(number: int, **fields: Any) -> AsyncIterator[Sockets]:
    async with stream_rig(port_route(port(number, **fields))) as rig:
        made = Sockets(rig, number)
        try:
            await rig.bound(number)
            yield made
        finally:
            made.close()
        await made.nothing_is_left()
