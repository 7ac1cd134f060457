"""The HTTP server of a running `weir up`, used by `weir ps`, `logs`, `wake`, `sleep`, `restart` and `weir app`.

Listens on the loopback address. Any web page may make a browser send requests to it, so every request must be a POST with this
host in Host, no foreign Origin, and the secret that only this user can read.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from controller.schema.ports import LEASE_NAME, MAX_LEASE_NAME
from fleet.defaults import LOG_LINES
from fleet.routing.port import TRANSPORTS
from fleet.runtime.address import LOOPBACK, join_address
from fleet.runtime.diagnostics import QuietServer, quiet_configuration
from fleet.runtime.listen import bound
from weir.engine.busy import BusyDesk, BusyRefused
from weir.engine.leases import LocalLease, LocalLeases
from weir.engine.logbook import Line, LogBook
from weir.engine.ports import NoPortError

__all__ = ["Controls", "Page", "Refused"]

BACKLOG = 16
MAX_BODY_BYTES = 64 * 1024
_LEASE = re.compile(LEASE_NAME)


class Refused(Exception):
    """The request is not carried out; the message says why."""


class Controls(Protocol):
    """What the page shows and controls: the engine."""

    async def overview(self) -> list[dict[str, Any]]:
        """Every app, as `weir ps -o json` prints it."""

    async def views(self) -> list[dict[str, Any]]:
        """Every app, as `weir app` shows it, in the words of the Admin API."""

    async def progress(self) -> dict[str, Any]:
        """Which version of the file is in force, and how far that is."""

    def find(self, name: str) -> str:
        """ "namespace/name" of an app given as NAME or NAMESPACE/NAME. Raises Refused."""

    async def act(self, verb: str, key: str) -> str:
        """Wake, sleep or restart an app; returns a description of what was done. Raises Refused."""


class Page:
    """The server. Listens from `start` to `stop`."""

    def __init__(
        self,
        controls: Controls,
        book: LogBook,
        token: str,
        *,
        busy: BusyDesk | None = None,
        leases: LocalLeases | None = None,
    ) -> None:
        """`busy` takes the calls of apps that keep themselves awake, each with a token of its own."""
        self._leases = leases or LocalLeases("")
        self._controls, self._book, self._token = controls, book, token
        self._busy = busy or BusyDesk()
        self._port = 0
        self._ending = asyncio.Event()
        self._server: QuietServer | None = None
        self._task: asyncio.Task[None] | None = None
        acting = [Route(f"/{verb}", self._guarded(self._acting(verb)), methods=["POST"]) for verb in ("wake", "sleep", "restart")]
        asking = [
            Route("/ps", self._guarded(self._ps), methods=["POST"]),
            Route("/apps", self._guarded(self._views), methods=["POST"]),
            Route("/file", self._guarded(self._file), methods=["POST"]),
            Route("/ports", self._guarded(self._ports), methods=["POST"]),
            Route("/logs", self._guarded(self._logs), methods=["POST"]),
        ]
        self._app = Starlette(routes=[*asking, *acting, Route("/busy", self._keep_busy, methods=["POST"])])

    async def start(self, port: int) -> str:
        """Listen on the port (0: any free one) and return the URL. Raises StartError."""
        listener: socket.socket = bound(LOOPBACK, port, "weir ps and its like")
        listener.listen(BACKLOG)
        self._port = listener.getsockname()[1]
        self._server = server = QuietServer(
            quiet_configuration(self._app, is_patient=True)
        )  # of logs that are followed, in a pager
        self._task = asyncio.create_task(server.serve(sockets=[listener]), name=f"page:{self._port}")
        return f"http://{join_address(LOOPBACK, self._port)}"

    async def stop(self) -> None:
        self._ending.set()
        server, self._server = self._server, None
        if server is not None and self._task is not None:
            server.end()
            await self._task

    def _guarded(self, answer: Callable[[dict[str, Any]], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            fault = self._fault(request)
            if fault is not None:
                return _no(403, fault)
            try:
                return await answer(await _body(request))
            except Refused as error:
                return _no(409, str(error))

        return guarded

    def _fault(self, request: Request) -> str | None:
        """Why the request must be refused, or None."""
        if (foreign := self._foreign(request)) is not None:
            return foreign
        if not hmac.compare_digest(_token_of(request).encode(errors="replace"), self._token.encode()):
            return "the secret is missing, or another one"
        return None

    def _foreign(self, request: Request) -> str | None:
        """Why the request may be one that a web page has made a browser send, or None."""
        hosts = {join_address(name, self._port) for name in (LOOPBACK, "localhost")}
        if request.headers.get("host") not in hosts:
            return "the host is not this one"  # protects against DNS rebinding: a foreign name that resolves to this address
        origin = request.headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            return "the origin is another one"
        return None

    async def _keep_busy(self, request: Request) -> Response:
        if (foreign := self._foreign(request)) is not None:
            return _no(403, foreign)
        try:
            kept = self._busy.keep(_token_of(request), (await _body(request)).get("duration"))
        except Refused as error:
            return _no(422, str(error))
        except BusyRefused as error:
            return _no(error.status, str(error))
        return JSONResponse({"app": kept.app, "seconds": kept.seconds, "until": kept.end})

    async def _ps(self, _: dict[str, Any]) -> Response:
        return JSONResponse({"apps": await self._controls.overview()})

    async def _views(self, _: dict[str, Any]) -> Response:
        return JSONResponse({"apps": await self._controls.views()})

    async def _file(self, _: dict[str, Any]) -> Response:
        return JSONResponse(await self._controls.progress())

    async def _ports(self, body: dict[str, Any]) -> Response:
        """Lists leases, or makes or releases one."""
        try:
            return JSONResponse(await asyncio.to_thread(_leased, self._leases, body))
        except NoPortError as error:
            raise Refused(str(error)) from error

    def _acting(self, verb: str) -> Callable[[dict[str, Any]], Awaitable[Response]]:
        async def act(body: dict[str, Any]) -> Response:
            return JSONResponse({"told": await self._controls.act(verb, self._controls.find(_name(body)))})

        return act

    async def _logs(self, body: dict[str, Any]) -> Response:
        name = self._controls.find(_name(body)).partition("/")[2]
        count = body.get("lines", LOG_LINES)
        if not isinstance(count, int) or count < 0:
            raise Refused("lines should be a number from 0 up")
        return StreamingResponse(self._lines(name, count, follow=bool(body.get("follow"))), media_type="application/x-ndjson")

    async def _lines(self, name: str, count: int, *, follow: bool) -> AsyncIterator[str]:
        with self._book.listening(name) as queue:
            for line in self._book.last(name, count):
                yield _encoded(line)
            while follow and (fresh := await self._next(queue)) is not None:
                yield _encoded(fresh)

    async def _next(self, queue: asyncio.Queue[Line]) -> Line | None:
        """The next line, or None when the page is closed."""
        taking = asyncio.create_task(queue.get(), name="next line")
        ending = asyncio.create_task(self._ending.wait(), name="end of the page")
        try:
            await asyncio.wait([taking, ending], return_when=asyncio.FIRST_COMPLETED)
            return taking.result() if taking.done() else None
        finally:
            taking.cancel()
            ending.cancel()
            await asyncio.wait([taking, ending])


def _leased(leases: LocalLeases, body: dict[str, Any]) -> dict[str, Any]:
    """Raises Refused and NoPortError."""
    action, namespace, name, protocol = (body.get(field) for field in ("action", "namespace", "name", "protocol"))
    if action == "list":
        return {"items": [_lease(lease, app) for lease, app in leases.every()]}
    if not isinstance(namespace, str) or not isinstance(name, str) or len(name) > MAX_LEASE_NAME or not _LEASE.fullmatch(name):
        raise Refused(f"name should be at most {MAX_LEASE_NAME} of a-z, 0-9 and -, with no - at its ends")
    if action == "release":
        leases.release(namespace, name)
        return {}
    if protocol not in TRANSPORTS:
        raise Refused("protocol should be TCP or UDP")
    lease, created = leases.reserve(namespace, name, protocol)
    return {**_lease(lease, ""), "created": created}


def _lease(lease: LocalLease, app: str) -> dict[str, Any]:
    """In the words of the Admin API."""
    return {"id": lease.id, **asdict(lease), "app": app or None}


def _token_of(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _encoded(line: tuple[str, str]) -> str:
    return json.dumps({"speaker": line[0], "line": line[1]}) + "\n"


def _no(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise Refused("the request is too large")
    try:
        body = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refused("the request is not JSON") from error
    if not isinstance(body, dict):
        raise Refused("the request is not an object")
    return body


def _name(body: dict[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str):
        raise Refused("no app is named")
    return name
