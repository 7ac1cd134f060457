"""Finding a backend, losing one, waiting for one: over real sockets, while tables and backends change."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Rule, Target
from tests.support.loopback import APP, route
from tests.support.ports import refusing_port
from tests.support.raw_requests import get, post
from tests.support.strict_reader import NotStrict, read_requests
from tests.support.waiting import turns
from tests.wire.proxy_backend import BackendPeer, RawBackend, answer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually, proxy_rig


def dead_backend() -> Backend:
    """An address that refuses connections."""
    return Backend("127.0.0.1", refusing_port())


async def held(rig: Rig, count: int) -> None:
    await eventually(lambda: rig.ledger.totals.held == count)


# -- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", [get(), post(b"body"), post(b"x" * 200_000), post(b"chunked", chunked=True)])
async def test_a_held_request_goes_on_when_a_backend_comes(wire: bytes) -> None:
    async with proxy_rig(backends=0) as rig:
        client = await rig.client()
        client.send(wire)
        await held(rig, 1)
        await rig.backend(answer(ok(b"awake")))
        assert (await client.response()).body == b"awake"
        (sent,), _ = read_requests(wire)
        (seen,) = rig.backends[0].requests
        assert (seen.method, seen.body) == (sent.method, sent.body)


async def test_held_requests_are_answered_all() -> None:
    async with proxy_rig(backends=0) as rig:
        clients = [await rig.client() for _ in range(100)]
        for client in clients:
            client.send(get())
        await held(rig, 100)
        await rig.backend()
        assert {(await client.response()).status for client in clients} == {200}


async def test_the_deadline_of_a_held_request_is_a_504_that_says_why() -> None:
    async with proxy_rig(backends=0, routes=[route(readiness=0.2)]) as rig:
        client = await rig.client()
        message = await client.ask(get())
        assert message.status == 504
        assert APP.encode() in message.body
        assert b"0.2 s" in message.body
        assert (await client.ask(get(host=b"nobody.test"))).status == 404  # and the connection is kept
        rig.sources.set(APP, [dead_backend()])
        assert b"(last: " in (await client.ask(get())).body


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset])
@pytest.mark.parametrize(
    "wire", [get(), get() + get() * 2000, post(b"x" * 60_000), get(b"/", b"Content-Length: 9", method=b"POST") + b"x"]
)
async def test_a_held_client_that_leaves_frees_its_place(wire: bytes, leave: object) -> None:
    """Also when it is not read from, because much of its body, or of later requests, is here already."""
    async with proxy_rig(backends=0) as rig:
        client = await rig.client()
        client.send(wire)
        await held(rig, 1)
        await turns()
        assert callable(leave)
        leave(client)
        await eventually(rig.ledger.balanced)
        assert not rig.app.room
        backend = await rig.backend()
        other = await rig.client()
        assert (await other.ask(get(b"/other"))).status == 200
        assert [message.target for message in backend.requests] == [b"/other"]


async def test_a_route_removed_while_a_request_is_held() -> None:
    async with proxy_rig(backends=0) as rig:
        client = await rig.client()
        client.send(get())
        await held(rig, 1)
        rig.set_routes(route("default/b", "b.test"))
        message = await client.response()
        assert message.status == 503
        assert b"removed" in message.body
        assert (await client.ask(get())).status == 404


async def test_a_target_changed_while_a_request_is_held() -> None:
    async with proxy_rig(backends=0) as rig:
        other = await rig.backend(answer(ok(b"other")), listed=False)
        rig.sources.set("default/other", [other.backend])
        client = await rig.client()
        client.send(get())
        await held(rig, 1)
        rig.set_routes(route(service="default/other"))
        assert (await client.response()).body == b"other"


# -- dialling -----------------------------------------------------------------------------------------------------


async def test_a_backend_that_refuses_is_passed_over() -> None:
    async with proxy_rig() as rig:
        rig.sources.set(APP, [dead_backend(), dead_backend(), rig.backends[0].backend])
        for number in range(20):
            client = await rig.client()
            assert (await client.ask(post(b"%d" % number))).status == 200
            client.close()
        assert len(rig.backends[0].requests) == 20


async def test_a_backend_that_comes_back_is_used_again() -> None:
    async with proxy_rig(backends=0) as rig:
        backend = RawBackend()
        rig.sources.set(APP, [dead := dead_backend()])
        client = await rig.client()
        client.send(get())
        await held(rig, 1)
        await backend.start(dead.port)
        rig.backends.append(backend)
        assert (await client.response()).status == 200


async def test_a_client_that_leaves_while_a_connection_is_opened() -> None:
    """The connection is kept for the next, and the load is given back."""
    async with proxy_rig() as rig:
        for _ in range(20):
            client = await rig.client()
            client.send(get())
            client.reset()
        await eventually(lambda: not rig.connections)
        other = await rig.client()
        assert (await other.ask(get())).status == 200


# -- losing one ---------------------------------------------------------------------------------------------------


async def dies_once(rig: Rig, wire: bytes, *, when: str) -> tuple[RawClient, list[int]]:
    """Two requests: the backend answers the first and ends its connection as it gets the second."""
    turns: list[int] = []

    async def script(peer: BackendPeer) -> None:
        turns.append(0)
        while True:
            await peer.request()
            if len(turns) == 1 and len(peer.received) > 300:
                if when == "reset":
                    peer.reset()
                return
            peer.send(ok(b"fine"))

    await rig.backend(script)
    client = await rig.client()
    assert (await client.ask(get(b"/", b"X: " + b"x" * 50))).status == 200
    client.send(wire)
    return client, turns


@pytest.mark.parametrize("when", ["close", "reset"])
@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"OPTIONS"])
async def test_an_idempotent_request_is_sent_again(method: bytes, when: str) -> None:
    async with proxy_rig(backends=0) as rig:
        client, turns = await dies_once(rig, post(b"body" * 30, b"/", b"X: " + b"x" * 200, method=method), when=when)
        assert (await client.response()).body == b"fine"
        assert len(turns) == 2
        assert {message.body for message in rig.backends[0].requests[1:]} == {b"body" * 30}


@pytest.mark.parametrize("when", ["close", "reset"])
@pytest.mark.parametrize("method", [b"POST", b"PATCH"])
async def test_a_request_that_was_sent_and_may_not_be_repeated_is_a_502(method: bytes, when: str) -> None:
    async with proxy_rig(backends=0) as rig:
        client, turns = await dies_once(rig, post(b"body" * 60, b"/", b"X: " + b"x" * 200, method=method), when=when)
        assert (await client.response()).status == 502
        assert len(turns) == 1
        assert len(rig.backends[0].requests) == 2


async def test_a_backend_that_always_dies_is_tried_a_few_times() -> None:
    async def die(peer: BackendPeer) -> None:
        await peer.request()

    async with proxy_rig(die) as rig:
        client = await rig.client()
        assert (await client.ask(get())).status == 502
        assert len(rig.backends[0].peers) == 4


async def test_connections_that_ended_unheard_are_not_used_for_a_post() -> None:
    """The backend has closed them, and the proxy has not heard: nothing may be sent that cannot be sent again."""
    async with proxy_rig() as rig:
        clients = [await rig.client() for _ in range(5)]
        for client in clients:
            client.send(get())
        for client in clients:
            await client.response()
        assert rig.pooled == 5
        backend = rig.backends[0]
        for peer in backend.peers:
            sock = peer.writer.get_extra_info("socket")
            # The event loop is not asked: its wrapper of the socket cannot shut down, the descriptor can.
            with socket.socket(fileno=socket.dup(sock.fileno())) as copy:
                copy.shutdown(socket.SHUT_RDWR)
        connection = next(iter(rig.connections))
        connection.get_buffer(-1)[: len(post(b"x"))] = post(b"x")
        connection.buffer_updated(len(post(b"x")))  # before the event loop has looked at its sockets
        await eventually(lambda: [message for message in backend.requests if message.method == b"POST"])
        await eventually(rig.ledger.balanced)
        results = [client for client in clients if client.reader._buffer or await arrives(client)]  # type: ignore[attr-defined]
        assert len(results) == 1
        assert (await results[0].response()).status == 200


async def arrives(client: RawClient) -> bool:
    try:
        async with asyncio.timeout(0.05):
            await client.read_some()
    except TimeoutError:
        return False
    return True


async def test_a_rolling_restart_loses_no_get() -> None:
    """Backends come and go while requests flow; whatever may be sent again is answered."""
    async with proxy_rig(backends=2) as rig:
        stop = asyncio.Event()
        statuses: set[int] = set()

        async def ask() -> None:
            client = await rig.client()
            while not stop.is_set():
                statuses.add((await client.ask(get())).status)

        asking = [asyncio.create_task(ask()) for _ in range(8)]
        for _ in range(5):
            old = rig.backends[-2]
            new = await rig.backend(listed=False)
            rig.sources.set(APP, [rig.backends[-2].backend, new.backend])
            await eventually(lambda: len(new.requests) >= len(asking))  # noqa: B023 -- it is waited for here
            await old.close()
        stop.set()
        await asyncio.gather(*asking)
        assert statuses == {200}


PARTIAL = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "inside a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhel",
}


@pytest.mark.parametrize("when", ["close", "reset"])
@pytest.mark.parametrize("name", PARTIAL)
async def test_an_answer_that_is_cut_short_does_not_look_whole(name: str, when: str) -> None:
    arrived = asyncio.Event()

    async def cut(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(PARTIAL[name])
        await arrived.wait()
        if when == "reset":
            peer.reset()

    async with proxy_rig(cut) as rig:
        client = await rig.client()
        client.send(get())
        assert await client.read_some()
        arrived.set()
        with pytest.raises((ConnectionError, NotStrict)):
            await client.response()
        assert len(rig.backends[0].requests) == 1


async def test_an_endless_answer_that_is_reset_does_not_look_whole() -> None:
    """One that ends with its connection is cut by a reset as well, not by a clean end."""

    arrived = asyncio.Event()

    async def cut(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await arrived.wait()
        peer.reset()

    async with proxy_rig(cut) as rig:
        client = await rig.client()
        client.send(get())
        await client.read_until(b"half")
        arrived.set()
        with pytest.raises(ConnectionResetError):
            await client.reader.read(1)


# -- change -------------------------------------------------------------------------------------------------------


async def test_backends_that_change_while_a_request_is_in_flight() -> None:
    """The old one finishes its answer; its connection is not kept; the next request goes to the new one."""
    go = asyncio.Event()

    async def slow(peer: BackendPeer) -> None:
        await peer.request()
        await go.wait()
        peer.send(ok(b"old"))
        await peer.read_to_end()

    async with proxy_rig(slow) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.backends[0].requests)
        new = await rig.backend(answer(ok(b"new")), listed=False)
        rig.sources.set(APP, [new.backend])
        go.set()
        assert (await client.response()).body == b"old"
        assert (await client.ask(get())).body == b"new"
        await eventually(lambda: not rig.backends[0].open)


async def test_a_route_removed_while_a_request_is_in_flight() -> None:
    go = asyncio.Event()

    async def slow(peer: BackendPeer) -> None:
        await peer.request()
        await go.wait()
        peer.send(ok(b"still"))

    async with proxy_rig(slow) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.backends[0].requests)
        rig.set_routes(route("default/b", "b.test"))
        go.set()
        assert (await client.response()).body == b"still"
        assert (await client.ask(get())).status == 404
        assert rig.ledger.balanced()


async def test_a_route_removed_before_its_backend_loses_the_request() -> None:
    """It would wait for a backend that nobody will make."""
    go = asyncio.Event()

    async def dies(peer: BackendPeer) -> None:
        await peer.request()
        await go.wait()
        peer.reset()

    async with proxy_rig(dies) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.backends[0].requests)
        rig.set_routes(route("default/b", "b.test"))
        go.set()
        message = await client.response()
        assert message.status == 503
        assert b"removed" in message.body


async def test_the_answer_about_a_dead_backend_names_no_address() -> None:
    async with proxy_rig(routes=[route(readiness=0.3)], backends=0) as rig:
        dead = dead_backend()
        rig.sources.set(APP, [dead])
        message = await (await rig.client()).ask(get())
        assert message.status == 502
        assert b"Connection refused" in message.body
        assert str(dead.port).encode() not in message.body


async def test_an_app_that_is_removed_and_made_again_starts_clean() -> None:
    go = asyncio.Event()

    async def slow(peer: BackendPeer) -> None:
        message = await peer.request()
        if message.target == b"/slow":
            await go.wait()
        peer.send(ok(b"x"))

    async with proxy_rig(slow) as rig:
        client, other = await rig.client(), await rig.client()
        client.send(get(b"/slow"))
        await eventually(lambda: rig.backends[0].requests)
        rig.set_routes()
        rig.set_routes(route())
        (size,) = rig.ledger.sizes(0.0)
        assert (size.in_flight, size.requests_total) == (0, 0)
        assert (await other.ask(get())).status == 200
        go.set()
        await client.response()
        (size,) = rig.ledger.sizes(0.0)
        assert (size.in_flight, size.requests_total) == (0, 1)


async def test_tables_swapped_under_load_drop_no_request() -> None:
    async with proxy_rig() as rig:
        stop = asyncio.Event()
        statuses: list[int] = []

        async def ask() -> None:
            client = await rig.client()
            while not stop.is_set():
                statuses.append((await client.ask(get())).status)

        asking = [asyncio.create_task(ask()) for _ in range(8)]
        swaps = 0
        while swaps < 50 or len(statuses) <= 50:
            rig.set_routes(route(), *(route(f"default/x{each}", f"x{each}.test") for each in range(swaps % 7)))
            swaps, seen = swaps + 1, len(statuses)
            await eventually(lambda: len(statuses) > seen)  # noqa: B023 -- it is waited for here
        stop.set()
        await asyncio.gather(*asking)
        assert set(statuses) == {200}


async def test_two_apps_share_a_target() -> None:
    routes = [route(), Route("default/b", Target(APP), (Rule(hosts=("b.test",)),))]
    async with proxy_rig(routes=routes, backends=0) as rig:
        clients = [await rig.client(), await rig.client()]
        clients[0].send(get())
        clients[1].send(get(host=b"b.test"))
        await held(rig, 2)
        await rig.backend()
        assert [(await client.response()).status for client in clients] == [200, 200]
        assert {size.app: size.requests_total for size in rig.ledger.sizes(0.0)} == {APP: 1, "default/b": 1}


async def test_the_less_loaded_backend_is_preferred() -> None:
    hold = asyncio.Event()

    async def slow(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            await hold.wait()
            peer.send(ok())

    async with proxy_rig(slow, backends=2) as rig:
        clients = [await rig.client() for _ in range(20)]
        for client in clients:
            client.send(get())
        await eventually(lambda: sum(len(backend.requests) for backend in rig.backends) == 20)
        assert [len(backend.requests) for backend in rig.backends] == [10, 10]
        hold.set()
        for client in clients:
            await client.response()


TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


async def test_a_408_that_crossed_with_a_request_is_no_answer_to_it() -> None:
    """A server tells that it gives up the connection that rested, and the next request is on its way already."""

    async def tired(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(ok(b"fine"))
        await peer.request()
        peer.send(TOO_LATE)

    async with proxy_rig(tired) as rig:
        client = await rig.client()
        for _ in range(2):
            assert (await client.ask(get())).body == b"fine"
        assert (await client.ask(post(b"once"))).status == 408  # it was sent, and may not be sent twice


async def test_a_backend_that_only_says_408_is_believed() -> None:
    async with proxy_rig(answer(TOO_LATE)) as rig:
        client = await rig.client()
        assert (await client.ask(get())).status == 408
        assert len(rig.backends[0].requests) == 4


async def test_a_408_that_keeps_its_connection_is_an_answer() -> None:
    async with proxy_rig(answer(ok(b"slow", status=b"408 Request Timeout"))) as rig:
        client = await rig.client()
        assert (await client.ask(get())).status == 408
        assert len(rig.backends[0].requests) == 1
