"""The diagnostics pages of a component over HTTP: liveness, readiness, metrics, and what it knows as JSON.

Reads what the component hands in and changes nothing. Never on the port of the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import uvicorn
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fleet.runtime.listen import bound
from fleet.runtime.terminal import escaped

__all__ = ["Diagnostics", "QuietServer", "quiet_configuration"]

MAX_CONNECTIONS = 100
"""Probes, a few scrapers, a few people; more are answered with 503."""
BACKLOG = 128
STOP_GRACE_SECONDS = 1
"""Answers come from memory: what takes longer is a client that does not read."""

_log = logging.getLogger(__name__)


class Diagnostics:
    """/livez, /readyz (503 with the reason), /metrics, and each of `pages` as JSON under its path ("/queue")."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        not_ready: Callable[[], str | None],
        registry: CollectorRegistry,
        pages: Mapping[str, Callable[[], Any]],
    ) -> None:
        self._host = host
        self._port = port
        self._app = _application(not_ready, registry, pages)
        self._server: QuietServer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port bound; before `start` the port asked for."""
        return self._port

    async def start(self) -> int:
        """Listen, and give the port. Raises StartError."""
        listener = bound(self._host, self._port, "diagnostics")
        listener.listen(BACKLOG)
        self._port = listener.getsockname()[1]
        self._server = QuietServer(quiet_configuration(self._app))
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name=f"diagnostics:{self._port}")
        return self._port

    async def stop(self) -> None:
        """Finish what is being answered, for a second at most, and stop listening."""
        server, self._server = self._server, None
        task, self._task = self._task, None
        if server is not None and task is not None:
            server.end()
            await task


class QuietServer(uvicorn.Server):
    """Leaves the signals to the process, sleeps when nobody asks, and ends as soon as it is told."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def main_loop(self) -> None:
        # uvicorn's own wakes the process ten times a second, to renew a date and to ask whether to end.
        await self._told.wait()

    def end(self) -> None:
        self.should_exit = True
        self._told.set()


def quiet_configuration(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http="httptools",
        ws="none",
        backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=STOP_GRACE_SECONDS,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )


def _application(
    not_ready: Callable[[], str | None], registry: CollectorRegistry, pages: Mapping[str, Callable[[], Any]]
) -> Starlette:
    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = not_ready()
        return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(f"{reason}\n", 503)

    async def metrics(_: Request) -> Response:
        # Read here, where nothing changes meanwhile; written elsewhere, as ten thousand applications take a while.
        taken = CollectorRegistry()
        taken.register(_Taken([*registry.collect()]))
        return Response(await asyncio.to_thread(generate_latest, taken), headers={"content-type": CONTENT_TYPE_LATEST})

    routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]
    return Starlette(routes=[*routes, *(Route(path, _page(show)) for path, show in pages.items())])


class _Taken(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _page(show: Callable[[], Any]) -> Callable[[Request], Any]:
    async def page(_: Request) -> Response:
        return Response(escaped(msgspec.json.encode(show())), media_type="application/json")

    return page
