"""The events of a component: makes them, and hands each to every receiver that is configured. Publishing never waits."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from time import time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fleet.events.event import Event, binary, structured
from fleet.events.lifecycle import Kind
from fleet.events.outlet import Outlet
from fleet.events.settings import EventSettings
from fleet.events.stream import RedisStream
from fleet.events.webhook import Webhook
from fleet.runtime.process import StartError

__all__ = ["Events", "open_events"]


class Events:
    """`source` is that of every event. `wall` is the time in seconds since the epoch."""

    def __init__(self, outlets: Iterable[Outlet], source: str, *, wall: Callable[[], float] = time) -> None:
        self.outlets = tuple(outlets)
        self._source, self._wall = source, wall

    @property
    def wanted(self) -> bool:
        """Whether there is a receiver."""
        return bool(self.outlets)

    def publish(self, kind: Kind, app: str, data: Mapping[str, object]) -> None:
        event = Event(str(uuid.uuid4()), self._source, kind.value, app, self._wall(), data)
        for outlet in self.outlets:
            outlet.publish(event)

    def start(self) -> None:
        for outlet in self.outlets:
            outlet.start()

    async def close(self) -> None:
        for outlet in self.outlets:
            await outlet.close()

    def metrics(self) -> Iterable[Metric]:
        """For /metrics; nothing without receivers."""
        if not self.outlets:
            return
        sent = CounterMetricFamily("weir_events_sent", "Events that a receiver has taken.", labels=["sink"])
        retries = CounterMetricFamily("weir_events_retries", "Attempts that have failed.", labels=["sink"])
        dropped = CounterMetricFamily("weir_events_dropped", "Events that are lost.", labels=["sink", "reason"])
        waiting = GaugeMetricFamily("weir_events_waiting", "Events that wait for a receiver.", labels=["sink"])
        for outlet in self.outlets:
            name = outlet.sink.name
            sent.add_metric([name], float(outlet.sent))
            retries.add_metric([name], float(outlet.retries))
            waiting.add_metric([name], float(outlet.waiting))
            for reason, count in outlet.dropped.items():
                dropped.add_metric([name, reason], float(count))
        yield from (sent, retries, dropped, waiting)


def open_events(settings: EventSettings, *, wall: Callable[[], float] = time) -> Events:
    """Raises StartError for a receiver that cannot be used at all."""
    outlets = []
    if settings.events_webhook:
        encode = structured if settings.events_format == "structured" else binary
        token, key = settings.events_token, settings.events_signing_key
        try:
            webhook = Webhook(settings.events_webhook, encode=encode, wall=wall, token=token, key=key, ca=settings.events_ca)
        except OSError as error:
            raise StartError(f"events_ca: {settings.events_ca}: {error}") from error
        outlets.append(Outlet(webhook, wall=wall))
    if settings.events_redis:
        stream = RedisStream(settings.events_redis, settings.events_stream, most=settings.events_stream_length)
        outlets.append(Outlet(stream, wall=wall))
    return Events(outlets, settings.events_source, wall=wall)
