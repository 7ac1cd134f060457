"""KEDA's ExternalScaler over the merged demand. Answered from memory: no call waits for another process.

IsActive, GetMetrics and the pushes read the same state, so they agree. GetMetricSpec needs only the routing table, and answers
while no interceptor is reachable; the others fail then, so that KEDA scales neither to zero nor up. KEDA sets no deadline on its
calls, and makes them under a lock that pushes need too, so a late answer is worse than an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc

from fleet.demand.merge import FleetDemand
from fleet.discovery.sources import RouteSource
from fleet.runtime.terminal import one_line
from protos.externalscaler import externalscaler_pb2 as pb
from protos.externalscaler import externalscaler_pb2_grpc
from scaler.log_limit import LogLimit
from scaler.pushes import Push
from scaler.triggers import ALL_APPS, Refusal, RefusalKind, Spec, Subject, find_spec, subject_of, whole

__all__ = ["SERVICE_NAME", "ExternalScalerServicer"]

SERVICE_NAME = "externalscaler.ExternalScaler"

_CODES = {
    RefusalKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    RefusalKind.UNKNOWN: grpc.StatusCode.NOT_FOUND,
    RefusalKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}

AWAKE_VALUE = 0.001
"""The least value of a metric while an application is active for one that depends on it: the smallest that KEDA keeps. It asks
for one replica, and is above zero for whoever scales by the value alone."""
MAX_REFERENCE = 520
"""Maximum characters of a ScaledObject's namespace and name; Kubernetes allows no longer ones."""

_log = logging.getLogger(__name__)

_Context = grpc.aio.ServicerContext[Any, Any]


