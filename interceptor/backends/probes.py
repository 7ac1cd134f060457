"""Probes: a connection of our own decides whether a backend is trusted, not a user's request.

Takes a connection, or an answer to a GET of the target's readiness path. A connection that is still good afterwards is kept
for the requests that follow.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable

from fleet.routing.table import RoutingTable
from interceptor.backends.endpoint import Endpoint, ProbeRule
from interceptor.backends.endpoints import reason
from interceptor.core.errors import BadResponse, ExchangeError
from interceptor.core.messages import Request, Response
from interceptor.core.sides import Dialer, Upstream

__all__ = ["Probes", "probe_rules"]

logger = logging.getLogger(__name__)

MAX_PROBES = 64
"""At once, of all targets: more than a fleet of this size ever needs, and few enough to go unnoticed beside requests."""
CONNECT_SECONDS = 5.0
"""For the connection, where a route gives its requests longer or for ever: a probe takes a turn that others wait for."""
ANSWER_SECONDS = 5.0
"""For the answer of a readiness path. The first answer of an application that has only begun is often its slowest."""
_LEAST_GOOD, _LEAST_BAD = 200, 400


def probe_rules(table: RoutingTable, usual: ProbeRule) -> dict[str, ProbeRule]:
    """For each target that is not probed as usual. One that several routes share has the first path and the longest time."""
    rules: dict[str, ProbeRule] = {}
    for route in table.apps.values():
        path, connect = route.protection.readiness_path, route.timeouts.connect
        if path is None and connect is None:
            continue
        rule = rules.get(route.target.key, usual)
        seconds = rule.connect if connect is None else max(rule.connect, connect or math.inf)
        rules[route.target.key] = ProbeRule(rule.path or path, seconds)
    return rules


class Probes:
    """Of one interceptor. `passes` and `failures` count since its start."""

    def __init__(self, dialer: Dialer, clock: Callable[[], float]) -> None:
        self._dialer = dialer
        self._clock = clock
        self.passes = 0
        self.failures = 0
        self._waiting: deque[Endpoint] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def probe(self, endpoint: Endpoint) -> None:
        """Ask it once, after those that wait already, and tell it by `passed` or `failed`. One that is gone is not asked."""
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
        """Why it cannot be trusted; empty when it can."""
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
    connection.send_request(answer, request, None, peer=b"", trusted=False)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status = await answer.status
    except TimeoutError:
        connection.abort()
        return f"{path} was not answered within {ANSWER_SECONDS:g} s"
    except (OSError, ExchangeError) as error:
        return f"{path} was not answered: {error}"
    return "" if _is_good(status) else f"{path} was answered with {status}"


def _is_good(status: int) -> bool:
    return _LEAST_GOOD <= status < _LEAST_BAD


class _Answer:
    """Where the answer to a probe goes. Its head is enough; only a connection that is through with it is kept."""

    method = b"GET"
    unframed = False

    def __init__(self, endpoint: Endpoint, connection: Upstream) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._endpoint = endpoint
        self._connection = connection

    def on_answer(self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool) -> None:
        if complete and reusable and _is_good(head.status):
            self._connection.rest()
            self._endpoint.offer(self._connection, self._endpoint.owner.clock())
        else:
            self._connection.abort()
        if not self.status.done():
            self.status.set_result(head.status)

    def on_lost(self, error: Exception) -> None:
        if not self.status.done():
            self.status.set_exception(error)

    def on_switched(self, head: Response, data: bytes) -> None:
        self._connection.abort()
        self.on_lost(BadResponse("it switched protocols unasked"))

    def on_interim(self, head: Response) -> None:
        """It is only on its way."""

    def on_answer_data(self, data: bytes | memoryview) -> None:
        """Never: a connection with more to come was cut."""

    def on_answer_bulk(self, data: memoryview, source: object, left: int) -> int:
        return 0

    def on_answer_end(self, *, reusable: bool) -> None:
        """Never, either."""

    def pause_body(self) -> None:
        """There is none."""

    def resume_body(self) -> None:
        """There is none."""
