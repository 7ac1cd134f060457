"""The Admin API as a part of the controller: its port, its certificates, its start and end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from controller.admin import openapi
from controller.admin.apps import Apps
from controller.admin.busy import BusyCalls
from controller.admin.busy import router as busy_router
from controller.admin.busystore import BusyStore
from controller.admin.cluster import Cluster
from controller.admin.context import Context, Sight
from controller.admin.demand import Demands
from controller.admin.documents import Fault
from controller.admin.journal import Journal
from controller.admin.kedahttp import kedahttp_router
from controller.admin.listener import MAX_CONNECTIONS, AdminProtocol
from controller.admin.locks import Locks
from controller.admin.ports import Ports
from controller.admin.ports_calls import ports_router
from controller.admin.ports_compatibility import old_ports_router
from controller.admin.previews.calls import previews_router
from controller.admin.previews.previews import Previews
from controller.admin.problems import PROBLEM_JSON, Refused, of_api_error
from controller.admin.recovery import Recovery
from controller.admin.releases.compatibility import old_router
from controller.admin.releases.part import ReleasesPart
from controller.admin.releases.routes import releases_router
from controller.admin.routes import router
from controller.admin.running import running_router
from controller.admin.tls import Certificates
from controller.admin.wakes import Wakes
from controller.crds import HTTP_SCALED_OBJECTS
from controller.interceptors import InterceptorSource
from controller.portleases.part import PortSystem
from controller.resources import Key
from controller.settings import ControllerSettings
from controller.world import World
from fleet.defaults import BUSY_LEASES
from fleet.discovery.busy import BusySource
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.diagnostics import BACKLOG, QuietServer
from fleet.runtime.listen import bound
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["AdminServer", "application"]

STOP_GRACE_SECONDS = 2
"""Seconds to finish answers at the end. A change goes on by itself, and is undone by the next controller if it is cut off."""


_ROUTERS = (router, running_router, busy_router, releases_router, ports_router, previews_router)
_OLD_ROUTERS = (kedahttp_router, old_router, old_ports_router)


class AdminServer:
    """`namespace` is Weir's own, where the journal is."""

    def __init__(
        self,
        settings: ControllerSettings,
        api: Api,
        world: World,
        interceptors: InterceptorSource,
        channels: ChannelFactory,
        *,
        leases: BusySource,
        namespace: str,
        on_wake: Callable[[str], None] = lambda app: None,
        ports: PortSystem | None = None,
    ) -> None:
        """Raises StartError for certificates that cannot be used."""
        cluster, journal, locks = Cluster(api), Journal(api, namespace, settings.controller_name), Locks()
        self._recovery = Recovery(cluster, journal, locks, world.objects)
        self._apps = Apps(
            api,
            cluster,
            journal,
            self._recovery,
            locks=locks,
            is_scaled=lambda app: world.scaled_object(app) is not None,
        )
        self._demands = Demands(interceptors, channels, leases)
        self._wakes = Wakes(api, settings.watched, Timing(resync=settings.resync), on_wake=on_wake)
        self.last_wake = self._wakes.last
        sight = Sight(
            resource=lambda app: world.get(Key(HTTP_SCALED_OBJECTS.kind, *app.split("/", 1))),
            demand=self._demands.of,
            last_wake=self._wakes.last,
        )
        self._context = context = Context(
            api,
            self._apps,
            sight,
            audiences=settings.audiences,
            namespaces=settings.watched,
            domain=settings.admin_domain,
            url=settings.admin_url,
            rate=settings.admin_rate,
            kedahttp_namespace=settings.admin_kedahttp_namespace,
        )
        self._busy = BusyStore(api, namespace, BUSY_LEASES)
        self._host = settings.host
        self.port = settings.admin_port
        self._certificates = Certificates(settings.admin_tls) if settings.admin_tls is not None else None
        self._releases = ReleasesPart(settings, api, namespace=namespace, streams=context.streams)
        busy = BusyCalls(api, world, self._busy, rates=context.rates, clock=context.clock)
        previews = Previews(api, world, is_on=settings.previews, url=settings.admin_url)
        self._app = application(context, busy, self._releases, ports=Ports(api, ports), previews=previews)
        self._app.state.api = api
        self._server: QuietServer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen, and undo what was cut off. Raises StartError."""
        await self._releases.start()
        listener = bound(self._host, self.port, "the Admin API")
        listener.listen(BACKLOG)
        self.port = listener.getsockname()[1]
        self._wakes.start()
        self._server = QuietServer(_configuration(self._app, self._certificates.context if self._certificates else None))
        self._tasks = [
            asyncio.create_task(self._server.serve(sockets=[listener]), name=f"admin:{self.port}"),
            asyncio.create_task(self._recovery.run(), name="admin:recovery"),
        ]
        self._tasks += self._releases.tasks
        if self._certificates is not None:
            self._tasks.append(asyncio.create_task(self._certificates.follow(), name="admin:certificates"))

    async def stop(self) -> None:
        """Finish answers and changes, for a while, and stop listening."""
        server, self._server = self._server, None
        tasks, self._tasks = self._tasks, []
        if server is not None:
            await self._context.streams.close()
            server.end()
            await tasks[0]
            await self._wakes.close()
        await self._demands.close()
        await self._apps.close()
        await self._busy.close()
        await self._releases.stop()
        await cancel_and_wait(*tasks)

    async def ended(self) -> None:
        """Wait until a part fails by itself, and raise the cause."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def application(context: Context, busy: BusyCalls, releases: ReleasesPart, *, ports: Ports, previews: Previews) -> FastAPI:
    """The routes, and what they answer when something is wrong."""
    # Without the pages that load scripts from elsewhere; the document itself is at /openapi.json, for everybody.
    app = FastAPI(
        title="Weir Admin API",
        version="1",
        description="Applications from one call: asleep until their first request, gone with one more.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context, app.state.busy, app.state.releases = context, busy, releases
    app.state.ports, app.state.previews = ports, previews
    old = (
        *((kedahttp_router,) if context.kedahttp_namespace else ()),
        *((old_router,) if releases.old_namespace else ()),
        *((old_ports_router,) if releases.old_namespace and ports.is_on else ()),
    )
    for part in (*_ROUTERS, *old):
        app.include_router(part)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


def _configuration(app: FastAPI, context: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http=AdminProtocol,
        ws="none",
        backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=STOP_GRACE_SECONDS,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ssl_context_factory=(lambda config, default: context) if context is not None else None,
    )


def _answer(refused: Refused) -> Response:
    content = refused.problem.model_dump(mode="json", exclude_none=True)
    return JSONResponse(content, refused.status, media_type=PROBLEM_JSON, headers=refused.headers)


async def _on_refused(request: Request, error: Exception) -> Response:
    return _answer(error if isinstance(error, Refused) else Refused(500, "internal", "see the controller's log"))


async def _on_api_error(request: Request, error: Exception) -> Response:
    return _answer(of_api_error(error) if isinstance(error, ApiError) else Refused(500, "internal", "see the controller's log"))


async def _on_parameters(request: Request, error: Exception) -> Response:
    found: list[Any] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    faults = [Fault(detail=str(one["msg"]), parameter=str(one["loc"][-1])) for one in found]
    return _answer(Refused(422, "invalid-parameter", "a parameter is wrong", errors=faults))


async def _on_http(request: Request, error: Exception) -> Response:
    """Paths and methods that there are not."""
    if not isinstance(error, HTTPException):
        return await _on_refused(request, error)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # Starlette names the methods of the first route of this path only.
        found = (route for part in (*_ROUTERS, *_OLD_ROUTERS) for route in part.routes)
        routes = [route for route in found if isinstance(route, APIRoute) and route.path_regex.match(request.url.path)]
        headers["Allow"] = ", ".join(sorted({method for route in routes for method in route.methods or ()}))
    return _answer(Refused(error.status_code, "no-such-call", str(error.detail), headers=headers))


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Any]] = {
    Refused: _on_refused,
    ApiError: _on_api_error,
    RequestValidationError: _on_parameters,
    HTTPException: _on_http,
    Exception: _on_refused,
}
