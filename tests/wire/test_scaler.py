"""The scaler on real sockets, with played interceptors on one side and KEDA's calls on the other."""

from __future__ import annotations

import asyncio
import gc
import logging
import statistics
import time
from math import ceil
from typing import Any

import grpc
import httpx
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fleet.discovery.fixed import FixedMembers, FixedRoutes
from fleet.routing.table import RoutingTable
from fleet.runtime.process import StartError
from protos.externalscaler import externalscaler_pb2 as pb
from scaler import log_limit
from scaler.server import Scaler
from tests.support.health import check
from tests.support.members import PlayedMember, playing
from tests.support.scalers import APP, Keda, a_scaler, eventually, ref, route, settings

WAKE_LIMIT = 1.0
"""Seconds; a loaded machine included. What is measured is printed and lies around a millisecond."""
NEVER = 60.0
"""Seconds between pushes that repeat, where only the first counts."""


async def refused(call: grpc.aio.UnaryUnaryCall[object, object]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code().name, error.value.details() or ""


async def test_a_cold_request_is_pushed_within_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    apps = [f"shop/web-{number}" for number in range(20)]
    member, delays = PlayedMember(), list[float]()
    async with playing(member), a_scaler(member, routes=[route(app) for app in apps], reassert_interval=NEVER) as running:
        for app in apps:
            pushes = await running.keda.pushes(app)
            begun = time.monotonic()
            member.set(app, held=1, total=1)
            await pushes.until(1)
            delays.append(pushes.times[0] - begun)
            assert await running.keda.active(app)
    with capsys.disabled():
        print(  # noqa: T201 -- the figure is what a reader of the log wants
            f"\nheld request to pushed true: median {statistics.median(delays) * 1e3:.2f} ms, most {max(delays) * 1e3:.2f} ms"
        )
    assert statistics.median(delays) < WAKE_LIMIT


async def test_pushes_are_repeated_while_held_and_never_faster() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member, reassert_interval=0.2) as running:
        pushes = await running.keda.pushes()
        begun = time.monotonic()
        for count in range(1, 30):
            member.set(APP, held=count % 3, total=count)
            await eventually(lambda: running.scaler._demand.held(APP) == count % 3)  # noqa: B023 -- it is waited for here
        member.set(APP, held=1, total=30)
        await pushes.until(4)
        # Each may come late, none before its time.
        assert all(came >= begun + 0.2 * number for number, came in enumerate(pushes.times))
        member.set(APP, in_flight=1, total=30)
        await eventually(lambda: running.scaler._demand.held(APP) == 0)
        told = running.scaler._service.pushes
        await asyncio.sleep(0.6)  # three times as long as until a push is repeated: the service keeps real time
        assert running.scaler._service.pushes == told, "a request that a backend works on needs no wake"
        assert await running.keda.active()


async def test_a_stream_opened_while_requests_wait_gets_true_at_once() -> None:
    """As after a restart of the scaler: whoever comes back learns what it missed."""
    member = PlayedMember()
    async with playing(member):
        member.set(APP, held=3, total=3)
        async with a_scaler(member, reassert_interval=NEVER) as running:
            pushes = await running.keda.pushes()
            await pushes.until(1)


async def test_streams_end_with_ok_within_a_second_at_shutdown() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member) as running:
        member.set(APP, held=1, total=1)
        many = [await running.keda.pushes() for _ in range(20)]
        specs = running.keda.stub.StreamMetricSpec(ref())
        assert await specs.read()
        await many[-1].until(1)
        begun = time.monotonic()
        await running.scaler.close()
        assert {await pushes.code() for pushes in many} == {grpc.StatusCode.OK}
        assert await specs.code() is grpc.StatusCode.OK
        # What does not end by itself is cut after a second, and has another code.
        assert time.monotonic() - begun < 3.0


async def test_an_application_without_requests_is_at_zero() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member) as running:
        assert not await running.keda.active()
        metric = await running.keda.metric()
        assert (metric.metricValueFloat, metric.metricValue) == (0.0, 0)


