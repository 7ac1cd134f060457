"""Who is trusted, over real sockets: probes before requests, after failures, and what a request meets meanwhile."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from time import monotonic

import pytest

from fleet.routing.route import Protection, Route, Rule, Target
from interceptor.backends import endpoint as endpoint_module
from interceptor.backends import probes
from tests.support.loopback import APP
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import BackendPeer, RawBackend, Script, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

READY = b"/ready"


def probed() -> Route:
    return Route(
        app=APP,
        target=Target(APP),
        rules=(Rule(hosts=("a.test",)),),
        protection=Protection(readiness_path=READY.decode()),
    )


def says(*statuses: bytes) -> Script:
    """A backend that answers its readiness path with one status after the other, and anything else with 200."""
    left = list(statuses)

    async def script(peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            if message.target == READY:
                status = left.pop(0) if len(left) > 1 else left[0]
                peer.send(ok(b"", status=status))
            else:
                peer.send(ok(message.target))

    return script


def targets(backend: RawBackend) -> list[bytes]:
    return [message.target for message in backend.requests]


async def dead(rig: Rig) -> RawBackend:
    """A backend that has a port and refuses connections, until it is started there."""
    backend = await rig.backend(listed=False)
    await backend.close()
    return backend


async def asked(rig: Rig, wire: bytes = get()) -> int:
    client = await rig.client()
    status = (await client.ask(wire)).status
    client.close()
    return status


# -- before the first request -------------------------------------------------------------------------------------


async def test_a_new_backend_answers_its_probe_before_it_gets_requests() -> None:
    async with proxy_rig(backends=0, routes=[probed()]) as rig:
        client = await rig.client()
        client.send(get(b"/mine"))
        await eventually(lambda: rig.ledger.totals.held == 1)
        backend = await rig.backend(says(b"503 Service Unavailable", b"404 Not Found", b"200 OK"))
        assert (await client.response()).body == b"/mine"
        assert targets(backend) == [READY, READY, READY, b"/mine"]
        probe = backend.requests[0]
        assert probe.get(b"user-agent") == b"weir-probe"
        assert probe.get(b"host") == b"127.0.0.1:%d" % backend.backend.port
        assert [len(peer.received) > 0 for peer in backend.open] == [True], (
            "the connection of the last probe is good for requests"
        )
        assert len(backend.peers) == 3


@pytest.mark.parametrize(("status", "good"), [(b"204 No Content", True), (b"302 Found", True), (b"400 Bad Request", False)])
async def test_what_passes(status: bytes, good: bool) -> None:
    async with proxy_rig(backends=0, routes=[probed()]) as rig:
        backend = await rig.backend(says(status))
        await eventually(lambda: targets(backend))
        await eventually(lambda: not rig.app.endpoints.probing)
        assert bool(rig.app.endpoints.ready) is good
        assert (rig.interceptor.proxy.probes.passes, rig.interceptor.proxy.probes.failures > 0) == (int(good), not good)


async def test_requests_go_to_those_that_passed() -> None:
    async with proxy_rig(backends=0, routes=[probed()]) as rig:
        good = await rig.backend(says(b"200 OK"))
        bad = await rig.backend(says(b"500 Internal Server Error"))
        await eventually(lambda: targets(bad) and rig.app.endpoints.ready)
        assert [await asked(rig) for _ in range(20)] == [200] * 20
        assert set(targets(bad)) == {READY}
        assert len(targets(good)) == 21


async def silent(peer: BackendPeer) -> None:
    await peer.read_to_end()


async def hangs_up(peer: BackendPeer) -> None:
    await peer.request()


async def never_ends(peer: BackendPeer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 100_000)
    await peer.read_to_end()


async def switches(peer: BackendPeer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    await peer.read_to_end()


async def nonsense(peer: BackendPeer) -> None:
    await peer.request()
    peer.send(b"nonsense\r\n\r\n")
    await peer.read_to_end()


@pytest.mark.parametrize("script", [silent, hangs_up, switches, nonsense])
async def test_an_answer_that_is_none(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "ANSWER_SECONDS", 0.2)
    async with proxy_rig(backends=0, routes=[probed()]) as rig:
        backend = await rig.backend(script)
        await eventually(lambda: len(backend.peers) > 1)
        assert not rig.app.endpoints.ready
        await eventually(backend.peers[0].ended.is_set)


async def test_a_probe_reads_no_more_than_the_head() -> None:
    async with proxy_rig(backends=0, routes=[probed()]) as rig:
        backend = await rig.backend(never_ends)
        await eventually(lambda: rig.app.endpoints.ready)
        await eventually(backend.peers[0].ended.is_set)
        assert rig.pooled == 0


# -- after a failure ----------------------------------------------------------------------------------------------


async def test_a_backend_that_failed_is_asked_by_a_probe_and_not_by_a_request() -> None:
    """While it is away every request succeeds elsewhere; no request is the one that finds out that it is not back yet."""
    async with proxy_rig() as rig:
        gone = await dead(rig)
        rig.sources.set(APP, [rig.backends[0].backend, gone.backend])
        refused = 0
        while rig.interceptor.proxy.probes.failures < 3:
            endpoint = next(each for each in rig.app.endpoints.endpoints if each.backend == gone.backend)
            assert await asked(rig, post(b"x")) == 200
            refused = max(refused, endpoint.dialing)
        assert rig.app.endpoints.ready == [each for each in rig.app.endpoints.endpoints if each.backend != gone.backend]
        await gone.start(gone.backend.port)
        await eventually(lambda: len(rig.app.endpoints.ready) == 2)
        assert rig.interceptor.proxy.probes.passes == 1
        await eventually(lambda: gone.peers)
        assert (len(gone.peers), gone.received) == (1, b"")
        clients = [await rig.client() for _ in range(20)]
        for client in clients:
            client.send(get())
        assert {(await client.response()).status for client in clients} == {200}
        assert gone.requests


async def test_a_request_that_comes_ends_the_pause_of_the_only_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "LONGEST_PAUSE", 60.0)
    async with proxy_rig(backends=0) as rig:
        gone = await dead(rig)
        rig.sources.set(APP, [gone.backend])
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.endpoints.last_error)
        client.close()
        await eventually(rig.ledger.balanced)
        (endpoint,) = rig.app.endpoints.endpoints
        endpoint.failures = 100
        await eventually(lambda: endpoint.deadline > monotonic() + 30)
        await gone.start(gone.backend.port)
        before = monotonic()
        assert await asked(rig) == 200
        assert monotonic() - before < 5


async def test_a_backend_that_dies_between_ready_and_dial() -> None:
    """It was listed, and nothing listens any more when many requests come: they go to the other one, whichever method."""
    async with proxy_rig(backends=0) as rig:
        gone = await dead(rig)
        clients = [await rig.client() for _ in range(20)]
        for client in clients:
            client.send(post(b"x"))
        await eventually(lambda: rig.ledger.totals.held == 20)
        alive = await rig.backend(listed=False)
        rig.sources.set(APP, [gone.backend, alive.backend])
        assert {(await client.response()).status for client in clients} == {200}
        assert len(alive.requests) == 20


async def test_a_backend_that_dies_between_ready_and_dial_and_is_the_only_one() -> None:
    async with proxy_rig(backends=0) as rig:
        gone = await dead(rig)
        clients = [await rig.client() for _ in range(20)]
        for client in clients:
            client.send(post(b"x"))
        await eventually(lambda: rig.ledger.totals.held == 20)
        rig.sources.set(APP, [gone.backend])
        await eventually(lambda: rig.app.endpoints.last_error)
        await eventually(lambda: rig.ledger.totals.held == 20)
        alive = await rig.backend(listed=False)
        rig.sources.set(APP, [alive.backend])
        assert {(await client.response()).status for client in clients} == {200}


async def test_what_is_lost_on_a_connection_that_rested_goes_out_on_a_new_one() -> None:
    """A backend that ends its resting connections the moment they are used: however many of them there are."""

    async def once(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(ok(b"fine"))
        await peer.request()

    async with proxy_rig(once) as rig:
        clients = [await rig.client() for _ in range(8)]
        for client in clients:
            client.send(get())
        for client in clients:
            assert (await client.response()).status == 200
        assert rig.pooled == 8
        assert (await clients[0].ask(get())).body == b"fine"


async def test_tunnels_are_load() -> None:
    """Where they are open, fewer requests go."""

    async def both(peer: BackendPeer) -> None:
        while (await peer.request()).get(b"upgrade") is None:
            peer.send(ok())
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        await peer.read_to_end()

    async with proxy_rig(both, backends=1) as rig:
        tunnels = [await rig.client() for _ in range(5)]
        for client in tunnels:
            client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
            assert (await client.response()).status == 101
        await rig.backend(both)
        for _ in range(4):
            assert await asked(rig) == 200
        assert [endpoint.load for endpoint in rig.app.endpoints.endpoints] == [5, 0]
        assert [len(backend.requests) for backend in rig.backends] == [5, 4]


async def test_a_machine_out_of_sockets_is_no_backends_fault() -> None:
    async with proxy_rig() as rig:
        client = await rig.client()
        with no_descriptors():
            message = await client.ask(get())
        assert (message.status, message.get(b"retry-after")) == (503, b"1")
        assert message.body == b"weir: there are too many connections: application default/a\n"
        assert rig.app.endpoints.ready
        assert (await client.ask(get())).status == 200


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Not one more file or socket can be opened in this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0) + 1, most))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in taken:
            os.close(descriptor)
