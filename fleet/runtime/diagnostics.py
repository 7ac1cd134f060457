"""The diagnostics pages of a component over HTTP: liveness, readiness, metrics, what it knows as JSON, and at / a list of them.

Reads what the component hands in and changes nothing. Never on the port of the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fleet.runtime.documents import joined, json_parts
from fleet.runtime.indexpage import POLICY, index_page, index_text
from fleet.runtime.listen import bound
from fleet.runtime.strangers import Strangers

__all__ = ["Diagnostics", "QuietServer", "quiet_configuration"]

MAX_CONNECTIONS = 100
"""Probes, a few scrapers, a few people; more are answered with 503."""
BACKLOG = 128
STOP_GRACE_SECONDS = 1
"""Answers come from memory: what takes longer is a client that does not read."""

_FIXED_PAGES = {
    "/livez": "ok while the process answers",
    "/readyz": "ok when it serves; 503 and the reason when it does not",
    "/metrics": "for Prometheus",
}

_log = logging.getLogger(__name__)


class Diagnostics:
    """/livez, /readyz (503 with the reason), /metrics, and each of `pages` as JSON under its path ("/queue"), and at / a list.

    `metrics` gives a document in Prometheus' text format, in small parts; those of the process come before it. A page with
    many rows gives `Rows` or `Pairs`. Both are made in small steps, one document at a time.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        not_ready: Callable[[], str | None],
        metrics: Callable[[], Iterator[str]],
        pages: Mapping[str, Callable[[], Any]],
    ) -> None:
        self._host = host
        self._port = port
        self._app = _application(not_ready, metrics, pages)
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


def _protocol() -> type[HttpToolsProtocol]:
    """uvicorn's, but for the line that it logs of every client that it does not understand: it says neither who nor what."""
    strangers = Strangers("diagnostics")
    logging.getLogger("uvicorn.error").addFilter(_says_something)

    class Protocol(HttpToolsProtocol):
        _begin = b""
        """What came last, when it was the first."""
        _asked = False

        def data_received(self, data: bytes) -> None:
            self._begin, self._asked = b"" if self._asked else data, True
            super().data_received(data)

        def send_400_response(self, msg: str) -> None:
            strangers.note(self._begin, self.transport)
            super().send_400_response(msg)

    return Protocol


def _says_something(record: logging.LogRecord) -> bool:
    return record.msg != "Invalid HTTP request received."


def quiet_configuration(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http=_protocol(),
        ws="none",
        backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=STOP_GRACE_SECONDS,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )


def _application(
    not_ready: Callable[[], str | None], metrics: Callable[[], Iterator[str]], pages: Mapping[str, Callable[[], Any]]
) -> Starlette:
    process = _process()
    # However many ask, a turn of the event loop has one step of one document; and a document is of one reading.
    one_at_a_time = asyncio.Lock()

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = not_ready()
        return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(f"{reason}\n", 503)

    async def show_metrics(_: Request) -> Response:
        async with one_at_a_time:
            # Counts the open files, of which there may be a hundred thousand.
            begin = await asyncio.to_thread(generate_latest, process)
            body = begin + await joined(part.encode() for part in metrics())
        return Response(body, headers={"content-type": CONTENT_TYPE_LATEST})

    def page(show: Callable[[], Any]) -> Callable[[Request], Any]:
        async def answer(_: Request) -> Response:
            async with one_at_a_time:
                body = await joined(json_parts(show()))
            return Response(body, media_type="application/json")

        return answer

    listed = {**_FIXED_PAGES, **dict.fromkeys(pages, "what it knows, as JSON")}

    async def index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(index_page(listed), headers={"content-security-policy": POLICY})
        return PlainTextResponse(index_text(listed))

    routes = [Route("/", index), Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", show_metrics)]
    return Starlette(routes=[*routes, *(Route(path, page(show)) for path, show in pages.items())])


def _process() -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