async def test_members_are_summed_and_values_have_three_decimals() -> None:
    one, two = PlayedMember("m1"), PlayedMember("m2")
    async with playing(one, two), a_scaler(one, two, routes=[route(concurrency=10, rate=5)]) as running:
        one.set(APP, held=2, in_flight=1, total=3)
        two.set(APP, in_flight=4, total=4)
        await eventually(lambda: running.scaler._demand.level(APP) == 7)
        metric = await running.keda.metric()
        assert (metric.metricName, metric.metricValueFloat, metric.metricValue) == ("weir-shop-web-concurrency", 7.0, 7)
        rate = await running.keda.metric(kind="rate")
        assert 0 < rate.metricValueFloat <= 3.5
        assert rate.metricValue == ceil(rate.metricValueFloat)
        one.set(APP, total=3)
        two.set(APP, total=4, seconds=1.23456789)
        await eventually(lambda: running.scaler._demand.level(APP) == 0)
        mean = (await running.keda.metric()).metricValueFloat
        assert 0.1 < mean == round(mean, 3) <= 0.617


async def test_short_requests_keep_an_application_active_for_its_period() -> None:
    member, skipped = PlayedMember(), 0.0
    routes = [route(concurrency=10, activity_period=60.0)]
    async with playing(member), a_scaler(member, routes=routes, clock=lambda: time.monotonic() + skipped) as running:

        async def active() -> bool:
            # Until its next heartbeat, nothing is known of a member that was last heard before the leap.
            await eventually(lambda: running.scaler._demand.reachable(time.monotonic() + skipped))
            return await running.keda.active()

        pushes = await running.keda.pushes()
        member.set(APP, total=1, seconds=0.005)
        await pushes.until(1)
        skipped = 30.0
        assert await active()
        skipped = 61.0
        assert not await active()


async def test_specs_of_a_route() -> None:
    routes = [route(concurrency=2.5, rate=7), route("shop/bare")]
    async with a_scaler(routes=routes) as running:
        assert await running.keda.specs() == {"weir-shop-web-concurrency": 2.5, "weir-shop-web-rate": 7.0}
        assert await running.keda.specs("shop/bare") == {"weir-shop-bare-concurrency": 100.0}
        answer = await running.keda.stub.GetMetricSpec(ref())
        assert [spec.targetSize for spec in answer.metricSpecs] == [3, 7]


async def test_specs_are_streamed_at_the_opening_and_when_they_change() -> None:
    async with a_scaler(routes=[route(concurrency=5)]) as running:
        call = running.keda.stub.StreamMetricSpec(ref())
        assert [spec.targetSizeFloat for spec in (await call.read()).metricSpecs] == [5.0]
        reading = asyncio.create_task(call.read())
        for silent in ([route(concurrency=5, activity_period=1.0), route("shop/other")], []):
            running.routes.set(RoutingTable(silent))
            assert (await refused(running.keda.stub.GetMetricSpec(ref("shop/nobody"))))[0] == "NOT_FOUND"  # one way and back
            assert not reading.done(), "neither what did not change nor an empty list is told"
        running.routes.set(RoutingTable([route(concurrency=9, rate=1)]))
        assert [spec.targetSizeFloat for spec in (await reading).metricSpecs] == [9.0, 1.0]
        call.cancel()


async def test_what_was_asked_for_in_vain_is_named() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member) as running:
        stub = running.keda.stub
        unknown = pb.ScaledObjectRef(name="x", namespace="shop", scalerMetadata={"interceptorRoute": "nobody"})
        for call in (stub.IsActive, stub.GetMetricSpec):
            assert await refused(call(unknown)) == ("NOT_FOUND", "no route for application 'shop/nobody'")
        assert (await refused(stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=unknown, metricName="m"))))[0] == "NOT_FOUND"
        for stream in (stub.StreamIsActive, stub.StreamMetricSpec):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stream(unknown).read()
            assert error.value.code() is grpc.StatusCode.NOT_FOUND
        for metadata in ({"scalerAddress": "here"}, {"app": "bank/vault"}, {"app": "a/b/c"}):
            code, details = await refused(stub.IsActive(ref(metadata=metadata)))
            assert code == "INVALID_ARGUMENT"
            assert details.startswith("scalerMetadata")
        code, details = await refused(stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref(), metricName="cpu")))
        assert (code, details) == ("NOT_FOUND", "application shop/web has no metric 'cpu'; it has weir-shop-web-concurrency")


