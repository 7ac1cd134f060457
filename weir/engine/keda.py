"""KEDA's side of the ExternalScaler contract for one app: which calls it makes, when, and how it retries.

Talks to the scaler only through that contract, and decides nothing: activations and metric values are passed on as they come.
Differences from KEDA: pauses are shorter, because there is no API server to protect; calls have a deadline; and the target is
taken from every poll, as if the ScaledObject were reconciled each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
from grpc import aio

from protos.externalscaler import externalscaler_pb2 as pb
from weir.engine.autoscaler import Metric, Reading
from weir.engine.backoff import Backoff

if TYPE_CHECKING:
    from protos.externalscaler.externalscaler_pb2_grpc import ExternalScalerAsyncStub

__all__ = ["KedaClient", "scaler_channel"]

CALL_TIMEOUT = 5.0
"""Seconds for a unary call. KEDA sets no deadline, so there one call that hangs blocks its whole object."""
ASLEEP_INTERVAL = 30.0
"""Seconds between polls of an app at zero replicas, unless its own interval is longer: KEDA's default. An activation is
pushed, so a poll only finds what a lost push missed, and thousands of sleeping apps must cost little."""
RETRY_FIRST, RETRY_LIMIT = 0.05, 2.0
"""Pauses in seconds between attempts (KEDA: 2 to 60), short so that a restarted scaler is found again within seconds."""
PATIENCE = 1.0
"""When the pause reaches this many seconds, a scaler that still does not know the app is logged. Before, it may just not have
read the routes that the engine wrote."""

_log = logging.getLogger(__name__)


def scaler_channel(address: str) -> aio.Channel:
    """One connection for all apps, as KEDA's pool keeps one per address."""
    return aio.insecure_channel(
        address,
        options=[
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            # The scaler is on this machine, so a proxy from the environment is never right.
            ("grpc.enable_http_proxy", 0),
        ],
    )


class KedaClient:
    """One external-push trigger.

    `on_active` is called for every `true` that is pushed, `on_reading` after every successful poll; both on the loop's thread.
    """

    def __init__(
        self,
        stub: ExternalScalerAsyncStub,
        ref: pb.ScaledObjectRef,
        *,
        poll_interval: Callable[[], float],
        asleep: Callable[[], bool],
        on_active: Callable[[], None],
        on_reading: Callable[[Reading], None],
    ) -> None:
        self._stub, self._ref = stub, ref
        self._poll_interval, self._asleep = poll_interval, asleep
        self.quiet = False
        """Set before a shutdown: failed calls are not logged any more."""
        self._on_active, self._on_reading = on_active, on_reading
        self._name = f"{ref.namespace}/{ref.name}"
        self._patient = True
        self._failing: grpc.StatusCode | None = None
        self.joined = asyncio.Event()
        """Set once the scaler has returned a metric; only then does KEDA open its stream."""

    async def run(self) -> None:
        """Poll and listen until cancelled."""
        await self._reconcile()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name=f"activity of {self._name}")
            group.create_task(self._poll(), name=f"metrics of {self._name}")

    async def _reconcile(self) -> None:
        """Repeat until there is a metric; before, KEDA creates no HPA and opens no stream."""
        backoff = Backoff(RETRY_FIRST, RETRY_LIMIT)
        while not await self._has_metrics():
            pause = backoff.pause()
            await asyncio.sleep(pause)
            self._patient = pause < PATIENCE
        self.joined.set()

    async def _has_metrics(self) -> bool:
        try:
            answer = await self._stub.GetMetricSpec(self._ref, timeout=CALL_TIMEOUT)
        except aio.AioRpcError as error:
            self._failed(error)
            return False
        return bool(answer.metricSpecs)

    async def _listen(self) -> None:
        backoff = Backoff(RETRY_FIRST, RETRY_LIMIT)
        while True:
            try:
                async for answer in self._stub.StreamIsActive(self._ref):
                    backoff.reset()
                    if answer.result:  # KEDA ignores a pushed false
                        self._on_active()
                backoff.reset()  # the stream ended with OK
            except aio.AioRpcError as error:
                _log.debug("%s: StreamIsActive: %s", self._name, _reason(error))
            await asyncio.sleep(backoff.pause())

    async def _poll(self) -> None:
        while True:
            try:
                reading = await self._read()
            except aio.AioRpcError as error:
                self._failed(error)
            else:
                self._succeeded()
                self._on_reading(reading)
            await self._rest()

    async def _rest(self) -> None:
        """Wait until the next poll is due. When the app wakes meanwhile, wait only as long as for a running app."""
        rested = 0.0
        while True:
            interval = self._poll_interval()
            await asyncio.sleep(interval)
            rested += interval
            if rested >= ASLEEP_INTERVAL or not self._asleep():
                return

    async def _read(self) -> Reading:
        """Call in KEDA's order: the specs, each metric, the activity. A failure of one call fails the whole reading."""
        answer = await self._stub.GetMetricSpec(self._ref, timeout=CALL_TIMEOUT)
        metrics = [Metric(await self._value(spec), _target(spec)) for spec in answer.metricSpecs]
        active = await self._stub.IsActive(self._ref, timeout=CALL_TIMEOUT)
        return Reading(active=active.result, metrics=[metric for metric in metrics if metric.target > 0])

    async def _value(self, spec: pb.MetricSpec) -> float:
        request = pb.GetMetricsRequest(scaledObjectRef=self._ref, metricName=spec.metricName)
        answer = await self._stub.GetMetrics(request, timeout=CALL_TIMEOUT)
        # An HPA adds up all returned values, whatever their names.
        return sum(_number(value.metricValueFloat, value.metricValue) for value in answer.metricValues)

    def _failed(self, error: aio.AioRpcError) -> None:
        """Log the first failure only. The replicas stay as they are: a missing value is not zero."""
        if self._failing != error.code() and not self._patient and not self.quiet:
            self._failing = error.code()
            _log.warning("%s: no answer of the scaler, replicas stay as they are: %s", self._name, _reason(error))

    def _succeeded(self) -> None:
        self._patient = False
        if self._failing is not None:
            self._failing = None
            _log.info("%s: the scaler answers again", self._name)


def _target(spec: pb.MetricSpec) -> float:
    return _number(spec.targetSizeFloat, spec.targetSize)


def _number(real: float, whole: int) -> float:
    """KEDA uses the float value when it is above zero, with three decimals, and else the integer."""
    return round(real, 3) if real > 0 else float(max(whole, 0))


def _reason(error: aio.AioRpcError) -> str:
    code: grpc.StatusCode = error.code()
    return f"{code.name} {' '.join((error.details() or '').split())}".strip()
