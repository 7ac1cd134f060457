"""Requests to targets outside of discovery: DNS names, fixed lists, Services that are another name; and loops."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from fleet.discovery.sources import Alias
from fleet.routing.route import ColdStart, HeaderChanges, Placeholder, Protection, Route, Rule, Target, Timeouts, WeightedTarget
from tests.support.dns_server import DnsServer, Records
from tests.support.h2_peer import connected
from tests.support.loopback import APP
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import RawBackend, answer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig
from tests.wire.test_interceptor_pages import pages, shown

LOCAL: dict[str, Any] = {"outside_allowed": "loopback", "outside_min_ttl": 0.1}
HERE: Records = {("api.test.", "A"): ["127.0.0.1"]}


def to(target: Target, *rules: Rule, app: str = APP, **more: Any) -> Route:
    return Route(app=app, target=target, rules=rules or (Rule(hosts=("a.test",)),), **more)


async def test_a_name_and_all_of_its_addresses_change(tmp_path: Path) -> None:
    records: Records = dict(HERE)
    async with DnsServer(records) as dns, proxy_rig(resolver=dns.lookup(tmp_path), diagnostics=True, **LOCAL) as rig:
        dns.ttl = 0
        backend = rig.backends[0]
        target = Target(host="API.test", port=backend.address[1])
        rig.set_routes(to(target))
        client = await rig.client()
        told = await client.ask(get())
        assert (told.status, told.body) == (200, b"ok")
        (request,) = backend.requests
        assert request.all(b"host") == [b"a.test"], "as the client sent it"
        records[("api.test.", "A")] = ["127.0.0.1", "127.0.0.9"]
        async with pages(rig) as page:

            async def hosts() -> set[str]:
                return {row["host"] for row in (await shown(page, "/backends"))[target.key]["backends"]}

            await eventually(lambda: len(dns.asked) > 6)
            assert await hosts() == {"127.0.0.1", "127.0.0.9"}
        for _ in range(8):  # nobody listens at the other address: it is set aside, and no request fails
            assert (await client.ask(get())).status == 200


async def test_requests_are_balanced_over_a_list() -> None:
    async with proxy_rig(backends=3, **LOCAL) as rig:
        addresses = tuple(f"127.0.0.1:{backend.address[1]}" for backend in rig.backends)
        rig.set_routes(to(Target(addresses=addresses)))
        client = await rig.client()
        for _ in range(60):
            assert (await client.ask(get())).status == 200
        assert all(len(backend.requests) >= 5 for backend in rig.backends)


async def test_addresses_that_refuse_are_probed_and_come_back() -> None:
    """The probe of the route, as for any target."""
    async with proxy_rig(answer(ok()), backends=0, **LOCAL) as rig:
        backend = await rig.backend(answer(*[ok()] * 50), listed=False)
        port = backend.address[1]
        rig.set_routes(
            to(
                Target(addresses=(f"127.0.0.1:{port}",)),
                protection=Protection(readiness_path="/up"),
                timeouts=Timeouts(readiness=20.0),
            )
        )
        assert (await (await rig.client()).ask(get(b"/x"))).status == 200
        assert backend.requests[0].target == b"/up"


async def test_what_is_not_allowed_is_refused_at_once_and_said(tmp_path: Path) -> None:
    records: Records = {("api.test.", "A"): ["127.0.0.1", "10.0.0.1", "169.254.169.254"]}
    async with DnsServer(records) as dns, proxy_rig(resolver=dns.lookup(tmp_path), backends=0, diagnostics=True) as rig:
        targets = [Target(host="api.test", port=80), Target(addresses=("127.0.0.1", "[::ffff:127.0.0.1]:81"), port=80)]
        for target in targets:
            rig.set_routes(to(target))
            await eventually(lambda at=target: any(one.key == at.key and one.trouble for one in rig.endpoints))  # type: ignore[misc]
            began = time.monotonic()
            told = await (await rig.client()).ask(get())
            assert (told.status, time.monotonic() - began < 5.0) == (503, True)
            assert b"has no backend: its addresses are not among those that WEIR_OUTSIDE_ALLOWED allows" in told.body
            assert b"127.0" not in told.body
            (report,) = rig.interceptor.proxy.waits.report(rig.interceptor.proxy.clock())
            assert report.trouble_kind == "RefusedAddress"
            async with pages(rig) as page:
                assert (await shown(page, "/backends"))[target.key]["trouble"] == report.trouble
            rig.set_routes()


async def test_a_name_that_does_not_exist_until_it_does(tmp_path: Path) -> None:
    records: Records = {}
    async with DnsServer(records) as dns, proxy_rig(resolver=dns.lookup(tmp_path), **LOCAL) as rig:
        dns.ttl = 0
        rig.set_routes(to(Target(host="api.test", port=rig.backends[0].address[1])))
        await eventually(lambda: dns.asked)
        await eventually(lambda: rig.endpoints[0].hopeless)
        told = await (await rig.client()).ask(get())
        assert told.status == 503
        assert b"application default/a has no backend: its name does not exist (NXDOMAIN)" in told.body
        (report,) = rig.interceptor.proxy.waits.report(rig.interceptor.proxy.clock())
        assert (report.trouble_kind, report.trouble) == ("NoAddress", "its name does not exist (NXDOMAIN)")
        records.update(HERE)
        await eventually(lambda: rig.endpoints[0].ready)
        assert (await (await rig.client()).ask(get())).status == 200


async def test_requests_wait_while_no_name_server_answers_and_get_the_placeholder_or_the_fallback(tmp_path: Path) -> None:
    async with DnsServer(dict(HERE)) as dns:
        dns.silent = True
        look = dns.lookup(tmp_path, ask_seconds=0.1, seconds=0.3)
        async with proxy_rig(resolver=look, **LOCAL) as rig:
            port = rig.backends[0].address[1]
            target = Target(host="api.test", port=port)
            rig.set_routes(to(target))
            waiting = await rig.client()
            waiting.send(get())
            await eventually(lambda: rig.app.entry.held == 1)
            rig.set_routes(to(target, cold_start=ColdStart(placeholder=Placeholder())))
            assert (await waiting.response()).status == 503
            rig.set_routes(to(target, timeouts=Timeouts(readiness=0.2), cold_start=ColdStart(fallback=Target(APP))))
            assert (await (await rig.client()).ask(get())).status == 200
            rig.set_routes(to(target))
            waiting.send(get())
            await eventually(lambda: rig.app.entry.held == 1)
            dns.silent = False
            assert (await waiting.response()).status == 200


async def test_no_connection_is_accepted_there(tmp_path: Path) -> None:
    async with DnsServer(dict(HERE)) as dns, proxy_rig(resolver=dns.lookup(tmp_path), backends=0, **LOCAL) as rig:
        closed = RawBackend()
        await closed.start()
        port = closed.address[1]
        await closed.close()
        rig.set_routes(to(Target(host="api.test", port=port), timeouts=Timeouts(readiness=0.3)))
        assert (await (await rig.client()).ask(get())).status == 502
        (report,) = rig.interceptor.proxy.waits.report(rig.interceptor.proxy.clock())
        assert (report.listed, report.ready, report.last_error, report.trouble_kind) == (1, 0, "Connection refused", "")


# -- loops ------------------------------------------------------------------------------------------------------------


def _mine(rig: Rig) -> Target:
    return Target(addresses=(f"127.0.0.1:{rig.interceptor.proxy_port}",))


@pytest.mark.parametrize("request_bytes", [get(), post(b"hello"), post(b"hello", chunked=True)], ids=["get", "post", "chunked"])
async def test_a_target_that_leads_back_here_is_answered_with_508(request_bytes: bytes) -> None:
    async with proxy_rig(backends=0, **LOCAL) as rig:
        rig.set_routes(to(_mine(rig)))
        client = await rig.client()
        told = await client.ask(request_bytes)
        assert told.status == 508
        assert b"its target leads back here" in told.body
        assert rig.app.stats.own["loop", 508] == 1
        assert rig.app.entry.size(rig.interceptor.proxy.clock()).requests_total == 1
        rig.set_routes()  # closes the connection that it has kept to itself


async def test_a_loop_over_two_routes_ends_whatever_their_rules_say() -> None:
    changes = HeaderChanges(set=(("Host-Of", "x"),), remove=("X-A",))
    async with proxy_rig(backends=0, **LOCAL) as rig:
        mine = _mine(rig)
        one = to(mine, Rule(hosts=("a.test",), paths=("/one",), request_headers=changes))
        two = to(
            mine, Rule(hosts=("a.test",), paths=("/",), backends=(WeightedTarget(addresses=mine.addresses),)), app="default/b"
        )
        rig.set_routes(one, two)
        for path in (b"/one", b"/two"):
            assert (await (await rig.client()).ask(get(path))).status == 508
        rig.set_routes()


async def test_a_fallback_that_leads_back_here() -> None:
    async with proxy_rig(backends=0, **LOCAL) as rig:
        rig.set_routes(to(Target(APP), timeouts=Timeouts(readiness=0.1), cold_start=ColdStart(fallback=_mine(rig))))
        began = time.monotonic()
        assert (await (await rig.client()).ask(get())).status == 508
        assert time.monotonic() - began < 10.0
        rig.set_routes()


async def test_over_http2_too() -> None:
    async with proxy_rig(backends=0, **LOCAL) as rig:
        rig.set_routes(to(_mine(rig)))
        async with connected(rig.interceptor.proxy_port) as peer:
            number = peer.ask(
                ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.test")), end=True
            )
            head, _ = await peer.answer(number)
            assert head[b":status"] == b"508"
        rig.set_routes()


async def test_marks_of_others_stay_and_only_requests_to_the_outside_are_marked() -> None:
    async with proxy_rig(backends=2, **LOCAL) as rig:
        there = Target(addresses=(f"127.0.0.1:{rig.backends[1].address[1]}",))
        inside, outside = to(Target(APP)), to(there, Rule(hosts=("b.test",)), app="default/b")
        rig.sources.set(APP, [rig.backends[0].backend])
        rig.set_routes(inside, outside)
        client = await rig.client()
        assert (await client.ask(get(b"/", b"CDN-Loop: other.example; a=1, third"))).status == 200
        assert (await client.ask(get(b"/", b"CDN-Loop: other.example; a=1, third", host=b"b.test"))).status == 200
        assert rig.backends[0].received.lower().count(b"cdn-loop") == 1
        (marked,) = rig.backends[1].requests
        values = [value for name, value in marked.fields if name.lower() == b"cdn-loop"]
        assert values[0] == b"other.example; a=1, third"
        assert len(values) == 2
        assert values[1].startswith(b"weir-")
        # The same mark means the same route: it has been here.
        assert (await client.ask(get(b"/", b"CDN-Loop: x, " + values[1], host=b"b.test"))).status == 508
        assert (await client.ask(get(b"/", b"CDN-Loop: x, " + values[1]))).status == 200, "in the cluster nothing has changed"


async def test_a_service_that_is_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with DnsServer(dict(HERE)) as dns, proxy_rig(resolver=dns.lookup(tmp_path), backends=2, **LOCAL) as rig:
        dns.ttl = 0
        first, second = rig.backends
        aliases: dict[str, Alias] = {}
        monkeypatch.setattr(rig.sources, "alias", aliases.get)
        rig.sources.set(APP, [first.backend])
        client = await rig.client()
        assert (await client.ask(get())).status == 200
        aliases[APP] = Alias(f"dns:api.test.:{second.address[1]}")
        rig.sources.set(APP, [])  # as discovery tells it: no pods any more
        for number in range(1, 4):
            assert (await client.ask(get())).status == 200
            assert len(second.requests) == number
        assert b"CDN-Loop: weir-" in second.received
        del aliases[APP]
        rig.sources.set(APP, [first.backend])
        assert (await client.ask(get())).status == 200
        assert (len(first.requests), first.received.count(b"CDN-Loop")) == (2, 0)
        asked = len(dns.asked)
        await eventually(lambda: not rig.interceptor._backends._outside._keys)
        assert len(dns.asked) <= asked + 2