class ExternalScalerServicer(externalscaler_pb2_grpc.ExternalScalerServicer):
    """externalscaler.ExternalScaler for every application of the routing table, and for all of them together.

    Connect `wake` to the demand's `on_wake`, and `on_table` to the route source's changes. `clock` is the demand's clock.
    """

    def __init__(
        self,
        demand: FleetDemand,
        routes: RouteSource,
        *,
        clock: Callable[[], float],
        reassert_interval: float = 2.0,
        fleet_namespace: str = "",
    ) -> None:
        """fleet_namespace: the namespace whose ScaledObjects may ask about all applications together; "" allows every
        namespace."""
        self._demand = demand
        self._routes = routes
        self._clock = clock
        self._reassert_interval = reassert_interval
        self._fleet_namespace = fleet_namespace
        self._log_limit = LogLimit()
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._spec_listeners: set[asyncio.Event] = set()
        self._closing = False
        self.pushes = 0
        """`true`s sent since the start."""

    @property
    def streams(self) -> int:
        """Open StreamIsActive calls."""
        return sum(len(listeners) for listeners in self._listeners.values())

    def wake(self, app: str) -> None:
        """An application became active, or its first request is held; or one that depends on it."""
        for key in (app, ALL_APPS):
            for listener in self._listeners.get(key, ()):
                listener.set()

    def on_table(self, table: object) -> None:
        """The routing table changed."""
        for listener in self._spec_listeners:
            listener.set()

    def close(self) -> None:
        """End every stream with OK, which resets KEDA's pauses; they have ended when the server's stop returns."""
        self._closing = True
        for listeners in (*self._listeners.values(), self._spec_listeners):
            for listener in listeners:
                listener.set()

    # KEDA's five RPCs. N802: the method names are KEDA's.

    async def IsActive(self, request: pb.ScaledObjectRef, context: _Context) -> pb.IsActiveResponse:  # noqa: N802
        try:
            return pb.IsActiveResponse(result=self._is_active(self._subject(request)))
        except Refusal as refusal:
            await self._refuse(request, context, refusal)

    async def GetMetricSpec(  # noqa: N802
        self, request: pb.ScaledObjectRef, context: _Context
    ) -> pb.GetMetricSpecResponse:
        try:
            return _spec_message(self._subject(request).specs)
        except Refusal as refusal:
            await self._refuse(request, context, refusal)

    async def GetMetrics(  # noqa: N802
        self, request: pb.GetMetricsRequest, context: _Context
    ) -> pb.GetMetricsResponse:
        try:
            subject = self._subject(request.scaledObjectRef)
            spec = find_spec(subject, request.metricName)
            self._check_whole()
        except Refusal as refusal:
            await self._refuse(request.scaledObjectRef, context, refusal)
        value = round(self._value(subject, spec), 3)
        # Exactly one value, because an HPA adds up all values.
        return pb.GetMetricsResponse(
            metricValues=[pb.MetricValue(metricName=spec.name, metricValue=whole(value), metricValueFloat=value)]
        )

    # Coroutines that write, not generators: a generator cancelled at a yield is cleaned up only by the garbage collector.
    async def StreamIsActive(self, request: pb.ScaledObjectRef, context: _Context) -> None:  # type: ignore[override]  # noqa: N802
        try:
            app = self._subject(request).app
        except Refusal as refusal:
            await self._refuse(request, context, refusal)
        with self._listening(app) as listener:
            # Send headers at once, so that a client knows that the stream is open before there is anything to push.
            await context.send_initial_metadata(())
            await self._push(app, listener, context)

    async def StreamMetricSpec(self, request: pb.ScaledObjectRef, context: _Context) -> None:  # type: ignore[override]  # noqa: N802
        try:
            self._subject(request)
        except Refusal as refusal:
            await self._refuse(request, context, refusal)
        with self._listening_for_specs() as listener:
            await self._tell_specs(request, listener, context)

    async def _push(self, app: str, listener: asyncio.Event, context: _Context) -> None:
        push = Push(self._reassert_interval)
        while not self._closing:
            now = self._clock()
            if push.due(now, active=self._has_demand(app, now), held=self._holds(app, now)):
                self.pushes += 1
                await context.write(pb.IsActiveResponse(result=True))
            again = push.next()
            if await _set_within(listener, None if again is None else again - self._clock()):
                push.wake()

    async def _tell_specs(self, ref: pb.ScaledObjectRef, listener: asyncio.Event, context: _Context) -> None:
        sent: tuple[Spec, ...] = ()
        while not self._closing:
            specs = self._specs(ref)
            if specs and specs != sent:
                sent = specs
                await context.write(_spec_message(specs))
            await _set_within(listener, None)

    def _specs(self, ref: pb.ScaledObjectRef) -> tuple[Spec, ...]:
        """The metrics; empty for a route that is gone. KEDA would take an empty list as "no metrics", so then nothing is sent."""
        try:
            return self._subject(ref).specs
        except Refusal:
            return ()

    def _subject(self, ref: pb.ScaledObjectRef) -> Subject:
        if self._closing:
            raise Refusal(RefusalKind.UNAVAILABLE, "the scaler is shutting down")
        return subject_of(self._routes.current, ref.namespace, ref.scalerMetadata, fleet_namespace=self._fleet_namespace)

    async def _refuse(self, ref: pb.ScaledObjectRef, context: _Context, refusal: Refusal) -> NoReturn:
        why = str(refusal)
        # UNAVAILABLE ends by itself. Other refusals must be corrected by the object's author, to whom KEDA does not show them.
        lasting = refusal.kind is not RefusalKind.UNAVAILABLE
        if lasting and self._log_limit.is_due((ref.namespace, ref.name, why), self._clock()):
            _log.warning("ScaledObject %s is refused: %s", one_line(f"{ref.namespace}/{ref.name}"[:MAX_REFERENCE]), one_line(why))
        else:
            _log.debug("refused: %s", refusal)
        await context.abort(_CODES[refusal.kind], why)
        raise refusal  # never reached: abort raises, but its type does not say so

    def _value(self, subject: Subject, spec: Spec) -> float:
        now = self._clock()
        if not subject.app:
            return self._demand.total(now)
        value = self._demand.value(subject.app, spec.metric, now)
        return max(value, AWAKE_VALUE) if self._demand.needs.awake_for(subject.app, now) else value

    def _has_demand(self, app: str, now: float) -> bool:
        return self._demand.active(app, now) if app else self._demand.any_active(now)

    def _holds(self, app: str, now: float) -> bool:
        if not app:
            return self._demand.any_held()
        return self._demand.held(app) > 0 or self._demand.needs.holds(app, now)

    def _is_active(self, subject: Subject) -> bool:
        """Known demand makes it active, whatever else is unknown; "no demand" must be certain."""
        now = self._clock()
        active = self._has_demand(subject.app, now)
        if not (active and self._demand.reachable(now)):
            self._check_whole()
        return active

    def _check_whole(self) -> None:
        """Raise Refusal unless the sum is complete: unknown is not zero, and a partial sum is not the sum."""
        now = self._clock()
        if not self._demand.reachable(now):
            raise Refusal(RefusalKind.UNAVAILABLE, "no interceptor is reachable")
        if not self._demand.settled(now):
            raise Refusal(RefusalKind.UNAVAILABLE, "the scaler has just started and has not heard all interceptors yet")

    @contextmanager
    def _listening(self, app: str) -> Iterator[asyncio.Event]:
        listener = asyncio.Event()
        self._listeners.setdefault(app, set()).add(listener)
        try:
            yield listener
        finally:
            listeners = self._listeners[app]
            listeners.discard(listener)
            if not listeners:
                del self._listeners[app]

    @contextmanager
    def _listening_for_specs(self) -> Iterator[asyncio.Event]:
        listener = asyncio.Event()
        self._spec_listeners.add(listener)
        try:
            yield listener
        finally:
            self._spec_listeners.discard(listener)


async def _set_within(listener: asyncio.Event, seconds: float | None) -> bool:
    """Wait until the listener is set, at most `seconds`, and clear it; returns whether it was set."""
    if seconds is None:  # the usual case, for up to 20,000 streams
        await listener.wait()
    else:
        try:
            async with asyncio.timeout(seconds):
                await listener.wait()
        except TimeoutError:
            return False
    listener.clear()
    return True


def _spec_message(specs: tuple[Spec, ...]) -> pb.GetMetricSpecResponse:
    return pb.GetMetricSpecResponse(
        metricSpecs=[
            pb.MetricSpec(metricName=spec.name, targetSize=max(1, whole(spec.target)), targetSizeFloat=spec.target)
            for spec in specs
        ]
    )
