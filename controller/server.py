"""The controller as a whole: watches, leader election, diagnostics; their start and end.

The composition root of the package; makes no decisions of its own. A controller that does not lead watches all the same, so that
it can take over at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from controller.events import EventRecorder
from controller.interceptors import InterceptorSource, ListedInterceptors, ServiceInterceptors
from controller.leader import Leader
from controller.portleases.part import open_ports
from controller.preview.desk import PreviewDesk
from controller.preview.releasing import Releaser
from controller.settings import ControllerSettings
from controller.store import ConfigMapStore, FileStore, TableStore
from controller.suggestions import Suggestions
from controller.telemetry import metrics, pages
from controller.term import Term, TermDependencies
from controller.wakes import Wakes
from controller.wiring import Scaler
from controller.world import World
from fleet.defaults import BUSY_LEASES
from fleet.discovery.busy import BusySource, ConfigMapBusy, NoBusy
from fleet.discovery.kubernetes.client import Api, check_credentials, open_api
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.discovery.sources import SourceError
from fleet.discovery.uri import open_members
from fleet.events.events import open_events
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.diagnostics import Diagnostics
from fleet.runtime.life import Component, Step
from fleet.runtime.process import StartError
from fleet.runtime.tasks import cancel_and_wait

if TYPE_CHECKING:
    from controller.admin.server import AdminServer

__all__ = ["Controller"]

DEFAULT_LEASE = "weir-controller"

_log = logging.getLogger(__name__)


class Controller(Component):
    """One controller. Create it within a running loop. `api` replaces the credentials of the pod or of KUBECONFIG."""

    def __init__(self, settings: ControllerSettings, *, api: Api | None = None) -> None:
        """Raises StartError for invalid settings."""
        super().__init__()
        if api is None:
            _check_credentials()
        self._settings = settings
        self._api = open_api() if api is None else api
        self._term: Term | None = None
        timing = Timing(resync=settings.resync)
        self._world = World(
            self._api,
            settings.watched,
            timing=timing,
            on_object=lambda key: self._term.on_object(key) if self._term else None,
            on_routes=self._on_routes,
        )
        self._store = _store(self._api, settings.routes, timing)
        self._store.subscribe(self._on_routes)
        self._interceptors = _interceptors(self._api, settings.members, timing)
        self._interceptors.subscribe(lambda: self._term.on_interceptors() if self._term else None)
        self._ports = open_ports(settings, self._api, self._world, _lease(settings)[0], timing) if settings.ports else None
        self._channels = ChannelFactory(settings.member_tls, server_name=settings.member_tls_name or None)
        self._events = open_events(settings)
        self._leader = self._election() if settings.leader_elect else None
        self._diagnostics = Diagnostics(
            settings.host,
            settings.diagnostics_port,
            not_ready=self._not_ready,
            metrics=metrics(lambda: self._term, self._events),
            pages=pages(lambda: self._term),
            names=settings.diagnostics_hosts,
        )
        self._leases = self._busy_leases(timing) if settings.admin else NoBusy()
        self._admin = self._new_admin() if settings.admin else None
        self._task: asyncio.Task[None] | None = None

    @property
    def admin_port(self) -> int:
        """The Admin API's port; 0 without one."""
        return self._admin.port if self._admin is not None else 0

    @property
    def diagnostics_port(self) -> int:
        return self._diagnostics.port

    @property
    def leads(self) -> bool:
        return self._term is not None

    def _steps(self) -> Sequence[Step]:
        """Start to watch, then lead when no other controller does; at the end the lease is released first."""
        return (
            Step("API", close=self._api.close),
            Step("diagnostics", self._diagnostics.start, self._diagnostics.stop),
            Step("channels", self._channels.start, self._channels.close),
            Step("world", self._world.start, self._world.close),
            Step("table", self._store.start, self._store.close),
            Step("interceptors", self._interceptors.start, self._interceptors.close),
            *([Step("ports", self._ports.source.start, self._ports.source.close)] if self._ports is not None else []),
            Step("events", self._events.start, self._events.close),
            Step("busy leases", self._leases.start, self._leases.close),
            *([Step("Admin API", self._admin.start, self._admin.stop)] if self._admin is not None else []),
            Step("leader", self._start_to_lead, self._lead_no_more),
        )

    async def ended(self) -> None:
        """Wait until the controller fails by itself, and raise the cause."""
        if self._task is None:
            return
        own = [asyncio.create_task(self._admin.ended(), name="admin:ended")] if self._admin is not None else []
        try:
            done, _ = await asyncio.wait((self._task, *own), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancel_and_wait(*own)

    def _start_to_lead(self) -> None:
        self._task = asyncio.create_task(self._leader.run() if self._leader else self._lead(), name="leader")
        _log.info("diagnostics on port %d", self.diagnostics_port)

    async def _lead_no_more(self) -> None:
        """Stop leading, and release the lease."""
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def _lead(self) -> None:
        settings = self._settings
        term = Term(
            TermDependencies(
                self._api,
                self._world,
                self._store,
                self._interceptors,
                self._channels,
                Scaler(settings.scaler_address, settings.trigger_authentication, settings.aliases),
                settings.controller_name,
                settings.workers,
                settings.verify_timeout,
                settings.resync,
                leads=self._leads,
                leases=self._leases,
                wakes=self._wakes,
                last_wake=self._admin.last_wake if self._admin is not None else lambda app: None,
                ports=self._ports,
                max_ports=settings.max_ports,
                port_quota=settings.port_quota,
                previews=self._previews,
            )
        )
        self._term = term
        try:
            await term.run()
        finally:
            self._term = None

    def _busy_leases(self, timing: Timing) -> BusySource:
        namespace, _ = _lease(self._settings)
        return ConfigMapBusy(self._api, namespace, BUSY_LEASES, resync=timing.resync)

    def _wakes(self, suggestions: Suggestions) -> Wakes:
        """For a term."""
        timing, publish = Timing(resync=self._settings.resync), self._events.publish if self._events.wanted else None
        return Wakes(self._api, self._settings.watched, self._world, suggestions, publish=publish, timing=timing)

    def _previews(self, recorder: EventRecorder) -> PreviewDesk | Releaser:
        """For a term."""
        if not self._settings.previews:
            return Releaser(self._api, self._settings.watched, recorder, leads=self._leads)
        timing = Timing(resync=self._settings.resync)
        return PreviewDesk(
            self._api,
            self._settings.watched,
            self._world,
            recorder,
            timing=timing,
            leads=self._leads,
            why_not_elsewhere=self._settings.why_not_elsewhere,
        )

    def _leads(self) -> bool:
        return self._leader is None or self._leader.leads

    def _election(self) -> Leader:
        namespace, name = _lease(self._settings)
        return Leader(
            self._api,
            namespace,
            name,
            identity=self._settings.controller_name,
            duration=self._settings.lease_duration,
            lead=self._lead,
        )

    def _new_admin(self) -> AdminServer:
        from controller.admin.server import AdminServer  # noqa: PLC0415  # what it imports costs memory, and most have no Admin API

        namespace, _ = _lease(self._settings)
        return AdminServer(
            self._settings,
            self._api,
            self._world,
            self._interceptors,
            self._channels,
            leases=self._leases,
            namespace=namespace,
            on_wake=lambda app: self._term.on_wake(app) if self._term else None,
            ports=self._ports,
        )

    def _on_routes(self) -> None:
        if self._term is not None:
            self._term.on_routes()

    def _not_ready(self) -> str | None:
        """A controller that does not lead is ready: it can take over."""
        if self._task is None:
            return "not started"
        if self._world.unread:
            return f"not read yet: {', '.join(self._world.unread)}"
        return None


def _check_credentials() -> None:
    try:
        check_credentials()
    except SourceError as error:
        raise StartError(str(error)) from error


def _store(api: Api, uri: str, timing: Timing) -> TableStore:
    if uri.startswith("file:") and len(uri) > len("file:"):
        return FileStore(uri.removeprefix("file:"))
    namespace, name = _named(uri.removeprefix("configmap:"))
    if not uri.startswith("configmap:") or not name:
        raise StartError(f'routes: {uri!r} is neither "configmap:NAMESPACE/NAME" nor "file:PATH"')
    return ConfigMapStore(api, namespace, name, timing=timing)


def _interceptors(api: Api, uri: str, timing: Timing) -> InterceptorSource:
    if not uri.startswith("service:"):
        try:
            return ListedInterceptors(open_members(uri))
        except SourceError as error:
            raise StartError(str(error)) from error
    place, _, port = uri.removeprefix("service:").rpartition(":")
    namespace, name = _named(place)
    if not name or not port:
        raise StartError(f'members: {uri!r} is not "service:NAMESPACE/NAME:PORTNAME"')
    return ServiceInterceptors(api, namespace, name, port, timing=timing)


def _lease(settings: ControllerSettings) -> tuple[str, str]:
    if settings.lease:
        namespace, name = _named(settings.lease)
    else:
        namespace, name = _named(settings.routes.removeprefix("configmap:"))[0], DEFAULT_LEASE
    if not namespace or not name or (settings.lease == "" and not settings.routes.startswith("configmap:")):
        raise StartError(
            'lease: "NAMESPACE/NAME" is needed, for there is no ConfigMap of the routing table beside which it could be'
        )
    return namespace, name


def _named(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    return (namespace, name) if slash and namespace and name and "/" not in name else ("", "")
