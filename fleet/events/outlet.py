"""Delivers events to one receiver, in order: a bounded queue, a task, growing pauses. Publishing never waits.

An event is sent again, with the same id, until the receiver takes it, refuses it for good, or it is too old. While the receiver
is down the oldest events make room for new ones. What is dropped is counted by reason, and logged once until an event arrives.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from fleet.events.event import Event
from fleet.runtime.pauses import Pauses
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.terminal import one_line

__all__ = ["MAX_EVENTS", "Outlet", "Sink", "SinkError"]

MAX_EVENTS: Final = 1000
"""Events that wait for a receiver: a few hundred KB."""
MAX_AGE_SECONDS: Final = 900.0
"""Seconds after which an event is not sent any more: nobody acts on a wake of a quarter of an hour ago."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
LAST_SECONDS: Final = 2.0
"""Seconds at the end for events that wait."""

_log = logging.getLogger(__name__)


class SinkError(Exception):
    """An event was not taken. `lasting`: it will not be, however often it is sent. `retry_after` is in seconds."""

    def __init__(self, why: str, *, lasting: bool = False, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.lasting = lasting
        self.retry_after = retry_after


class Sink(Protocol):
    """A receiver."""

    name: str

    async def send(self, event: Event) -> None:
        """Raises SinkError."""

    async def close(self) -> None: ...


class Outlet:
    """Of one receiver. `wall` is the clock of the events' times."""

    def __init__(
        self,
        sink: Sink,
        *,
        wall: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most: int = MAX_EVENTS,
    ) -> None:
        self.sink = sink
        self.sent = 0
        self.retries = 0
        self.dropped: Counter[str] = Counter()
        """By reason: `full`, `expired`, `refused`, `ended`."""
        self._wall, self._sleep, self._most = wall, sleep, most
        self._waiting: deque[Event] = deque()
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._complained: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"events:{self.sink.name}")

    async def close(self) -> None:
        """Deliver what waits, for a moment."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            self._drop("ended", len(self._waiting), "the component has ended")
        task, self._task = self._task, None
        await cancel_and_wait(task)
        await self.sink.close()

    def publish(self, event: Event) -> None:
        """Take an event; returns at once."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._drop("full", 1, f"{self._most} events wait already")
        self._waiting.append(event)
        self._some.set()
        self._idle.clear()

    async def _run(self) -> None:
        pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while True:
            if not self._waiting:
                self._idle.set()
                self._some.clear()
                await self._some.wait()
            event = self._waiting[0]
            if self._wall() - event.time > MAX_AGE_SECONDS:
                self._done(event)
                self._drop("expired", 1, f"older than {MAX_AGE_SECONDS:g} s")
                continue
            try:
                await self.sink.send(event)
            except SinkError as error:
                if error.lasting:
                    self._done(event)
                    self._drop("refused", 1, str(error))
                    pauses.reset()
                    continue
                self._complain("retry", f"{error}; it is tried again")
                self.retries += 1
                await self._sleep(pauses.next(error.retry_after))
                continue
            except Exception:  # noqa: BLE001 -- the task must live
                # By a defect: the events after this one are worth more than it.
                _log.exception("events to %s: an event is dropped", self.sink.name)
                self._done(event)
                self.dropped["refused"] += 1
                await self._sleep(pauses.next())
                continue
            self._done(event)
            self.sent += 1
            pauses.reset()
            if self._complained:
                _log.info("events are delivered to %s again", self.sink.name)
                self._complained.clear()

    def _done(self, event: Event) -> None:
        """It may have made room for another one in the meantime."""
        if self._waiting and self._waiting[0] is event:
            self._waiting.popleft()

    def _drop(self, reason: str, count: int, why: str) -> None:
        self.dropped[reason] += count
        self._complain(reason, f"an event is dropped: {why}")

    def _complain(self, reason: str, why: str) -> None:
        if reason not in self._complained:
            self._complained.add(reason)
            _log.warning("events to %s: %s", self.sink.name, one_line(why))
