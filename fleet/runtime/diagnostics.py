"""The diagnostics server of a component (HTTP): liveness, readiness, metrics, pages, and an index of them at /.

Read only, except for the level of the log. Always on its own port, never the proxy's. What a request asks for, as JSON or as
text, is decided in forms.py, and so is the query.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Final

import uvicorn
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fleet.runtime.documents import Pairs, joined, json_parts
from fleet.runtime.forms import JSON, TEXT, BadQuery, Page, form_of, limit_of
from fleet.runtime.guarded import GuardedProtocol
from fleet.runtime.hosts import is_own, own_names
from fleet.runtime.indexpage import POLICY, index_page, index_text
from fleet.runtime.levelpage import Refused, change_level
from fleet.runtime.listen import bound
from fleet.runtime.logs import levels
from fleet.runtime.protocol_mismatch import ProtocolMismatches
from fleet.runtime.texts import text_parts

__all__ = ["Diagnostics", "Page", "QuietServer", "quiet_configuration"]

MAX_CONNECTIONS: Final = 100
"""Maximum number of connections: probes, a few scrapers, a few people. Beyond it the oldest one is closed, one without a request
first, so that probes are answered whoever keeps the others."""
NEW_SECONDS: Final = 1.0
"""Seconds for which a connection may have brought nothing, and is not idle: its request may be on its way."""
BACKLOG: Final = 128
STOP_GRACE_SECONDS: Final = 1
"""Seconds to finish responses at the end. Answers come from memory, so only a client that does not read takes longer."""

_FIXED_PAGES: Final = {
    "/livez": "ok while the process answers",
    "/readyz": "ok when it serves; 503 and the reason when it does not",
    "/metrics": "for Prometheus",
    "/logging": "the level of the log, which a POST changes",
}

_NOT_OURS: Final = "not a name of this process: ask by its address, or set WEIR_DIAGNOSTICS_HOSTS\n"

Pages = Mapping[str, Page | Callable[[], Any]]
"""By path."""

_log = logging.getLogger(__name__)


class Diagnostics:
    """/livez, /readyz (503 with the reason), /metrics, /logging, each of `pages` under its path ("/queue"), and an index at /.

    `metrics` yields a document in Prometheus' text format, in small parts; the process's own metrics are put in front. A page
    with many rows returns `Rows` or `Pairs`. Documents are generated in small steps, one document at a time.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        not_ready: Callable[[], str | None],
        metrics: Callable[[], Iterator[str]],
        pages: Pages,
        names: str = "",
    ) -> None:
        """`names`: those by which requests come, beside the usual ones (`fleet.runtime.hosts`), separated by commas."""
        self._host = host
        self._port = port
        self._app = _application(not_ready, metrics, pages, own_names(f"{names},{socket.gethostname()}"))
        self._server: QuietServer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use; before `start` the configured port."""
        return self._port

    async def start(self) -> int:
        """Listen; returns the port. Raises StartError."""
        listener = bound(self._host, self._port, "diagnostics")
        listener.listen(BACKLOG)
        self._port = listener.getsockname()[1]
        self._server = QuietServer(quiet_configuration(self._app))
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name=f"diagnostics:{self._port}")
        return self._port

    async def stop(self) -> None:
        """Finish responses, for a second at most, and stop listening."""
        server, self._server = self._server, None
        task, self._task = self._task, None
        if server is not None and task is not None:
            server.end()
            await task


class QuietServer(uvicorn.Server):
    """A uvicorn server that leaves signal handling to the process, does not poll, and ends as soon as it is asked to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def main_loop(self) -> None:
        # uvicorn's own loop wakes ten times a second, to renew the Date header and to check whether to end.
        await self._stopping.wait()

    def end(self) -> None:
        self.should_exit = True
        self._stopping.set()


def _protocol(*, is_patient: bool) -> type[GuardedProtocol]:
    """The bounded protocol without uvicorn's log line for invalid requests, which names neither the client nor the problem."""
    mismatches = ProtocolMismatches("diagnostics")
    logging.getLogger("uvicorn.error").addFilter(_says_something)
    connections: dict[GuardedProtocol, float] = {}
    """And when they were made."""

    class Protocol(GuardedProtocol):
        ends_unread: ClassVar[bool] = not is_patient
        times_body: ClassVar[bool] = True
        _begin = b""
        """The first bytes received, as long as nothing else was received."""
        _asked = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            now = self.loop.time()
            if len(connections) >= MAX_CONNECTIONS:
                idle = (each for each, since in connections.items() if each.is_idle and now - since >= NEW_SECONDS)
                oldest = next(idle, next(iter(connections)))
                del connections[oldest]
                oldest.transport.abort()
            connections[self] = now

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(self, None)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._begin, self._asked = b"" if self._asked else data, True
            super().data_received(data)

        def send_400_response(self, msg: str) -> None:
            mismatches.note(self._begin, self.transport)
            super().send_400_response(msg)

    return Protocol


