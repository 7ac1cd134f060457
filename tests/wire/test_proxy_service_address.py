"""Backends at one address, that of their Service: requests for as many pods as are behind it, and another try for a lost one."""

from __future__ import annotations

import asyncio

from fleet.discovery.sources import Backend
from fleet.routing.route import Protection, Route, Rule, Target
from tests.support.loopback import APP, route
from tests.support.raw_requests import get
from tests.wire.proxy_backend import BackendPeer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

PODS = ("10.0.0.1 80", "10.0.0.2 80")


def behind(rig: Rig, *pods: str) -> None:
    """The rig's backend becomes the address of a Service with these ready pods."""
    at = rig.backends[0].backend
    rig.sources.set(APP, [Backend(at.host, at.port, behind=pod) for pod in pods])


async def test_the_bound_of_a_pod_counts_for_each_pod_behind_the_address() -> None:
    go = asyncio.Event()

    async def script(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            await go.wait()
            peer.send(ok())

    one_each = Route(APP, Target(APP), (Rule(("a.test",)),), protection=Protection(backend_concurrency=1))
    async with proxy_rig(script, routes=[one_each]) as rig:
        behind(rig, *PODS)
        clients = [await rig.client() for _ in range(3)]
        for client in clients:
            client.send(get())
        await eventually(lambda: (rig.app.entry.in_flight, rig.app.entry.held) == (2, 1))
        go.set()
        assert {(await client.response()).status for client in clients} == {200}


async def test_the_first_ready_pod_ends_a_cold_start() -> None:
    async with proxy_rig() as rig:
        behind(rig)
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        behind(rig, PODS[0])
        assert (await client.response()).get(b"x-keda-http-cold-start") == b"true"


async def test_a_request_that_is_lost_goes_out_again_to_the_same_address() -> None:
    lost: list[int] = []

    async def script(peer: BackendPeer) -> None:
        await peer.request()
        if not lost:
            lost.append(1)
            return  # and the connection ends
        peer.send(ok(b"second"))

    async with proxy_rig(script, routes=[route()]) as rig:
        behind(rig, *PODS)
        assert (await (await rig.client()).ask(get())).body == b"second"
