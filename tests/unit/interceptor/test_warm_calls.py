"""The number of our functions that one warm request calls: an exact measure, unlike time. An increase needs a reason."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from fleet.routing.previews import HOST_PATTERNS, Copy, Previews
from fleet.routing.route import Target
from fleet.routing.table import RoutingTable
from tests.support.calls import calls
from tests.support.loopback import APP, route
from tests.support.proxy_memory import MemoryProxy

SHORT = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
BROWSER = (
    b"GET /shop/items?page=2 HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nsec-ch-ua-mobile: ?0\r\n"
    b"Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept-Encoding: gzip, br\r\n"
    b"Accept-Language: en\r\nCookie: session=0123456789abcdef\r\n\r\n"
)
NEITHER = b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: session=1\r\nUber-Ctx: f1\r\n\r\n"
POST = b'POST /items HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"name": "a"}'
SMALL = b"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "answer", "number"),
    [(SHORT, SMALL, 41), (BROWSER, SMALL, 41), (POST, SMALL, 48), (SHORT, CHUNKED, 61)],
    ids=["short", "browser", "post", "chunked answer"],
)
async def test_calls_of_a_warm_request(request_bytes: bytes, answer: bytes, number: int) -> None:
    memory = MemoryProxy(connections=1)
    client, (backend,) = memory.connect(), memory.backends
    for _ in range(3):  # fill caches first
        await memory.deliver(client, [request_bytes])
        await memory.deliver(backend, [answer])
    with calls() as made:
        await memory.deliver(client, [request_bytes])
        await memory.deliver(backend, [answer])
    assert client.written.count(b"200 OK") == 4
    assert made.total() == number, "more calls need a reason; fewer are the new number: " + ", ".join(sorted(made.elements()))


@pytest.mark.parametrize("request_bytes", [SHORT, BROWSER, NEITHER], ids=["short", "browser", "other fields"])
async def test_an_application_with_previews_costs_its_own_requests_one_call_more(request_bytes: bytes) -> None:
    """However many there are, and whatever may choose one: nothing of a head is read that cannot name one."""

    async def made(previews: Previews | None) -> Counter[str]:
        memory = MemoryProxy(connections=1)
        memory.proxy.set_table(RoutingTable([replace(route(), previews=previews)]))
        client, (backend,) = memory.connect(), memory.backends
        for _ in range(3):
            await memory.deliver(client, [request_bytes])
            await memory.deliver(backend, [SMALL])
        with calls() as counted:
            await memory.deliver(client, [request_bytes])
            await memory.deliver(backend, [SMALL])
        return counted

    copies = tuple(Copy(f"f{number}", f"{APP}--f{number}", Target(f"{APP}--f{number}")) for number in range(500))
    more = await made(Previews(baggage="preview", cookie="preview", hosts=HOST_PATTERNS, copies=copies))
    more.subtract(await made(None))
    assert sum(more.values()) == 1, +more
