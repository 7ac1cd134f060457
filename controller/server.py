"""The controller as a whole: what it watches, who leads, diagnostics; their start and end.

The only place of the package where the parts meet; decides nothing that they decide. A controller that does not lead
watches all the same, so that it can take over at once.
"""

from __future__ import annotations

import asyncio
import logging

from controller.interceptors import InterceptorSource, ListedInterceptors, ServiceInterceptors
from controller.leader import Leader
from controller.settings import ControllerSettings
from controller.store import ConfigMapStore, FileStore, TableStore
from controller.telemetry import metrics, pages
from controller.term import Means, Term
from controller.wiring import Scaler
from controller.world import World
from fleet.discovery.kubernetes.client import Api, check_credentials, open_api
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.discovery.sources import SourceError
from fleet.discovery.uri import open_members
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.diagnostics import Diagnostics
from fleet.runtime.logs import configure_logging
from fleet.runtime.process import Shutdown, StartError
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Controller", "run"]

DEFAULT_LEASE = "weir-controller"

_log = logging.getLogger(__name__)


class Controller:
    """One controller. Make it within a running loop. `api` replaces the credentials of the pod or of KUBECONFIG."""

    def __init__(self, settings: ControllerSettings, *, api: Api | None = None) -> None:
        """Raises StartError for settings that make no sense."""
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
        self._channels = ChannelFactory(settings.member_tls, server_name=settings.member_tls_name or None)
        self._leader = self._election() if settings.leader_elect else None
        self._diagnostics = Diagnostics(
            settings.host,
            settings.diagnostics_port,
            not_ready=self._not_ready,
            metrics=metrics(lambda: self._term),
            pages=pages(lambda: self._term),
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def diagnostics_port(self) -> int:
        return self._diagnostics.port

    @property
    def leads(self) -> bool:
        return self._term is not None

    async def start(self) -> None:
        """Watch, and lead as soon as nobody else does. Raises StartError, with nothing left running."""
        try:
            await self._diagnostics.start()
            await self._channels.start()
            self._world.start()
            await self._store.start()
            await self._interceptors.start()
        except BaseException:
            await self.close()
            raise
        self._task = asyncio.create_task(self._leader.run() if self._leader else self._lead(), name="leader")
        _log.info("diagnostics on port %d", self.diagnostics_port)

    async def ended(self) -> None:
        """Wait for the end that nobody asked for, and raise what caused it."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def close(self) -> None:
        """Finish, give the lease back, and stop."""
        task, self._task = self._task, None
        await cancel_and_wait(task)
        await self._interceptors.close()
        await self._store.close()
        await self._world.close()
        await self._channels.close()
        await self._diagnostics.stop()
        await self._api.close()

    async def _lead(self) -> None:
        settings = self._settings
        term = Term(
            Means(
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
                leads=lambda: self._leader is None or self._leader.leads,
            )
        )
        self._term = term
        try:
            await term.run()
        finally:
            self._term = None

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

    def _on_routes(self) -> None:
        if self._term is not None:
            self._term.on_routes()

    def _not_ready(self) -> str | None:
        """One that does not lead is ready: it is there to take over."""
        if self._task is None:
            return "not started"
        if self._world.unread:
            return f"not read yet: {', '.join(self._world.unread)}"
        return None


async def run(settings: ControllerSettings) -> None:
    """A controller until SIGTERM or SIGINT. Raises StartError."""
    configure_logging(settings.log_level, settings.log_json)
    with Shutdown() as shutdown:
        controller = Controller(settings)
        await controller.start()
        told = asyncio.create_task(shutdown.wait(), name="shutdown")
        ended = asyncio.create_task(controller.ended(), name="ended")
        try:
            await asyncio.wait((told, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
        finally:
            await cancel_and_wait(told, ended)
            await controller.close()


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
