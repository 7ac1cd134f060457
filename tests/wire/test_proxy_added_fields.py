"""What answers tell of their way: X-KEDA-HTTP-Cold-Start and Server-Timing; and what metrics tell of cold starts."""

from __future__ import annotations

import asyncio
import re

import msgspec
import pytest

from fleet.routing.route import Route
from tests.support.loopback import route
from tests.support.raw_requests import get
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_rig import cold_starts, eventually, proxy_rig

COLD = b"x-keda-http-cold-start"
CHUNKS = b"HTTP/1.1 200 OK\r\nX-Mine: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\nok"


@pytest.mark.parametrize("response", [ok(), ok(b"ok", b"Connection: keep-alive"), CHUNKS, UNTIL_CLOSE])
async def test_warm_answers_say_so(response: bytes) -> None:
    async def script(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(response)

    async with proxy_rig(script) as rig:
        message = await (await rig.client()).ask(get())
        assert (message.body, message.get(COLD)) == (b"ok", b"false")


async def test_the_answer_to_a_cold_start_says_so_and_the_next_does_not() -> None:
    async with proxy_rig(backends=0) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        await rig.backend()
        assert (await client.response()).get(COLD) == b"true"
        assert (await client.ask(get())).get(COLD) == b"false"
        assert cold_starts(rig.app) == {"ready": 1}
        answers = {kind: found.count for kind, found in rig.app.stats.answers().items()}
        assert answers == {("GET", "200", "true"): 1, ("GET", "200", "false"): 1}


async def test_a_client_that_leaves_a_cold_start() -> None:
    async with proxy_rig(backends=0) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        client.close()
        await eventually(lambda: cold_starts(rig.app) == {"cancelled": 1})
        assert {kind: found.count for kind, found in rig.app.stats.answers().items()} == {("GET", "499", "true"): 1}


async def test_a_request_that_waits_in_vain_for_a_backend() -> None:
    async with proxy_rig(backends=0, routes=[route(readiness=0.1)]) as rig:
        assert (await (await rig.client()).ask(get())).status == 504
        assert cold_starts(rig.app) == {"timeout": 1}


async def test_a_request_without_room_to_wait_is_rejected_and_has_no_cold_start() -> None:
    async with proxy_rig(backends=0, max_held=1) as rig:
        first, second = await rig.client(), await rig.client()
        first.send(get())
        await eventually(lambda: rig.app.room)
        assert (await second.ask(get())).status == 503
        assert rig.app.stats.rejections == 1
        assert cold_starts(rig.app) == {}
        await rig.backend()
        assert (await first.response()).status == 200
        answers = {kind: found.count for kind, found in rig.app.stats.answers().items()}
        assert answers == {("GET", "503", "false"): 1, ("GET", "200", "true"): 1}


async def test_nobody_else_has_a_say() -> None:
    """What a backend says of it is replaced, however it is spelt."""
    response = ok(b"ok", b"X-Keda-HTTP-cold-start: true", b"X-KEDA-HTTP-Cold-Start-Not: kept")
    async with proxy_rig(answer(response)) as rig:
        message = await (await rig.client()).ask(get())
        assert [value for name, value in message.fields if name == COLD] == [b"false"]
        assert message.get(b"x-keda-http-cold-start-not") == b"kept"


async def test_it_can_be_switched_off() -> None:
    async with proxy_rig(backends=0, cold_start_header=False) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        await rig.backend()
        assert (await client.response()).get(COLD) is None
        assert (await client.ask(get())).get(COLD) is None


async def test_what_the_proxy_answers_itself_says_nothing_of_it() -> None:
    async with proxy_rig(backends=0, routes=[route(readiness=0.1)]) as rig:
        message = await (await rig.client()).ask(get())
        assert (message.status, message.get(COLD)) == (504, None)


async def test_interim_answers_do_not_have_it_and_tunnels_do() -> None:
    async def script(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        await peer.read_to_end()

    async with proxy_rig(script) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
        hints = await client.response(interim=True)
        assert (hints.status, hints.get(COLD)) == (103, None)
        switched = await client.response(interim=True)
        assert (switched.status, switched.get(COLD)) == (101, b"false")


def timed() -> Route:
    return msgspec.structs.replace(route(readiness=30.0), server_timing=True)


def durations(value: bytes | None) -> dict[str, float]:
    found = re.fullmatch(rb"held;dur=([\d.]+), connect;dur=([\d.]+), backend;dur=([\d.]+)", value or b"")
    assert found, value
    return dict(zip(("held", "connect", "backend"), map(float, found.groups()), strict=True))


async def test_server_timing_tells_held_connect_and_backend() -> None:
    async def slow(peer: BackendPeer) -> None:
        for _ in range(2):
            await peer.request()
            await asyncio.sleep(0.1)  # this time is measured, as is the next one
            peer.send(ok())

    async with proxy_rig(backends=0, routes=[timed()]) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        await asyncio.sleep(0.15)  # the time for which it is held
        await rig.backend(slow)
        cold = durations((await client.response()).get(b"server-timing"))
        assert cold["held"] >= 150
        assert cold["backend"] >= 99
        assert 0 < cold["connect"] < 5000
        warm = durations((await client.ask(get())).get(b"server-timing"))
        assert warm["connect"] == 0
        assert warm["held"] < 99
        assert warm["backend"] >= 99


async def test_server_timing_stands_after_the_backends_own() -> None:
    async with proxy_rig(answer(ok(b"ok", b"Server-Timing: db;dur=5")), routes=[timed()]) as rig:
        message = await (await rig.client()).ask(get())
        values = [value for name, value in message.fields if name == b"server-timing"]
        assert values[0] == b"db;dur=5"
        assert durations(values[1])["held"] >= 0
        assert message.get(COLD) == b"false"


async def test_server_timing_is_added_only_if_the_route_asks_for_it() -> None:
    async with proxy_rig() as rig:
        assert (await (await rig.client()).ask(get())).get(b"server-timing") is None
