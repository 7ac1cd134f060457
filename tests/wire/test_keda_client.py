"""KEDA's part against a scaler of the test's own, over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from grpc import aio

from protos.externalscaler import externalscaler_pb2 as pb
from protos.externalscaler.externalscaler_pb2_grpc import (
    ExternalScalerServicer,
    ExternalScalerStub,
    add_ExternalScalerServicer_to_server,
)
from tests.support.waiting import until
from weir.engine.autoscaler import Metric, Reading
from weir.engine.keda import KedaClient, scaler_channel

REF = pb.ScaledObjectRef(name="web", namespace="default", scalerMetadata={"app": "default/web"})


class Scaler(ExternalScalerServicer):
    """Answers what the test says, and notes what it was asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.seen: list[pb.ScaledObjectRef] = []
        self.fail: set[str] = set()
        self.specs = [pb.MetricSpec(metricName="c", targetSize=99, targetSizeFloat=10.5)]
        self.values = [pb.MetricValue(metricName="other", metricValueFloat=3.25)]
        self.active = True
        self.streams: list[asyncio.Queue[bool | None]] = []

    async def _note(self, name: str, ref: pb.ScaledObjectRef, context: aio.ServicerContext[object, object]) -> None:
        self.calls.append(name)
        self.seen.append(ref)
        if name in self.fail:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    async def GetMetricSpec(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        await self._note("GetMetricSpec", request, context)
        return pb.GetMetricSpecResponse(metricSpecs=self.specs)

    async def GetMetrics(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        await self._note(f"GetMetrics {request.metricName}", request.scaledObjectRef, context)
        return pb.GetMetricsResponse(metricValues=self.values)

    async def IsActive(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        await self._note("IsActive", request, context)
        return pb.IsActiveResponse(result=self.active)

    async def StreamIsActive(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        await self._note("StreamIsActive", request, context)
        queue: asyncio.Queue[bool | None] = asyncio.Queue()
        self.streams.append(queue)
        while (active := await queue.get()) is not None:
            yield pb.IsActiveResponse(result=active)

    def StreamMetricSpec(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        raise NotImplementedError


class Played:
    """A client, its scaler, and what the client told."""

    def __init__(self, scaler: Scaler, server: aio.Server, port: int) -> None:
        self.scaler, self.server, self.port = scaler, server, port
        self.pushes = 0
        self.pauses = 0
        """Between readings, and within what is left out of them for an app that sleeps."""
        self.asleep = False
        self.readings: list[Reading] = []
        self.channel = scaler_channel(f"127.0.0.1:{port}")
        self.client = KedaClient(
            ExternalScalerStub(self.channel),
            REF,
            poll_interval=self._interval,
            asleep=lambda: self.asleep,
            on_active=self._active,
            on_reading=self.readings.append,
        )

    def _active(self) -> None:
        self.pushes += 1

    def _interval(self) -> float:
        self.pauses += 1
        return 0.01

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition)

    async def until_paused(self, times: int) -> None:
        """Until so many more pauses between readings have begun."""
        wanted = self.pauses + times
        await until(lambda: self.pauses >= wanted)


async def _serve(scaler: Scaler, port: int) -> tuple[aio.Server, int]:
    server = aio.server()
    add_ExternalScalerServicer_to_server(scaler, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, bound


@pytest.fixture
async def played() -> AsyncIterator[Played]:
    scaler = Scaler()
    server, port = await _serve(scaler, 0)
    played = Played(scaler, server, port)
    yield played
    await played.channel.close()
    await played.server.stop(0)


@pytest.fixture
async def running(played: Played) -> AsyncIterator[Played]:
    task = asyncio.create_task(played.client.run())
    yield played
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_asks_in_kedas_order(running: Played) -> None:
    await running.until(lambda: len(running.readings) >= 2)
    unary = [call for call in running.scaler.calls if call != "StreamIsActive"]
    assert unary[:4] == ["GetMetricSpec", "GetMetricSpec", "GetMetrics c", "IsActive"]


async def test_sends_the_object_with_its_metadata(running: Played) -> None:
    await running.until(lambda: len(running.readings) >= 1)
    assert all(seen == REF for seen in running.scaler.seen)


async def test_a_reading_has_the_floats(running: Played) -> None:
    await running.until(lambda: len(running.readings) >= 1)
    assert running.readings[0] == Reading(active=True, metrics=[Metric(3.25, 10.5)])


async def test_integers_count_where_a_float_is_missing(running: Played) -> None:
    running.scaler.specs = [pb.MetricSpec(metricName="c", targetSize=7)]
    running.scaler.values = [pb.MetricValue(metricValue=4), pb.MetricValue(metricValue=-9), pb.MetricValue(metricValueFloat=0.5)]
    await running.until(lambda: Reading(active=True, metrics=[Metric(4.5, 7.0)]) in running.readings)


async def test_a_metric_without_a_target_is_left_out(running: Played) -> None:
    running.scaler.specs = [pb.MetricSpec(metricName="c")]
    await running.until(lambda: Reading(active=True, metrics=[]) in running.readings)


async def test_no_stream_before_there_is_a_metric(played: Played) -> None:
    played.scaler.specs = []
    task = asyncio.create_task(played.client.run())
    await played.until(lambda: len(played.scaler.calls) >= 3)
    assert "StreamIsActive" not in played.scaler.calls
    assert not played.client.joined.is_set()
    played.scaler.specs = [pb.MetricSpec(metricName="c", targetSizeFloat=1)]
    await played.until(lambda: "StreamIsActive" in played.scaler.calls)
    assert played.client.joined.is_set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_only_true_is_a_push(running: Played) -> None:
    await running.until(lambda: len(running.scaler.streams) == 1)
    for value in (False, True, False, True):
        running.scaler.streams[0].put_nowait(value)
    await running.until(lambda: running.pushes == 2)


async def test_a_stream_that_ends_is_opened_again(running: Played) -> None:
    for opened in (1, 2, 3):
        await running.until(lambda opened=opened: len(running.scaler.streams) == opened)  # type: ignore[misc]
        running.scaler.streams[-1].put_nowait(None)
    await running.until(lambda: len(running.scaler.streams) == 4)


@pytest.mark.parametrize("failing", ["GetMetricSpec", "GetMetrics c", "IsActive"])
async def test_one_call_that_fails_fails_the_reading(running: Played, failing: str) -> None:
    await running.until(lambda: len(running.readings) >= 1)
    running.scaler.fail = {failing}
    already = len(running.scaler.calls)
    await running.until(lambda: running.scaler.calls[already:].count(failing) >= 2)
    before = len(running.readings)
    await running.until(lambda: running.scaler.calls[already:].count(failing) >= 5)
    assert len(running.readings) == before
    running.scaler.fail = set()
    await running.until(lambda: len(running.readings) > before)


async def test_a_restarted_scaler_is_joined_again(running: Played) -> None:
    await running.until(lambda: len(running.scaler.streams) == 1)
    await running.server.stop(0)
    scaler = Scaler()
    running.server, port = await _serve(scaler, running.port)
    assert port == running.port
    began = asyncio.get_running_loop().time()
    await running.until(lambda: len(scaler.streams) == 1)
    assert asyncio.get_running_loop().time() - began < 5.0
    scaler.streams[0].put_nowait(True)
    await running.until(lambda: running.pushes == 1)


async def test_an_app_that_sleeps_is_polled_seldom_and_soon_once_it_is_woken(running: Played) -> None:
    await running.until(lambda: len(running.readings) >= 1)
    running.asleep = True
    await running.until_paused(1)  # what was under way is over
    before = len(running.readings)
    await running.until_paused(20)
    assert len(running.readings) == before
    running.asleep = False
    await running.until(lambda: len(running.readings) >= before + 3)


@pytest.mark.parametrize("quiet", [False, True])
async def test_a_scaler_that_ends_with_the_rest_is_no_news(
    running: Played, quiet: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await running.until(lambda: len(running.readings) >= 1)
    running.client.quiet = quiet
    running.scaler.fail = {"IsActive"}
    already = len(running.scaler.calls)
    await running.until(lambda: running.scaler.calls[already:].count("IsActive") >= 3)
    assert ("no answer of the scaler" in caplog.text) is not quiet