def _says_something(record: logging.LogRecord) -> bool:
    return record.msg != "Invalid HTTP request received."


def quiet_configuration(app: Starlette, *, is_patient: bool = False) -> uvicorn.Config:
    """`is_patient` leaves a client that does not read its answer alone: a person may be looking at a page of it."""
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http=_protocol(is_patient=is_patient),
        ws="none",
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_GRACE_SECONDS,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )


def _application(
    not_ready: Callable[[], str | None], metrics: Callable[[], Iterator[str]], pages: Pages, names: frozenset[str]
) -> Starlette:
    described = {path: page if isinstance(page, Page) else Page(page) for path, page in pages.items()}
    return _Application(not_ready, metrics, described, names).starlette


class _Application:
    """What answers requests."""

    def __init__(
        self,
        not_ready: Callable[[], str | None],
        metrics: Callable[[], Iterator[str]],
        pages: Mapping[str, Page],
        names: frozenset[str],
    ) -> None:
        self._not_ready = not_ready
        self._metrics = metrics
        self._pages = pages
        self._process = _process()
        # One document at a time, and one step of it per turn of the event loop, however many clients ask.
        self._one_at_a_time = asyncio.Lock()
        fixed = {
            "/": self._index,
            "/readyz": self._readyz,
            "/metrics": self._show_metrics,
        }
        asked_well = partial(_asked_well, names)
        routes = [Route("/livez", self._livez), *(Route(path, asked_well(answer)) for path, answer in fixed.items())]
        routes.append(Route("/logging", asked_well(self._logging), methods=["GET", "POST"]))
        routes += [Route(path, asked_well(self._answer(page))) for path, page in pages.items()]
        self.starlette = Starlette(routes=routes)

    async def _livez(self, request: Request) -> Response:
        return JSONResponse({"live": True}) if form_of(request, usual=TEXT) == JSON else PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        reason = self._not_ready()
        status = 200 if reason is None else 503
        if form_of(request, usual=TEXT) == JSON:
            return JSONResponse({"ready": reason is None, "reason": reason}, status)
        return PlainTextResponse("ok\n" if reason is None else f"{reason}\n", status)

    async def _show_metrics(self, request: Request) -> Response:
        form = form_of(request, usual=TEXT, browsers=TEXT)
        async with self._one_at_a_time:
            # On a thread: counting the process's open files takes long when there are a hundred thousand.
            begin = await asyncio.to_thread(generate_latest, self._process)
            if form == JSON:
                return _json(await joined(json_parts(Pairs(_series([begin.decode()], self._metrics())))))
            body = begin + await joined(part.encode() for part in self._metrics())
        return Response(body, headers={"content-type": CONTENT_TYPE_LATEST})

    def _answer(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            form, most = form_of(request), limit_of(request, page)
            async with self._one_at_a_time:
                value = page.show() if most is None else page.show(most)
                return await _document(value, form)

        return answer

    async def _logging(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                await change_level(request)
            except Refused as refused:
                return PlainTextResponse(f"{refused}\n", refused.status)
        return await _document(levels(), form_of(request))

    async def _index(self, request: Request) -> Response:
        listed = {**_FIXED_PAGES, **{path: page.about for path, page in self._pages.items()}}
        if form_of(request, usual=TEXT) == JSON:
            return JSONResponse(listed)
        if "text/html" in request.headers.get("accept", "") and "format" not in request.query_params:
            return HTMLResponse(index_page(listed), headers={"content-security-policy": POLICY})
        return PlainTextResponse(index_text(listed))


def _asked_well(
    names: frozenset[str], answer: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Answers a query that means nothing with 400, and one to somebody else with 421."""

    async def checked(request: Request) -> Response:
        if not is_own(request.headers.get("host", ""), names):
            return PlainTextResponse(_NOT_OURS, 421)
        try:
            return await answer(request)
        except BadQuery as error:
            return PlainTextResponse(f"{error}\n", 400)

    return checked


async def _document(value: Any, form: str) -> Response:
    if form == JSON:
        return _json(await joined(json_parts(value)))
    return PlainTextResponse(await joined(text_parts(value)), headers={"x-content-type-options": "nosniff"})


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"x-content-type-options": "nosniff"})


def _series(*documents: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Name with labels, and value, of each series in Prometheus' text format."""
    for document in documents:
        for part in document:
            for line in part.splitlines():
                if line and not line.startswith("#"):
                    name, _, value = line.rpartition(" ")
                    number = float(value)
                    yield name, number if math.isfinite(number) else value


def _process() -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
