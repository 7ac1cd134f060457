"""A scaler on loopback, and KEDA's side of its contract, for tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc

from fleet.discovery.fixed import FixedMembers, FixedRoutes
from fleet.routing.route import RateTarget, Route, Scaling, Target
from fleet.routing.table import RoutingTable
from protos.externalscaler import externalscaler_pb2 as pb
from protos.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server import Scaler
from scaler.settings import ScalerSettings
from tests.support.members import PlayedMember

__all__ = ["Keda", "Pushes", "a_scaler", "eventually", "ref", "route", "settings"]

APP = "shop/web"


def settings(**changed: Any) -> ScalerSettings:
    """Settings with times short enough for a test."""
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "diagnostics_port": 0,
        "news_timeout": 2.0,
        "retry_limit": 0.2,
        "startup_grace": 0.4,
        "reassert_interval": 0.3,
    }
    return ScalerSettings(**(given | changed))


def route(app: str = APP, **scaling: Any) -> Route:
    rate = scaling.pop("rate", None)
    target = RateTarget(rate, window=10.0) if isinstance(rate, int | float) else rate
    return Route(app=app, target=Target(app), scaling=Scaling(rate=target, **scaling))


def ref(app: str = APP, metadata: Mapping[str, str] | None = None) -> pb.ScaledObjectRef:
    namespace, _, name = app.partition("/")
    return pb.ScaledObjectRef(name=name, namespace=namespace, scalerMetadata={"app": app} if metadata is None else metadata)


class Pushes:
    """A StreamIsActive call that is read continuously: the times of each `true`, and how the stream ended."""

    def __init__(self, stub: Any, app: str) -> None:
        self.times: list[float] = []
        self._call = stub.StreamIsActive(ref(app))
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._read(), name=f"pushes:{app}")

    async def opened(self) -> None:
        """Wait until the scaler has received the call."""
        await self._call.wait_for_connection()

    async def until(self, count: int, longest: float = 60.0) -> None:
        async with asyncio.timeout(longest):
            while len(self.times) < count:
                await self._came.wait()
                self._came.clear()

    async def code(self, longest: float = 60.0) -> grpc.StatusCode:
        """The status with which the stream ended."""
        async with asyncio.timeout(longest):
            code = await self._call.code()
            await asyncio.wait((self._task,))
        assert isinstance(code, grpc.StatusCode)
        return code

    async def cancel(self) -> None:
        self._call.cancel()
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _read(self) -> None:
        try:
            async for answer in self._call:
                assert answer.result
                self.times.append(time.monotonic())
                self._came.set()
        except grpc.aio.AioRpcError:
            pass  # reported by `code`


class Keda:
    """The client of one scaler."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub: Any = ExternalScalerStub(channel)
        self._pushes: list[Pushes] = []

    async def active(self, app: str = APP) -> bool:
        answer = await self.stub.IsActive(ref(app), timeout=60)
        return bool(answer.result)

    async def specs(self, app: str = APP) -> dict[str, float]:
        answer = await self.stub.GetMetricSpec(ref(app), timeout=60)
        return {spec.metricName: spec.targetSizeFloat for spec in answer.metricSpecs}

    async def metric(self, app: str = APP, kind: str = "concurrency") -> pb.MetricValue:
        name = f"weir-{app.replace('/', '-')}-{kind}"
        answer = await self.stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref(app), metricName=name), timeout=60)
        assert len(answer.metricValues) == 1
        value = answer.metricValues[0]
        assert isinstance(value, pb.MetricValue)
        return value

    async def value(self, app: str = APP, kind: str = "concurrency") -> float:
        return (await self.metric(app, kind)).metricValueFloat

    async def pushes(self, app: str = APP) -> Pushes:
        pushes = Pushes(self.stub, app)
        self._pushes.append(pushes)
        await pushes.opened()
        return pushes

    async def close(self) -> None:
        for pushes in self._pushes:
            await pushes.cancel()
        await self.channel.close()


class RunningScaler:
    """A scaler, its sources and a client."""

    def __init__(self, scaler: Scaler, keda: Keda, routes: FixedRoutes, members: FixedMembers) -> None:
        self.scaler = scaler
        self.keda = keda
        self.routes = routes
        self.members = members


@asynccontextmanager
async def a_scaler(
    *members: PlayedMember,
    routes: Iterable[Route] | None = None,
    heard: bool = True,
    clock: Callable[[], float] = time.monotonic,
    **changed: Any,
) -> AsyncIterator[RunningScaler]:
    """A running scaler; with `heard`, after it has received counts of all members."""
    table = RoutingTable([route(concurrency=10)] if routes is None else routes)
    fixed_routes, fixed_members = FixedRoutes(table), FixedMembers([member.discovered for member in members])
    scaler = Scaler(settings(**changed), routes=fixed_routes, members=fixed_members, clock=clock)
    await scaler.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{scaler.port}", options=(("grpc.use_local_subchannel_pool", 1),))
    keda = Keda(channel)
    try:
        if heard:
            await eventually(lambda: all(member.connected for member in scaler._demand.members(0.0)))
        yield RunningScaler(scaler, keda, fixed_routes, fixed_members)
    finally:
        await keda.close()
        await scaler.close()


async def eventually(condition: Callable[[], object], longest: float = 60.0) -> None:
    """Wait until the condition holds. Fails if it never does."""
    async with asyncio.timeout(longest):
        while not condition():  # noqa: ASYNC110 -- any condition, also one that has no event
            await asyncio.sleep(0.002)
