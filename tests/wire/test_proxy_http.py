"""HTTP/1.1 as clients and backends of the proxy see it, over real sockets: framing, versions, header rules, refusals."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.loopback import route
from tests.support.raw_requests import get, post
from tests.support.strict_reader import Message, read_requests, read_responses
from tests.support.waiting import turns
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_rig import eventually, proxy_rig

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def echo(peer: BackendPeer) -> None:
    """Answer with the target and the body."""
    while True:
        message = await peer.request()
        peer.send(ok(message.target + b" " + message.body))


def fields(message: Message) -> dict[bytes, bytes]:
    return dict(message.fields)


# -- connections --------------------------------------------------------------------------------------------------


async def test_one_connection_carries_many_requests_on_both_sides() -> None:
    async with proxy_rig(echo) as rig:
        client = await rig.client()
        for number in range(20):
            assert (await client.ask(get(b"/%d" % number))).body == b"/%d " % number
        assert len(rig.backends[0].peers) == 1
        assert rig.pooled == 1
        (size,) = rig.ledger.sizes(0.0)
        assert size.requests_total == 20


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Also when an earlier answer takes longer, and when bodies of either framing stand between."""

    async def slower_first(peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            await turns(100 if message.target == b"/0" else 1)
            peer.send(ok(message.target + message.body))

    async with proxy_rig(slower_first) as rig:
        client = await rig.client()
        client.send(
            get(b"/0") + post(b"b", b"/1") + post(b"c", b"/2", chunked=True) + get(b"/3") + get(b"/4", b"Connection: close")
        )
        assert [(await client.response()).body for _ in range(5)] == [b"/0", b"/1b", b"/2c", b"/3", b"/4"]
        assert await client.ends()


async def test_connection_close_is_kept_on_the_side_that_said_it() -> None:
    async with proxy_rig(echo) as rig:
        client = await rig.client()
        message = await client.ask(get(b"/", b"Connection: close"))
        assert message.get(b"connection") == b"close"
        assert await client.ends()
        assert rig.pooled == 1
    closing = answer(ok(b"x", b"Connection: close"))
    async with proxy_rig(closing) as rig:
        client = await rig.client()
        for _ in range(2):
            assert (await client.ask(get())).get(b"connection") is None
        assert rig.pooled == 0
        assert len(rig.backends[0].peers) == 2


async def test_http_1_0_closes_unless_asked_to_keep() -> None:
    async with proxy_rig(echo) as rig:
        client = await rig.client()
        message = await client.ask(get(version=b"1.0"))
        assert message.get(b"connection") == b"close"
        assert await client.ends()
        kept = await rig.client()
        for _ in range(2):
            assert (await kept.ask(get(b"/", b"Connection: keep-alive", version=b"1.0"))).get(b"connection") == b"keep-alive"
        assert all(seen.all(b"connection") == [] for seen in rig.backends[0].requests)


async def test_own_answers_to_http_1_0_close() -> None:
    """Without a word that the connection is kept, such a client waits for its end."""
    async with proxy_rig() as rig:
        client = await rig.client()
        message = await client.ask(get(b"/", b"Connection: keep-alive", version=b"1.0", host=b"nobody.test"))
        assert (message.status, message.get(b"connection")) == (404, b"close")
        assert await client.ends()


async def test_chunks_are_taken_off_for_http_1_0() -> None:
    chunked = CHUNKED + b"5;x\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n"
    async with proxy_rig(answer(chunked)) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Connection: keep-alive", version=b"1.0"))
        (message,) = read_responses(await client.read_to_end(), [b"GET"], closed=True)
        assert (message.body, message.framing) == (b"hello world", "close")
        assert rig.pooled == 1


async def test_an_answer_that_ends_with_its_connection() -> None:
    async def until_close(peer: BackendPeer) -> None:
        await peer.request()
        for _ in range(3):
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n" if _ == 0 else b"part")
            await turns()

    async with proxy_rig(until_close) as rig:
        client = await rig.client()
        message = await client.ask(get())
        assert (message.body, message.get(b"connection"), message.framing) == (b"partpart", b"close", "close")


async def test_an_http_1_0_backend() -> None:
    async def old(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with proxy_rig(old) as rig:
        client = await rig.client()
        for _ in range(2):
            assert (await client.ask(get())).body == b"ok"
        assert rig.pooled == 0


# -- framing ------------------------------------------------------------------------------------------------------


async def test_answers_without_a_body_leave_the_connection_in_step() -> None:
    answers = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n",
        ok(b""),
        ok(b"end"),
    )
    async with proxy_rig(answer(*answers)) as rig:
        client = await rig.client()
        first = await client.ask(get(method=b"HEAD"), b"HEAD")
        assert (first.status, first.get(b"content-length")) == (200, b"5")
        assert (await client.ask(get(method=b"HEAD"), b"HEAD")).status == 200
        assert (await client.ask(get())).status == 204
        unmodified = await client.ask(get())
        assert (unmodified.status, unmodified.get(b"content-length")) == (304, b"5")
        assert (await client.ask(get())).body == b""
        assert (await client.ask(get())).body == b"end"
        assert len(rig.backends[0].peers) == 1


@pytest.mark.parametrize("head", [b"204 No Content", b"304 Not Modified"])
async def test_a_body_where_none_may_be_goes_to_nobody(head: bytes) -> None:
    wire = b"HTTP/1.1 " + head + b"\r\nContent-Length: 4\r\n\r\nevil"
    async with proxy_rig(answer(wire, ok(b"good"))) as rig:
        client = await rig.client()
        assert (await client.ask(get())).status == int(head[:3])
        rig.backends[0].script = answer(ok(b"good"))
        assert (await client.ask(get())).body == b"good"
        assert len(rig.backends[0].peers) == 2


async def test_chunks_and_trailers_pass_both_ways() -> None:
    chunked = CHUNKED + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n"
    async with proxy_rig(answer(chunked)) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Transfer-Encoding: chunked", b"Trailer: X-T", method=b"POST"))
        client.send(b"5\r\nhello\r\n0\r\nX-T: u\r\nTransfer-Encoding: x\r\n\r\n")
        message = await client.response()
        assert (message.body, message.trailers, message.framing) == (b"abc", [(b"x-sum", b"1")], "chunked")
        (seen,) = rig.backends[0].requests
        assert (seen.body, seen.trailers, seen.get(b"trailer")) == (b"hello", [(b"x-t", b"u")], b"X-T")


async def test_a_length_of_nought_is_reported() -> None:
    """Some servers answer 411 to a POST that tells no length."""
    async with proxy_rig(echo) as rig:
        client = await rig.client()
        await client.ask(post(b""))
        assert rig.backends[0].requests[0].get(b"content-length") == b"0"


async def test_interim_answers_pass_to_clients_that_know_them() -> None:
    wire = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok(b"end")
    async with proxy_rig(answer(wire)) as rig:
        client = await rig.client()
        client.send(get())
        statuses = [(await client.response(interim=True)).status for _ in range(3)]
        assert statuses == [102, 103, 200]
        old = await rig.client()
        old.send(get(version=b"1.0"))
        (message,) = read_responses(await old.read_to_end(), [b"GET"], closed=True)
        assert message.body == b"end"
        assert b" 103 " not in old.received


async def test_endless_interim_answers_are_a_502() -> None:
    async with proxy_rig(answer(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)) as rig:
        client = await rig.client()
        client.send(post(b"x"))
        message = await client.response()
        assert message.status == 502


async def test_interim_answers_have_no_more_in_them_than_a_head() -> None:
    """Each line costs as much as one of any head; what comes before an answer may cost no more than one."""
    large = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </x>\r\n" * 200 + b"\r\n"
    async with proxy_rig(answer(large * 3 + ok(), large * 8 + ok())) as rig:
        client = await rig.client()
        client.send(get())
        assert [(await client.response(interim=True)).status for _ in range(4)] == [103, 103, 103, 200]
        assert (await client.ask(post(b"x"))).status == 502


@pytest.mark.parametrize("pieces", [False, True])
async def test_interim_answers_of_usual_size_pass(pieces: bool) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </style.css>; rel=preload; as=style\r\n" * 30 + b"\r\n"

    async def script(peer: BackendPeer) -> None:
        await peer.request()
        for part in [hints] * 6 if pieces else [hints * 6]:
            peer.send(part)
            await asyncio.sleep(0)
        peer.send(ok())

    async with proxy_rig(script) as rig:
        client = await rig.client()
        client.send(get())
        assert [(await client.response(interim=True)).status for _ in range(7)] == [103] * 6 + [200]


async def test_expect_is_the_backends_to_answer() -> None:
    """The body goes on only when the backend asked for it; a refusal ends the connection, whose body never came."""

    async def decide(peer: BackendPeer) -> None:
        head = await peer.read_until(b"\r\n\r\n")
        assert b"Expect: 100-continue" in head
        if b"/no" in head:
            peer.send(ok(b"no", status=b"417 Expectation Failed"))
            await peer.read_to_end()
            return
        assert head.endswith(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.send(ok((await peer.request()).body))

    async with proxy_rig(decide) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Expect: 100-continue", b"Content-Length: 4", method=b"POST"))
        assert (await client.response(interim=True)).status == 100
        client.send(b"body")
        assert (await client.response()).body == b"body"
        refused = await rig.client()
        refused.send(get(b"/no", b"Expect: 100-continue", b"Content-Length: 4", method=b"POST"))
        message = await refused.response()
        assert (message.status, message.get(b"connection")) == (417, b"close")
        assert await refused.ends()


# -- fields -------------------------------------------------------------------------------------------------------


async def test_hop_by_hop_fields_stay_on_their_hop() -> None:
    hops = (
        b"Connection: close, X-Mine, x-other",
        b"X-Mine: 1",
        b"X-Other: 2",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: secret",
        b"TE: gzip",
        b"X-Kept: yes",
        b"Via: 1.1 other",
    )
    response = ok(
        b"x", b"Connection: X-Theirs", b"X-Theirs: 1", b"Keep-Alive: timeout=9", b"Proxy-Authenticate: x", b"X-Kept: yes"
    )
    async with proxy_rig(answer(response)) as rig:
        client = await rig.client()
        message = fields(await client.ask(get(b"/", *hops)))
        own = {b"x-keda-http-cold-start": b"false", b"date": b"then"}
        assert message == {b"x-kept": b"yes", b"content-length": b"1", b"connection": b"close", **own}
        (seen,) = rig.backends[0].requests
        assert {name for name, _ in seen.fields} == {
            b"host",
            b"x-kept",
            b"via",
            b"x-forwarded-for",
            b"x-forwarded-proto",
            b"x-forwarded-host",
        }
        assert seen.get(b"via") == b"1.1 other"


async def test_connection_cannot_take_away_what_backends_trust() -> None:
    named = b"Connection: Host, Cookie, Authorization, X-Forwarded-For, Forwarded, Content-Length"
    async with proxy_rig(echo) as rig:
        client = await rig.client()
        wire = post(b"body", b"/", named, b"Cookie: a", b"Authorization: b", b"Forwarded: for=c", b"X-Forwarded-For: d")
        assert (await client.ask(wire)).body == b"/ body"
        (seen,) = rig.backends[0].requests
        assert fields(seen).items() >= {(b"cookie", b"a"), (b"authorization", b"b"), (b"forwarded", b"for=c")}
        assert seen.get(b"x-forwarded-for") == b"d, 127.0.0.1"


async def test_forwarding_fields() -> None:
    async with proxy_rig(echo) as rig:
        client = await rig.client()
        await client.ask(get(host=b"A.test:8080"))
        told = (
            b"X-Forwarded-For: 192.0.2.1",
            b"x-forwarded-for: 192.0.2.2",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: b.test",
        )
        await client.ask(get(b"/", *told))
        first, second = rig.backends[0].requests
    assert first.get(b"host") == b"A.test:8080"
    assert [first.get(b"x-forwarded-" + name) for name in (b"for", b"proto", b"host")] == [b"127.0.0.1", b"http", b"A.test:8080"]
    forwarded = [second.get(b"x-forwarded-" + name) for name in (b"for", b"proto", b"host")]
    assert forwarded == [b"192.0.2.1, 192.0.2.2, 127.0.0.1", b"https", b"b.test"]


async def test_a_target_goes_on_byte_for_byte() -> None:
    targets = [
        b"/a;b=c/d",
        b"//x//y/",
        b"/%2e%2e/%2F%00?a=%20&b=+",
        b"/../a/./b",
        b"/?",
        b"/?a?b",
        b"/a%zz",
        b"/\\x|y^`{}",
        b"/~!$&'()*,=:@",
    ]
    async with proxy_rig(echo) as rig:
        client = await rig.client()
        for target in targets:
            assert (await client.ask(get(target))).body == target + b" "


async def test_fields_go_on_in_their_order_and_case() -> None:
    async with proxy_rig(answer(ok(b"", b"X-b: 1", b"x-A: 2", b"Set-Cookie: a", b"Set-Cookie: b"))) as rig:
        client = await rig.client()
        client.send(get(b"/", b"x-Z:  spaced  ", b"X-a: \xe9", b"Cookie: a", b"Cookie: b"))
        wire = await client.read_until(b"\r\n\r\n")
        assert b"X-b: 1\r\nx-A: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n" in wire
        await eventually(lambda: rig.backends[0].requests)
        assert b"Cookie: a\r\nCookie: b\r\n" in rig.backends[0].received
        assert b"X-a: \xe9\r\n" in rig.backends[0].received
        assert fields(rig.backends[0].requests[0])[b"x-z"] == b"spaced"


# -- the proxy's own answers --------------------------------------------------------------------------------------


async def test_no_route_names_the_host_and_nobody_else() -> None:
    routes = [route(), route("secret/tenant", "secret.test", paths=("/only",))]
    async with proxy_rig(routes=routes) as rig:
        client = await rig.client()
        message = await client.ask(get(b"/x?token=1", host=b"nobody.test"))
        assert message.status == 404
        assert b'"nobody.test"' in message.body
        assert b"secret" not in message.body
        assert b"token" not in message.body
        assert (await client.ask(get(host=b"secret.test"))).status == 404
        assert (await client.ask(get(method=b"HEAD", host=b"nobody.test"), b"HEAD")).status == 404
        assert (await client.ask(get())).status == 200
        assert rig.interceptor.proxy.refusals["no_route", 404] == 3


async def test_what_a_client_sent_is_reported_harmlessly() -> None:
    async with proxy_rig() as rig:
        client = await rig.client()
        message = await client.ask(get(b"/<b>'\\x\"", host=b"%22;a.test"))
        assert (message.status, message.get(b"content-type")) == (404, b"text/plain; charset=utf-8")
        assert message.get(b"x-content-type-options") == b"nosniff"


async def test_no_table_is_a_503() -> None:
    async with proxy_rig() as rig:
        rig.interceptor.proxy.table = None
        client = await rig.client()
        message = await client.ask(get())
        assert (message.status, message.get(b"retry-after")) == (503, b"1")


BROKEN = {
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "equal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "splitting by bare LF": b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: evil\r\nContent-Length: 0\r\n\r\n",
    "splitting by bare CR": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil\r\nContent-Length: 0\r\n\r\n",
    "folded field": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "blank before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\x00\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"hello there\r\n\r\n",
    "greeting without an end": b"220 mail.example ESMTP\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 99 X\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "unasked switch": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nevil",
    "chunk of no size": CHUNKED + b"zz\r\nhello\r\n",
    "chunk size with 0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk without end": CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
    "large head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
}


async def test_a_broken_answer_is_a_502_and_never_sent_twice() -> None:
    async with proxy_rig() as rig:
        (backend,) = rig.backends
        for name, wire in BROKEN.items():
            backend.script = answer(wire)
            before = len(backend.peers)
            client = await rig.client()
            message = await client.ask(get())
            assert message.status == 502, name
            assert b"evil" not in message.body, name
            assert (rig.pooled, len(backend.peers)) == (0, before + 1), name
            backend.script = answer(ok(b"next", b"Connection: close"))
            assert (await client.ask(get(b"/next"))).body == b"next", name


async def test_bytes_after_an_answer_reach_nobody() -> None:
    """With it, shortly after it, and while the connection rests."""
    evil = ok(b"evil")

    async def late(peer: BackendPeer) -> None:
        message = await peer.request()
        peer.send(ok(b"good") + (evil if message.target == b"/with" else b""))
        await turns()
        peer.send(evil)
        await peer.read_to_end()

    async with proxy_rig(late) as rig:
        for target in (b"/with", b"/after", b"/with", b"/after"):
            client = await rig.client()
            assert (await client.ask(get(target))).body == b"good"
            await eventually(lambda: rig.pooled == 0 and not rig.connections_open)
            assert client.received == b""


async def test_a_broken_chunk_cuts_the_answer() -> None:
    arrived = asyncio.Event()

    async def broken(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(CHUNKED + b"5\r\nhello\r\n")
        await arrived.wait()
        peer.send(b"nonsense\r\n")
        await peer.read_to_end()

    async with proxy_rig(broken) as rig:
        client = await rig.client()
        client.send(get())
        await client.read_until(b"5\r\nhello\r\n")
        arrived.set()
        with pytest.raises(ConnectionError):
            await client.read_until(b"nonsense")
        assert client.received == b""
        assert read_requests(rig.backends[0].received)[0]
