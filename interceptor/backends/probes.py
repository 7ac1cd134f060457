"""Probes: connections of our own, not users' requests, test whether a backend can be trusted again.

A probe succeeds if the backend accepts a connection or, if the target has a readiness path, answers a GET of it. The connection
is kept for later requests if it can be used again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from fleet.defaults import READY_STATUSES
from fleet.routing.table import RoutingTable
from fleet.routing.target import PoolKey
from interceptor.backends.endpoint import Endpoint, ProbeRule
from interceptor.backends.endpoints import reason
from interceptor.core.errors import BadResponse, ExchangeError, SpeaksAnother
from interceptor.core.messages import Fields, Request, Response
from interceptor.core.sides import Dialer, Upstream

__all__ = ["Probes", "probe_rules"]

logger = logging.getLogger(__name__)

MAX_PROBES: Final = 64
"""Probes of all targets at once: more than usual clusters need, and too few to slow down requests."""
CONNECT_SECONDS: Final = 5.0
"""Longest time to connect, even if the route allows requests more: a slow probe delays others, as the number is limited."""
ANSWER_SECONDS: Final = 5.0
"""Longest time for the answer of a readiness path. The first response of an application that has just started is often its
slowest."""


def probe_rules(table: RoutingTable, usual: ProbeRule, *, as_clients: bool = False) -> dict[PoolKey, ProbeRule]:
    """Rules of the targets that do not use the default rule, by key and how they are spoken to: as it is said, and over TLS as
    well if they are spoken to `as_clients` speak. If several routes share a target, the first path and the longest connect
    timeout apply."""
    rules: dict[PoolKey, ProbeRule] = {}
    for route in table.apps.values():
        path, connect = route.protection.readiness_path, route.timeouts.connect
        if path is None and connect is None:
            continue
        targets = [route.target, *(backend for each in route.rules for backend in each.backends)]
        for target in (*targets, *((each.over_tls for each in targets) if as_clients else ())):
            if target is None:
                continue
            pool = target.pool
            rule = rules.get(pool, usual)
            seconds = rule.connect if connect is None else max(rule.connect, connect or math.inf)
            rules[pool] = ProbeRule(rule.path or path, seconds)
    return rules


class Probes:
    """Runs the probes of one interceptor. `passes` and `failures` count since its start."""

    def __init__(self, dialer: Dialer, clock: Callable[[], float]) -> None:
        self._dialer = dialer
        self._clock = clock
        self.passes = 0
        self.failures = 0
        self._waiting: deque[Endpoint] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def probe(self, endpoint: Endpoint) -> None:
        """Queue one probe, whose result is reported by `passed` or `failed` of the endpoint. Skipped if the endpoint has been
        removed meanwhile."""
        endpoint.owner.probing += 1
        self._waiting.append(endpoint)
        self._go_on()

    async def close(self) -> None:
        self._waiting.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _go_on(self) -> None:
        while self._waiting and len(self._tasks) < MAX_PROBES:
            endpoint = self._waiting.popleft()
            task = asyncio.get_running_loop().create_task(self._probe(endpoint), name=f"probe {endpoint.owner.key}")
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._go_on()

    async def _probe(self, endpoint: Endpoint) -> None:
        try:
            why = "gone" if endpoint.gone else await self._ask(endpoint)
        finally:
            endpoint.owner.probing -= 1
        if endpoint.gone:
            return
        before = endpoint.failures
        if why:
            self.failures += 1
            endpoint.failed(self._clock())
            if not before:
                logger.info("backend %s of %s is not ready: %s", endpoint.address, endpoint.owner.key, why)
            return
        self.passes += 1
        endpoint.passed()
        if before:
            logger.info("backend %s of %s is back", endpoint.address, endpoint.owner.key)

    async def _ask(self, endpoint: Endpoint) -> str:
        """Probe the endpoint. Returns why it cannot be trusted; empty if it can."""
        rule = endpoint.owner.rule
        try:
            async with asyncio.timeout(min(rule.connect, CONNECT_SECONDS)):
                connection = await self._dialer.connect(endpoint)
        except (OSError, TimeoutError) as error:
            endpoint.owner.last_error = reason(error)
            return endpoint.owner.last_error
        endpoint.owner.last_error = ""
        if rule.path is None:
            endpoint.offer(connection, self._clock())
            return ""
        return await _ask_path(endpoint, connection, self._dialer.probe(endpoint, rule.path))


async def _ask_path(endpoint: Endpoint, connection: Upstream, request: Request) -> str:
    path = request.target.decode()
    answer = _Answer(endpoint, connection)
    connection.send_request(answer, request, None, end=True, peer=b"", trusted=False)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status = await answer.status
    except TimeoutError:
        connection.abort()
        return f"{path} was not answered within {ANSWER_SECONDS:g} s"
    except (OSError, ExchangeError) as error:
        if isinstance(error, SpeaksAnother):
            endpoint.owner.note_protocol(endpoint, error)
        return f"{path} was not answered: {error}"
    return "" if status in READY_STATUSES else f"{path} was answered with {status}"


class _Answer:
    """Receives the response to a probe. The head is enough; the connection is kept only if the whole response came with it."""

    method = b"GET"
    unframed = False

    def __init__(self, endpoint: Endpoint, connection: Upstream) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._endpoint = endpoint
        self._connection = connection

    def on_answer(
        self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool, trailers: Fields = ()
    ) -> None:
        if complete and reusable and head.status in READY_STATUSES:
            self._connection.release()
            self._endpoint.offer(self._connection, self._endpoint.owner.clock())
        else:
            self._connection.abort()
        if not self.status.done():
            self.status.set_result(head.status)

    def on_lost(self, error: Exception) -> None:
        if not self.status.done():
            self.status.set_exception(error)

    def may_retry(self) -> bool:
        """A probe is not retried; the next one follows after the pause."""
        return False

    def on_switched(self, head: Response, data: bytes) -> None:
        self._connection.abort()
        self.on_lost(BadResponse("it switched protocols unasked"))

    def on_interim(self, head: Response) -> None:
        """Ignored: the final response follows."""

    def on_answer_data(self, data: bytes | memoryview) -> None:
        """Not called: the connection is aborted unless the whole response came with its head."""

    def on_answer_bulk(self, data: memoryview, source: object, left: int) -> int:
        return 0

    def on_answer_end(self, *, reusable: bool, trailers: Fields = ()) -> None:
        """Not called, for the same reason."""

    def pause_body(self) -> None:
        """A probe has no body."""

    def resume_body(self) -> None:
        """A probe has no body."""
