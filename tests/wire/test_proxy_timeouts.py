"""Each time limit on real sockets: its status, its reason for metrics, and what the client is told."""

from __future__ import annotations

import asyncio
from time import monotonic

import msgspec
import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Protection
from interceptor.http1.fields import HEAD_END
from interceptor.metrics import Metrics
from tests.support.loopback import APP, route
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import BackendPeer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

NAMED = b"application default/a"


async def never_answers(peer: BackendPeer) -> None:
    await peer.read_to_end()


async def half_an_answer(peer: BackendPeer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhalf")
    await peer.read_to_end()


async def tells(rig: Rig, client: RawClient, status: int, reason: str, *words: bytes) -> None:
    """The next answer is of this status and names the application, and metrics have the reason."""
    message = await client.response()
    assert message.status == status, message.body
    for word in (NAMED, *words):
        assert word in message.body
    assert dict(rig.app.stats.own) == {(reason, status): 1}


async def is_reset(client: RawClient) -> None:
    """The end is one that nobody can take for that of an answer."""
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(client.reader.read(), 60)


async def test_no_backend_was_ready() -> None:
    async with proxy_rig(routes=[route(readiness=0.2)], backends=0) as rig:
        client = await rig.client()
        client.send(get())
        await tells(rig, client, 504, "readiness_timeout", b"was ready within 0.2 s")


async def test_every_backend_was_busy() -> None:
    bounded = msgspec.structs.replace(route(readiness=0.3), protection=Protection(backend_concurrency=1))
    async with proxy_rig(never_answers, routes=[bounded]) as rig:
        first, second = await rig.client(), await rig.client()
        first.send(get())
        await eventually(lambda: rig.backends[0].requests)
        second.send(get())
        message = await second.response()
        assert (message.status, message.get(b"retry-after")) == (503, b"1")
        assert b"no backend of application default/a had room within 0.3 s" in message.body
        assert dict(rig.app.stats.own) == {("busy", 503): 1}


async def test_no_backend_took_a_connection_in_time(silent: Backend) -> None:
    async with proxy_rig(routes=[route(connect=0.1, readiness=0.4)], backends=0) as rig:
        rig.sources.set(APP, [silent])
        client = await rig.client()
        client.send(get())
        await tells(rig, client, 504, "connect_timeout", b"took a connection within 0.4 s", b"connect timed out")


async def test_every_backend_refused() -> None:
    async with proxy_rig(routes=[route(readiness=0.2)]) as rig:
        await rig.backends[0].close()
        client = await rig.client()
        client.send(get())
        await tells(rig, client, 502, "connect", b"took a connection within 0.2 s", b"Connection refused")


async def test_no_response_came() -> None:
    async with proxy_rig(never_answers, routes=[route(response_header=0.2)]) as rig:
        client = await rig.client()
        client.send(get())
        await tells(rig, client, 504, "response_header_timeout", b"no response within 0.2 s")


async def test_the_time_for_a_response_begins_when_the_request_was_sent() -> None:
    async with proxy_rig(never_answers, routes=[route(response_header=0.3)]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: 4", method=b"POST"))
        for byte in b"body":
            await asyncio.sleep(0.15)  # half of the limit, which is of real time in this file
            client.send(bytes((byte,)))
        began = monotonic()
        await tells(rig, client, 504, "response_header_timeout")
        assert monotonic() - began > 0.25


@pytest.mark.parametrize("where", ["held", "dialing", "sent"])
async def test_the_whole_request_took_too_long(where: str, silent: Backend) -> None:
    limited = route(request=0.3, readiness=30.0, connect=30.0)
    async with proxy_rig(never_answers, routes=[limited], backends=where == "sent") as rig:
        if where == "dialing":
            rig.sources.set(APP, [silent])
        client = await rig.client()
        client.send(get())
        await tells(rig, client, 504, "request_timeout", b"longer than 0.3 s for the whole request")
        if where == "dialing":  # nobody waits for that connection any more
            await rig.interceptor.proxy.endpoint_sets[0].close()


async def test_an_answer_under_way_is_reset_when_the_request_takes_too_long() -> None:
    async with proxy_rig(half_an_answer, routes=[route(request=0.3)]) as rig:
        client = await rig.client()
        client.send(get())
        await is_reset(client)
        assert dict(rig.app.stats.cut) == {"request_timeout": 1}
        assert not rig.app.stats.own


async def test_an_answer_under_way_is_reset_when_it_falls_silent() -> None:
    async with proxy_rig(half_an_answer, routes=[route(idle=0.2)]) as rig:
        client = await rig.client()
        client.send(get())
        await is_reset(client)
        assert dict(rig.app.stats.cut) == {"idle_timeout": 1}


async def test_a_tunnel_is_ended_when_it_falls_silent() -> None:
    async def switches(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        await peer.read_to_end()

    async with proxy_rig(switches, routes=[route(idle=0.2)]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
        assert (await client.response()).status == 101
        await is_reset(client)
        await eventually(lambda: not rig.backends[0].open)


async def test_a_client_that_stops_sending_its_body_is_told_so() -> None:
    async with proxy_rig(never_answers, routes=[route(idle=0.2)]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"half")
        await tells(rig, client, 408, "slow_body", b"nothing came for 0.2 s")
        assert await client.ends()


async def test_a_backend_that_stops_taking_the_body_is_reported() -> None:
    async def takes_nothing(peer: BackendPeer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with proxy_rig(takes_nothing, routes=[route(idle=0.3)]) as rig:
        client = await rig.client()
        client.send(post(b"x" * (16 << 20)))
        await tells(rig, client, 504, "body_timeout", b"took nothing of the request's body for 0.3 s")


async def test_metrics_have_all_of_it() -> None:
    async with proxy_rig(half_an_answer, routes=[route(idle=0.2, readiness=0.2)]) as rig:
        client = await rig.client()
        client.send(get())
        await is_reset(client)
        rig.sources.set(APP, [])
        client = await rig.client()
        client.send(get())
        await tells(rig, client, 504, "readiness_timeout")
        text = "".join(Metrics(rig.interceptor.proxy, 3_000_000).parts())
        labels = 'app="a",{}namespace="default",reason="{}"'
        own = labels.format('code="504",', "readiness_timeout")
        assert f"weir_interceptor_own_answers_total{{{own}}} 1.0" in text
        assert f"weir_interceptor_cut_answers_total{{{labels.format('', 'idle_timeout')}}} 1.0" in text
        assert 'weir_interceptor_cold_start_duration_seconds_count{app="a",namespace="default",outcome="timeout"} 1.0' in text
        assert "weir_interceptor_fallbacks_total{" not in text, "what never happened is left out"
        assert "weir_interceptor_cold_start_rejections_total{" not in text
        for code, cold in (("200", "false"), ("504", "true")):
            kind = f'app="a",code="{code}",cold_start="{cold}",method="GET",namespace="default"'
            assert f"weir_interceptor_requests_total{{{kind}}} 1.0" in text
            assert f"weir_interceptor_request_duration_seconds_count{{{kind}}} 1.0" in text


# -- slow is not silent -------------------------------------------------------------------------------------------

SILENT = 1.5
"""Seconds of silence that are permitted: many times what a busy machine takes from a process at once."""
SLOWLY = 2 * SILENT
"""Seconds for which somebody reads slowly."""
SMALL_BUFFER = 64 * 1024


MUCH = 24 << 20


async def sends_much(peer: BackendPeer) -> None:
    """More than all buffers on the way hold."""
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MUCH + b"x" * MUCH)
    await peer.read_to_end()


async def read_slowly(client: RawClient, seconds: float = SLOWLY) -> int:
    """Bytes that came. A reset is an error."""
    began, size = monotonic(), 0
    while monotonic() - began < seconds:
        data = await client.reader.read(16 * 1024)
        assert data, "ended early"
        size += len(data)
        await asyncio.sleep(0.05)  # how slow it is, is what is tried: the kernel takes part in it, and has no other clock
    return size


async def test_a_client_that_reads_slowly_is_not_silent_until_it_stops() -> None:
    async with proxy_rig(sends_much, routes=[route(idle=SILENT)]) as rig:
        client = await rig.client(receive_buffer=SMALL_BUFFER, limit=SMALL_BUFFER)
        client.send(get())
        assert await read_slowly(client) < MUCH
        assert not rig.app.stats.cut
        await eventually(lambda: rig.app.stats.cut)
        assert dict(rig.app.stats.cut) == {"idle_timeout": 1}


async def test_a_tunnel_whose_client_reads_slowly_is_not_silent_until_it_stops() -> None:
    async def switches(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + b"x" * MUCH)
        await peer.read_to_end()

    async with proxy_rig(switches, routes=[route(idle=SILENT)]) as rig:
        client = await rig.client(receive_buffer=SMALL_BUFFER, limit=SMALL_BUFFER)
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
        await read_slowly(client)
        assert rig.app.entry.connections == 1
        await eventually(lambda: not rig.app.entry.connections)


async def test_a_backend_that_takes_a_body_slowly_is_not_silent() -> None:
    wire = post(b"x" * (8 << 20))

    async def takes_slowly(peer: BackendPeer) -> None:
        began = monotonic()
        while monotonic() - began < SLOWLY:
            assert await peer.read_some(16 * 1024), "ended early"
            await asyncio.sleep(0.05)  # as `read_slowly` does
        # Not taken to pieces after each read: whoever looks through megabytes again and again is slow where it should not be.
        while not peer.received.endswith(b"x") or len(peer.received) < len(wire):
            assert await peer.read_some(1 << 20), "ended early"
        peer.send(ok())
        await peer.read_to_end()

    async with proxy_rig(routes=[route(idle=SILENT, response_header=SILENT)], backends=0) as rig:
        await rig.backend(takes_slowly, receive_buffer=SMALL_BUFFER)
        client = await rig.client()
        assert (await client.ask(wire)).status == 200


async def test_a_body_that_flows_while_its_answer_does_not_is_not_silent() -> None:
    async def answers_early(peer: BackendPeer) -> None:
        await peer.read_until(HEAD_END)
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")
        await peer.request()
        peer.send(b"0\r\n\r\n")

    async with proxy_rig(answers_early, routes=[route(idle=1.0)]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: 12", method=b"POST"))
        for byte in b"twelve bytes":
            await asyncio.sleep(0.1)  # a tenth of the limit; all of them take longer than it
            client.send(bytes((byte,)))
        assert (await client.response()).body == b"early"


async def test_a_client_that_waits_for_100_continue_has_the_time_limit_of_a_response() -> None:
    async with proxy_rig(never_answers, routes=[route(response_header=0.3, idle=30.0)]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Expect: 100-continue", b"Content-Length: 4", method=b"POST"))
        await tells(rig, client, 504, "response_header_timeout", b"no response within 0.3 s")


async def test_a_client_that_got_100_continue_has_the_time_limit_of_its_body() -> None:
    async def goes_on(peer: BackendPeer) -> None:
        await peer.read_until(HEAD_END)
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.request()
        peer.send(ok())

    async with proxy_rig(goes_on, routes=[route(response_header=0.3, idle=30.0)]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Expect: 100-continue", b"Content-Length: 4", method=b"POST"))
        assert (await client.response(interim=True)).status == 100
        await asyncio.sleep(0.6)  # twice the time for a response
        client.send(b"body")
        assert (await client.response()).status == 200


# -- a route that changes -----------------------------------------------------------------------------------------


async def test_what_was_sent_keeps_the_limits_that_it_began_with() -> None:
    async with proxy_rig(never_answers, routes=[route(request=0.4)]) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.backends[0].requests)
        rig.set_routes(route(request=30.0))
        await tells(rig, client, 504, "request_timeout", b"longer than 0.4 s for the whole request")


async def test_an_answer_under_way_keeps_the_limits_that_it_began_with() -> None:
    async with proxy_rig(half_an_answer, routes=[route(request=0.4, idle=30.0)]) as rig:
        client = await rig.client()
        client.send(get())
        await client.read_until(b"half")
        rig.set_routes(route(request=30.0, idle=30.0))
        await is_reset(client)
        assert dict(rig.app.stats.cut) == {"request_timeout": 1}


@pytest.mark.parametrize("before", [0.0, 30.0])
async def test_waiting_requests_get_a_limit_that_became_shorter(before: float) -> None:
    async with proxy_rig(routes=[route(readiness=before)], backends=0) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        rig.set_routes(route(readiness=0.3))
        await tells(rig, client, 504, "readiness_timeout", b"was ready within 0.3 s")


@pytest.mark.parametrize("after", [0.0, 30.0])
async def test_waiting_requests_get_a_limit_that_became_longer(after: float) -> None:
    async with proxy_rig(routes=[route(readiness=0.3, request=20.0)], backends=0) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.app.room)
        rig.set_routes(route(readiness=after, request=20.0))
        await asyncio.sleep(0.6)  # twice the limit that it was
        assert len(rig.app.room) == 1
        await rig.backend()
        assert (await client.response()).status == 200
