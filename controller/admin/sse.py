"""Server-sent events (HTML Living Standard, section 9.2): a call that takes long tells its caller how far it is.

The work is a task of its own, which a caller who leaves does not end. Events are `progress`, and a last one,
`done` or `failed`. Knows neither applications nor releases.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.admin.problems import Refused, of_api_error
from fleet.discovery.kubernetes.client import ApiError
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["DONE", "EVENT_STREAM", "FAILED", "PROGRESS", "Place", "Places", "Progress", "Streams", "Work", "encoded"]

EVENT_STREAM = "text/event-stream"
PROGRESS, DONE, FAILED = "progress", "done", "failed"
COMMENT_SECONDS = 10.0
"""Seconds of silence after which a comment is sent: proxies close connections on which nothing happens, often after 30 or 60."""
COMMENT = b": still there\n\n"
MAX_PENDING = 100
"""Events that wait for a caller who reads slowly. Of more, the oldest are dropped: progress is only worth its newest state."""
MAX_STREAMS = 100
"""Streams at once, half of the connections that the API accepts."""
MAX_STREAMS_OF_USER = 10
CLOSE_SECONDS = 1.0
"""Seconds for last events when the controller ends."""

Json = Mapping[str, Any]

_log = logging.getLogger(__name__)


class Progress:
    """How far a piece of work is. Telling never waits and never fails, whether somebody listens or not."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        """Nobody listens any more: the caller has left, or the controller ends. Work that only waits should stop waiting then."""
        self._events: deque[bytes] = deque(maxlen=MAX_PENDING)
        self._news = asyncio.Event()

    def tell(self, step: str, **fields: Any) -> None:
        """A progress event: what is done now, in words for people, and fields for programs."""
        self.add(encoded(PROGRESS, {"step": step, **fields}))

    async def pause(self, seconds: float) -> bool:
        """Wait, at most until nobody listens any more; returns whether somebody does."""
        try:
            async with asyncio.timeout(seconds):
                await self.gone.wait()
        except TimeoutError:
            return True
        return False

    def add(self, event: bytes) -> None:
        self._events.append(event)
        self._news.set()

    def take(self) -> bytes:
        """The events since the last call; empty when there are none."""
        events = b"".join(self._events)
        self._events.clear()
        self._news.clear()
        return events

    def wake(self) -> None:
        """End a wait for news."""
        self._news.set()

    async def news(self) -> None:
        """Wait for an event, or for the end of the work."""
        await self._news.wait()

    @property
    def has_news(self) -> bool:
        """Whether there are events that were not taken."""
        return bool(self._events)


Work = Callable[[Progress], Awaitable[Json]]
"""Returns what the last event says. May raise Refused or ApiError, which the last event then says as a problem."""


class Place:
    """One of the places for streams. Releasing it twice does nothing."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()


class Places:
    """How many streams there are, in all and of each user."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, user: str) -> Place:
        """Raises Refused: 429."""
        if self._taken[user] >= MAX_STREAMS_OF_USER or self._taken.total() >= MAX_STREAMS:
            raise Refused(429, "too-many", "too many streams are open", headers={"Retry-After": "5"})
        self._taken[user] += 1
        return Place(lambda: self._free(user))

    def _free(self, user: str) -> None:
        self._taken[user] -= 1
        if not self._taken[user]:
            del self._taken[user]


class Streams:
    """Runs pieces of work, and streams their progress."""

    def __init__(self) -> None:
        self.places = Places()
        self._running: dict[asyncio.Task[Json], Progress] = {}
        self._ending = False

    async def answer(self, user: str, work: Work) -> Response:
        """Start the work. What it refuses before it has told anything is raised, as without a stream; from its first progress on
        the answer is a stream, whose last event says what came of it. Raises Refused and ApiError."""
        place, progress = self.places.take(user), Progress()
        task = asyncio.create_task(_run(work, progress), name="admin:stream")
        self._running[task] = progress
        task.add_done_callback(self._ended)
        if self._ending:
            progress.gone.set()
        try:
            await progress.news()
            if task.done() and not progress.has_news and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        except BaseException:
            progress.gone.set()
            place.release()
            raise
        return _Stream(task, progress, place)

    async def close(self) -> None:
        """Tell all work that nobody listens any more, and give streams a moment for their last events. Work that goes on all the
        same is cancelled."""
        self._ending = True
        for progress in self._running.values():
            progress.gone.set()
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=CLOSE_SECONDS)
        for task in tuple(self._running):
            task.cancel()

    def _ended(self, task: asyncio.Task[Json]) -> None:
        self._running.pop(task, None)
        if not task.cancelled():
            task.exception()  # if nobody listens any more, nobody asks for it


class _Stream(Response):
    """An answer of events. It reads from its client as well, to know when that has left."""

    def __init__(self, task: asyncio.Task[Json], progress: Progress, place: Place) -> None:
        # X-Accel-Buffering: nginx would keep events until it has a bufferful.
        super().__init__(media_type=EVENT_STREAM, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._task = task
        self._progress = progress
        self._place = place
        self._left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = asyncio.create_task(self._listen(receive), name="admin:listener")
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_events(send)
        finally:
            self._progress.gone.set()
            self._place.release()
            await cancel_and_wait(listener)

    async def _send_events(self, send: Send) -> None:
        while not self._left:
            body, ended = self._progress.take(), self._task.done()
            if ended:
                body += _last(self._task)
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": not ended})
            if ended:
                return
            try:
                async with asyncio.timeout(COMMENT_SECONDS):
                    await self._progress.news()
            except TimeoutError:
                await send({"type": "http.response.body", "body": COMMENT, "more_body": True})

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._progress.gone.set()
        self._progress.wake()


def encoded(event: str, data: Json) -> bytes:
    """One event. JSON has no line ends outside of its texts, and none within them."""
    return b"event: " + event.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


async def _run(work: Work, progress: Progress) -> Json:
    try:
        return await work(progress)
    finally:
        # The stream sees the end of the task in its next turn, when the task is done.
        asyncio.get_running_loop().call_soon(progress.wake)


def _last(task: asyncio.Task[Json]) -> bytes:
    error = Refused(503, "ending", "the controller ends, and it is not known what becomes of it") if task.cancelled() else None
    failure = error or task.exception()
    if failure is None:
        return encoded(DONE, task.result())
    if isinstance(failure, ApiError):
        failure = of_api_error(failure)
    if not isinstance(failure, Refused):
        _log.error("a call has failed", exc_info=failure)
        failure = Refused(500, "internal", "see the controller's log")
    return encoded(FAILED, {"problem": failure.problem.model_dump(mode="json", exclude_none=True)})
