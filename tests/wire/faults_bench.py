"""A rig in which every conversation has an application and a fault proxy of its own, and the proof that it leaves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleet.discovery.sources import Backend
from tests.support.faultproxy import FaultProxy, Plan, Way, sound
from tests.wire.faults_exchanges import KINDS, NAME, Kind, Origin, Seen, converse
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually

__all__ = ["PATIENCE", "Bench", "Scout", "app_of"]

PATIENCE = 60.0
"""Seconds after which a client that has heard nothing has found a hole in the limits; a hundred times the limits."""


def app_of(name: bytes) -> str:
    return f"default/{name.decode()}"


@dataclass(frozen=True)
class Scout:
    """A conversation that went well, as it looks with NAME for its name."""

    kind: Kind
    answers: list[bytes]
    """What the client got, step by step."""
    client: dict[Way, bytes]
    backend: dict[Way, bytes]
    """What passed between client and interceptor, and between interceptor and backend."""

    def wire(self, side: str, way: Way) -> bytes:
        return (self.client if side == "client" else self.backend)[way]

    def ends(self, side: str, way: Way) -> list[int]:
        """Where each request or answer of the conversation ends: one, but for the kind with a second request."""
        wire = self.wire(side, way)
        if self.kind.name != "second":
            return [len(wire)]
        start = b"GET " if way is Way.TO_SERVER else b"HTTP/1.1 "
        return [wire.index(start, 1), len(wire)]

    def outcome(self, seen: Seen, name: bytes) -> str:
        return seen.outcome([answer.replace(NAME, name) for answer in self.answers], self.kind)


class Bench:
    """One origin behind all fault proxies; counts what it was asked."""

    def __init__(self, rig: Rig, names: Iterable[bytes]) -> None:
        self.rig = rig
        self.names = iter(names)
        self.origin = Origin()
        self.before: list[FaultProxy] = []
        self.behind: list[FaultProxy] = []
        """Fault proxies before the interceptor, and behind it."""

    async def start(self) -> list[Scout]:
        """Let every kind of conversation pass unharmed."""
        self.server = await self.rig.backend(self.origin, listed=False)
        scouts = [await self._scout(kind, next(self.names)) for kind in KINDS]
        (self._plain_answer,) = scouts[0].answers
        return scouts

    async def before_backend(self, name: bytes, plan: Plan) -> FaultProxy:
        """Discovery lists the fault proxy in the backend's place."""
        proxy = await self._proxy(self.server.address, plan, self.behind)
        self.rig.sources.set(app_of(name), [Backend(*proxy.address)])
        return proxy

    async def before_interceptor(self, plan: Plan) -> FaultProxy:
        return await self._proxy(("127.0.0.1", self.rig.interceptor.proxy_port), plan, self.before)

    async def client(self, port: int = 0) -> RawClient:
        client = await RawClient.connect(port or self.rig.interceptor.proxy_port)
        self.rig.clients.append(client)
        return client

    async def request_again(self, client: RawClient, name: bytes) -> str:
        """How a plain request is answered."""
        expected = [self._plain_answer.replace(NAME, name)]
        seen = await converse(client, KINDS[0], name, expected, patience=PATIENCE)
        return seen.outcome(expected, KINDS[0]) if seen.received else "nothing"

    async def left(self, name: bytes) -> str:
        """What is held, in flight, dialled or loaded of an application in the end; empty when nothing is."""
        app = self.rig.interceptor.proxy.apps[app_of(name)]

        def counts() -> list[int]:
            loads = [count for endpoint in app.endpoints.endpoints for count in (endpoint.load, endpoint.dialing)]
            return [app.entry.held, app.entry.in_flight, app.entry.connections, len(app.room), *loads]

        try:
            await eventually(lambda: not any(counts()), within=PATIENCE)
        except AssertionError:
            return f"held, in flight, connections, in the room, loads and dials are left: {counts()}"
        return ""

    async def settle(self) -> None:
        """No client is left, no body was another's, and of connections only those are open that are kept."""
        for client in self.rig.clients:
            client.close()
        for proxy in self.before:
            await proxy.close()
        await eventually(lambda: not self.rig.interceptor.proxy.clients, within=PATIENCE)
        await eventually(lambda: self.rig.sockets_to(*self.behind) <= self.rig.pooled, within=PATIENCE)
        assert not self.origin.mixed

    async def close(self) -> None:
        for proxy in (*self.before, *self.behind):
            await proxy.close()

    async def _proxy(self, server: tuple[str, int], plan: Plan, proxies: list[FaultProxy]) -> FaultProxy:
        proxy = FaultProxy(server, plan)
        await proxy.start()
        proxies.append(proxy)
        return proxy

    async def _scout(self, kind: Kind, name: bytes) -> Scout:
        behind, before = await self.before_backend(name, sound), await self.before_interceptor(sound)
        client = await self.client(before.port)
        seen = await converse(client, kind, name, patience=PATIENCE)
        client.close()
        sides = [{way: bytes(proxy.links[0].passed[way]).replace(name, NAME) for way in Way} for proxy in (before, behind)]
        return Scout(kind, [answer.replace(name, NAME) for answer in seen.answers], *sides)
