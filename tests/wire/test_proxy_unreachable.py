"""An application that cannot be reached: what its clients, the log, the metrics and the controller are told, on real sockets."""

from __future__ import annotations

import logging
from time import monotonic

import grpc
import msgspec
import pytest

from fleet.routing.route import ColdStart, Route, Rule, StaticResponse, StaticRoute, Timeouts
from interceptor.app import waits
from interceptor.metrics import Metrics
from protos.weir.interceptor.v1 import waiting_pb2, waiting_pb2_grpc
from tests.support.loopback import APP, route
from tests.support.raw_requests import get
from tests.wire.proxy_backend import answer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

MISSING = ("service_not_found", "there is no Service default/a")
Stream = grpc.aio.UnaryStreamCall[waiting_pb2.WatchWaitingRequest, waiting_pb2.WatchWaitingResponse]
SPARE = "default/spare"


def lacks(rig: Rig, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, str] | None = MISSING) -> None:
    """Discovery knows that the application's target is not there."""
    monkeypatch.setattr(rig.sources, "missing", lambda key: missing if key == APP else None)


async def told_by(stream: Stream) -> waiting_pb2.WatchWaitingResponse:
    message = await stream.read()
    assert isinstance(message, waiting_pb2.WatchWaitingResponse)
    return message


def cold(**fields: object) -> Route:
    return msgspec.structs.replace(route(), cold_start=msgspec.convert(fields, ColdStart))


async def test_what_can_have_no_backend_is_refused_at_once_and_wakes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy_rig(backends=0) as rig:
        lacks(rig, monkeypatch)
        message = await (await rig.client()).ask(get())
        assert (message.status, message.body) == (502, b"weir: application default/a: there is no Service default/a\n")
        assert dict(rig.app.stats.own) == {("service_not_found", 502): 1}
        assert {kind: found.count for kind, found in rig.app.stats.answers().items()} == {("GET", "502", "false"): 1}
        (size,) = rig.ledger.sizes(0.0)
        assert (size.requests_total, size.held, size.in_flight) == (0, 0, 0)
        lacks(rig, monkeypatch, None)
        await rig.backend()
        assert (await (await rig.client()).ask(get())).status == 200


async def test_an_app_with_a_backend_is_served_whatever_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy_rig() as rig:
        lacks(rig, monkeypatch)
        assert (await (await rig.client()).ask(get())).status == 200


async def test_a_placeholder_would_promise_what_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy_rig(backends=0, routes=[cold(placeholder={"response": {"status": 503}})]) as rig:
        lacks(rig, monkeypatch)
        message = await (await rig.client()).ask(get())
        assert message.status == 502


async def test_answers_that_wake_nothing_are_given_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    static = StaticRoute(rules=(Rule(paths=("/healthz",)),), response=StaticResponse(body=b"up"))
    async with proxy_rig(backends=0, routes=[msgspec.structs.replace(route(), static_routes=(static,))]) as rig:
        lacks(rig, monkeypatch)
        client = await rig.client()
        assert (await client.ask(get(b"/healthz"))).body == b"up"
        assert (await client.ask(get(b"/"))).status == 502


async def test_its_fallback_answers_at_once_and_uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy_rig(backends=0, routes=[cold(fallback={"service": SPARE})]) as rig:
        lacks(rig, monkeypatch)
        spare = await rig.backend(answer(ok(b"spare")), listed=False)
        rig.sources.set(SPARE, [spare.backend])
        assert (await (await rig.client()).ask(get())).body == b"spare"
        (size,) = rig.ledger.sizes(0.0)
        assert (size.requests_total, rig.app.stats.fallbacks) == (0, 1)


async def test_waiting_in_vain_is_logged_and_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(waits, "REPORT_AFTER_SECONDS", 0.0)
    async with proxy_rig(backends=0, routes=[route(readiness=60.0)]) as rig:
        rig.interceptor._waiting._interval = 0.05
        async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.interceptor.rpc_port}") as channel:
            stream = waiting_pb2_grpc.WaitingServiceStub(channel).WatchWaiting(waiting_pb2.WatchWaitingRequest(watcher="test"))
            first = await told_by(stream)
            assert (first.member, list(first.apps)) == ("rig", [])
            client = await rig.client()
            client.send(get())
            held = await told_by(stream)
            assert [(one.app, one.held, one.ready) for one in held.apps] == [(APP, 1, 0)]
            rig.set_routes(route(readiness=0.3))
            assert (await client.response()).status == 504
            told = await told_by(stream)
            while not told.apps[0].timed_out:
                told = await told_by(stream)
            (one,) = told.apps
            assert (one.timed_out, one.held) == (1, 0)
            assert one.timed_out_seconds >= 0.3
            await rig.backend()
            while told.apps[0].ready != 1:
                told = await told_by(stream)
            stream.cancel()
        await eventually(lambda: rig.interceptor._waiting.watchers == 0)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "interceptor.app.waits"]
    assert line.startswith("application default/a: a request waited ")
    assert line.endswith("in vain: no backend of application default/a was ready within 0.3 s (0 listed, 0 ready)")
    assert all(record.levelno == logging.WARNING for record in caplog.records if record.name == "interceptor.app.waits")