async def test_a_trigger_that_stays_wrong_is_reported_in_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_limit, "PATIENCE_SECONDS", 0.0)
    async with a_scaler() as running:
        unknown = pb.ScaledObjectRef(name="x", namespace="shop", scalerMetadata={"interceptorRoute": "nobody"})
        with caplog.at_level(logging.WARNING, logger="scaler.service"):
            for _ in range(5):
                await refused(running.keda.stub.GetMetricSpec(unknown))
                await refused(running.keda.stub.IsActive(ref()))  # which only has to wait
    told = [record.getMessage() for record in caplog.records if record.name == "scaler.service"]
    assert told == ["ScaledObject shop/x is refused: no route for application 'shop/nobody'"]


async def test_the_fleet_itself_is_scaled_by_all_applications_together() -> None:
    one, two = PlayedMember("m1"), PlayedMember("m2")
    own = ref("weir-system/weir-interceptor", {"scalerAddress": "x", "interceptorTargetPendingRequests": "200"})
    apps = [route(), route("bank/vault")]
    async with playing(one, two), a_scaler(one, two, routes=apps, fleet_namespace="weir-system") as running:
        stub = running.keda.stub
        (spec,) = (await stub.GetMetricSpec(own)).metricSpecs
        assert (spec.metricName, spec.targetSizeFloat) == ("weir-interceptor-pending-requests", 200.0)
        asking = pb.GetMetricsRequest(scaledObjectRef=own, metricName=spec.metricName)
        assert not (await stub.IsActive(own)).result
        stream = stub.StreamIsActive(own)
        one.set(APP, held=2, in_flight=3, total=5)
        two.set("bank/vault", in_flight=7, total=7)
        assert (await stream.read()).result
        await eventually(lambda: running.scaler._demand.total(time.monotonic()) == 12)
        (value,) = (await stub.GetMetrics(asking)).metricValues
        assert (value.metricName, value.metricValueFloat, value.metricValue) == (spec.metricName, 12.0, 12)
        assert (await stub.IsActive(own)).result
        stranger = ref("shop/web", {"interceptorTargetPendingRequests": "200"})
        assert (await refused(stub.IsActive(stranger)))[0] == "INVALID_ARGUMENT"
        stream.cancel()


async def test_without_any_interceptor_only_the_specs_are_told() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member) as running:
        stub, query = running.keda.stub, pb.GetMetricsRequest(scaledObjectRef=ref(), metricName="weir-shop-web-concurrency")
        await member.stop()
        await eventually(lambda: not running.scaler._demand.reachable(time.monotonic()))
        assert await refused(stub.IsActive(ref())) == ("UNAVAILABLE", "no interceptor is reachable")
        assert await refused(stub.GetMetrics(query)) == ("UNAVAILABLE", "no interceptor is reachable")
        assert await running.keda.specs() == {"weir-shop-web-concurrency": 10.0}
        async with httpx.AsyncClient() as client:
            for page in ("livez", "readyz"):
                assert (await client.get(f"http://127.0.0.1:{running.scaler.diagnostics_port}/{page}")).status_code == 200
        assert await check(running.keda.channel, "externalscaler.ExternalScaler") == "SERVING"
        await member.start()
        await eventually(lambda: running.scaler._demand.reachable(time.monotonic()))
        assert not await running.keda.active()


async def test_a_part_of_the_fleet_is_not_told_as_the_whole_after_a_start() -> None:
    heard, frozen = PlayedMember("m1"), PlayedMember("m2")
    frozen.freeze()
    async with playing(heard, frozen):
        heard.set(APP, in_flight=3, total=3)
        async with a_scaler(heard, frozen, heard=False, startup_grace=5.0) as running:
            await eventually(lambda: running.scaler._demand.level(APP) == 3)
            query = pb.GetMetricsRequest(scaledObjectRef=ref(), metricName="weir-shop-web-concurrency")
            code, details = await refused(running.keda.stub.GetMetrics(query))
            assert (code, "has not heard all interceptors yet" in details) == ("UNAVAILABLE", True)
            assert await running.keda.active(), "what is known to be there is there"
            await eventually(lambda: running.scaler._demand.settled(time.monotonic()))
            assert await running.keda.value() == 3.0, "the silent one was tried in vain"


