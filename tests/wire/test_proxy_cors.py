"""Requests from pages of other origins, on real sockets: an app that sleeps is not woken by a preflight."""

from __future__ import annotations

from time import monotonic
from typing import Any

import msgspec

from fleet.routing.cors import Cors
from fleet.routing.route import Route
from tests.support.loopback import route
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import answer, ok
from tests.wire.proxy_rig import Rig, proxy_rig
from tests.wire.test_grpcweb import TEXT, WEB, frames, from_text, trailers_of

PAGE = b"Origin: https://app.example.com"
ASKS = (PAGE, b"Access-Control-Request-Method: POST", b"Access-Control-Request-Headers: x-grpc-web")
ALLOWED = b"https://app.example.com"


def shared(**limits: Any) -> Route:
    return msgspec.structs.replace(route(**limits), cors=Cors((ALLOWED.decode(),)))


def requests_total(rig: Rig) -> int:
    return sum(size.requests_total for size in rig.ledger.sizes(monotonic()))


async def test_a_preflight_wakes_nothing() -> None:
    async with proxy_rig(backends=0, routes=[shared(readiness=0.2)]) as rig:
        client = await rig.client()
        message = await client.ask(get(b"/a.B/C", *ASKS, method=b"OPTIONS"), b"OPTIONS")
        assert (message.status, message.get(b"access-control-allow-origin")) == (204, ALLOWED)
        assert b"x-grpc-web" in (message.get(b"access-control-allow-headers") or b"")
        message = await client.ask(get(b"/", b"Origin: https://evil.test", *ASKS[1:], method=b"OPTIONS"), b"OPTIONS")
        assert (message.status, message.get(b"access-control-allow-origin")) == (403, None)
        assert (requests_total(rig), rig.app.stats.own["cors", 204], rig.app.stats.own["cors", 403]) == (0, 1, 1)
        message = await client.ask(get(b"/", PAGE))  # nobody is there; a page can read that
        assert (message.status, message.get(b"access-control-allow-origin")) == (504, ALLOWED)
        for kind, reader in (WEB, bytes), (TEXT, from_text):
            call = await client.ask(post(b"", b"/a.B/C", PAGE, b"Content-Type: " + kind.encode()))
            assert (call.status, call.get(b"access-control-allow-origin")) == (200, ALLOWED)
            assert trailers_of(frames(reader(call.body))[0])[b"grpc-status"] == b"4"


async def test_answers_of_backends_get_the_fields_too() -> None:
    async with proxy_rig(answer(ok()), routes=[shared()]) as rig:
        client = await rig.client()
        for fields, told in ((PAGE,), ALLOWED), ((b"Origin: https://evil.test",), None), ((), None):
            message = await client.ask(get(b"/", *fields))
            assert (message.status, message.get(b"access-control-allow-origin"), message.get(b"vary")) == (200, told, b"Origin")
        assert requests_total(rig) == 3