@pytest.mark.parametrize("how", ["placeholder", "leaves", "fallback", "request"])
async def test_requests_that_do_not_wait_in_vain_themselves_are_reported(how: str) -> None:
    """Whoever gets a page, leaves, or goes elsewhere has found no backend all the same."""
    routes = {
        "placeholder": cold(placeholder={"response": {"status": 503}}),
        "leaves": route(readiness=60.0),
        "fallback": msgspec.structs.replace(cold(fallback={"service": SPARE}), timeouts=Timeouts(readiness=0.05)),
        "request": msgspec.structs.replace(route(), timeouts=Timeouts(readiness=60.0, request=0.05)),
    }
    async with proxy_rig(backends=0, routes=[routes[how]]) as rig:
        if how == "fallback":
            spare = await rig.backend(answer(ok(b"spare")), listed=False)
            rig.sources.set(SPARE, [spare.backend])
        for number in range(1, 3):
            client = await rig.client()
            if how == "leaves":
                client.send(get())
                await eventually(lambda: len(rig.app.room) == 1)
                client.close()
                await eventually(lambda: len(rig.app.room) == 0)
            else:
                assert (await client.ask(get())).status == {"placeholder": 503, "fallback": 200, "request": 504}[how]
            (told,) = rig.interceptor.proxy.waits.report(monotonic() + waits.REPORT_AFTER_SECONDS)
            assert (told.app, told.held, told.timed_out, told.unserved, told.ready) == (APP, 0, 0, number, 0)
        await rig.backend()
        (told,) = rig.interceptor.proxy.waits.report(monotonic())
        assert (told.unserved, told.ready) == (0, 1)


async def test_what_wakes_nothing_is_in_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    static = StaticRoute(rules=(Rule(paths=("/healthz",)),), response=StaticResponse(body=b"up"))
    async with proxy_rig(backends=0, routes=[msgspec.structs.replace(route(), static_routes=(static,))]) as rig:
        assert (await (await rig.client()).ask(get(b"/healthz"))).status == 200
        lacks(rig, monkeypatch)
        assert (await (await rig.client()).ask(get())).status == 502
        assert rig.interceptor.proxy.waits.report(monotonic() + waits.REPORT_AFTER_SECONDS) == ()


async def test_an_interceptor_that_ends_ends_the_streams() -> None:
    async with proxy_rig() as rig, grpc.aio.insecure_channel(f"127.0.0.1:{rig.interceptor.rpc_port}") as channel:
        rig.interceptor._waiting._max_watchers = 1
        stub = waiting_pb2_grpc.WaitingServiceStub(channel)
        stream = stub.WatchWaiting(waiting_pb2.WatchWaitingRequest(watcher="one"))
        await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.WatchWaiting(waiting_pb2.WatchWaitingRequest(watcher="two")).read()
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        rig.interceptor._waiting.close()
        assert await stream.read() == grpc.aio.EOF
        assert await stream.code() == grpc.StatusCode.OK


async def test_ready_backends_are_a_metric_of_applications_with_requests() -> None:
    async with proxy_rig(routes=[route(), route("default/b", "b.test")]) as rig:
        metrics = Metrics(rig.interceptor.proxy, 1 << 20)

        def lines() -> list[str]:
            return [line for line in "".join(metrics.parts()).splitlines() if line.startswith("weir_interceptor_ready_backends{")]

        assert lines() == []
        assert (await (await rig.client()).ask(get())).status == 200
        assert lines() == ['weir_interceptor_ready_backends{app="a",namespace="default"} 1.0']
        rig.sources.set(APP, [])
        assert lines() == ['weir_interceptor_ready_backends{app="a",namespace="default"} 0.0']