async def test_many_tenants_do_not_wake_each_other() -> None:
    apps = [f"tenant-{number}/web" for number in range(40)]
    member = PlayedMember()
    async with playing(member), a_scaler(member, routes=[route(app, concurrency=1) for app in apps]) as running:
        streams = {app: await running.keda.pushes(app) for app in apps}
        for app in apps[::4]:
            member.set(app, held=1, total=1)
        for app in apps[::4]:
            await streams[app].until(1)
        assert [app for app in apps if await running.keda.active(app)] == apps[::4]
        assert [app for app in apps if streams[app].times] == apps[::4]
        assert [await running.keda.value(app) for app in apps[:5]] == [1.0, 0.0, 0.0, 0.0, 1.0]
        for stream in streams.values():
            await stream.cancel()
        await eventually(lambda: running.scaler._service.streams == 0)


async def test_reflection_and_health() -> None:
    async with a_scaler() as running:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(running.keda.channel)  # type: ignore[arg-type]  # types for grpc.Channel
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        listed = await call.read()
        names = {service.name for service in listed.list_services_response.service}
        assert {"externalscaler.ExternalScaler", "grpc.health.v1.Health"} <= names
        assert await check(running.keda.channel) == "SERVING"


async def test_diagnostics_tell_what_is_known() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member) as running:
        member.set(APP, held=2, total=2)
        await eventually(lambda: running.scaler._demand.held(APP) == 2)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.scaler.diagnostics_port}") as client:
            (app,) = (await client.get("/demand")).json()
            assert (app["app"], app["active"], app["held"], app["concurrency"]) == (APP, True, 2, 2.0)
            (seen,) = (await client.get("/members")).json()
            assert (seen["member"], seen["connected"], seen["apps"]) == ("m1", True, 1)
            metrics = (await client.get("/metrics")).text
            assert 'weir_scaler_app_held{app="shop/web"} 2.0' in metrics
            assert 'weir_scaler_member_connected{member="m1"} 1.0' in metrics


async def test_what_is_here_once_it_serves_is_not_collected_again() -> None:
    """With 20,000 streams open a whole collection stops everything for a second. How rare they are is the process's setting."""
    try:
        async with a_scaler(heard=False):
            assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


async def test_not_ready_before_the_table() -> None:
    scaler = Scaler(settings(), routes=FixedRoutes(None), members=FixedMembers())
    await scaler.start()
    keda = Keda(grpc.aio.insecure_channel(f"127.0.0.1:{scaler.port}"))
    try:
        assert await refused(keda.stub.GetMetricSpec(ref())) == ("UNAVAILABLE", "the routing table was not read yet")
        async with httpx.AsyncClient() as client:
            ready = await client.get(f"http://127.0.0.1:{scaler.diagnostics_port}/readyz")
            live = await client.get(f"http://127.0.0.1:{scaler.diagnostics_port}/livez")
        assert (ready.status_code, ready.text.strip()) == (503, "the routing table was not read yet")
        assert live.status_code == 200
    finally:
        await keda.close()
        await scaler.close()


async def test_a_port_in_use_leaves_nothing_running() -> None:
    tasks = len(asyncio.all_tasks())
    async with a_scaler() as running:
        with_rpc, with_pages = settings(port=running.scaler.port), settings(diagnostics_port=running.scaler.diagnostics_port)
        before = len(asyncio.all_tasks())
        for taken in (with_rpc, with_pages):
            with pytest.raises(StartError, match="cannot listen"):
                await Scaler(taken, routes=FixedRoutes(RoutingTable()), members=FixedMembers()).start()
        assert len(asyncio.all_tasks()) == before
    await eventually(lambda: len(asyncio.all_tasks()) == tasks)


def test_sources_of_an_unknown_form_are_told() -> None:
    with pytest.raises(StartError, match="routes"):
        Scaler(settings(routes="ftp:x", members="127.0.0.1:1"))
    with pytest.raises(StartError, match="members"):
        Scaler(settings(routes="file:x", members="nowhere"))
