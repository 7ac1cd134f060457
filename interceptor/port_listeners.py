"""The listeners of the ports that routes name, for connections and for flows: they come and go with the routing table.

A port that stays in the table stays open, whatever else changes. One that cannot be bound is tried again, and named in the log
and on the page /listeners.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from fleet.routing.port import TCP, UDP
from fleet.routing.port_index import PortKey, PortRoutes
from fleet.routing.table import RoutingTable
from fleet.runtime.process import StartError
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.tls import TlsError
from interceptor.listener import Listener
from interceptor.pages import ListenerRow
from interceptor.proxy import Proxy
from interceptor.proxy_protocol.reception import HeaderConnection, Reception, hand_over
from interceptor.settings import InterceptorSettings
from interceptor.tcp.client import StreamClient
from interceptor.tcp.over_tls import NO_CERTIFICATE, Termination
from interceptor.tls_listener import TlsListener, certificates
from interceptor.trust import TrustedProxies
from interceptor.udp.listener import FlowListener, FlowListeners

__all__ = ["PortListeners"]

RETRY_SECONDS: Final = 5.0
"""Seconds between attempts to bind a port that could not be bound."""

logger = logging.getLogger(__name__)


class _Site:
    """One port."""

    def __init__(self, ports: PortListeners, key: PortKey, routes: PortRoutes) -> None:
        self._ports = ports
        self.key = key
        self.routes = routes
        self.listener: Listener | FlowListener | None = None
        self.failure = ""
        """Why it is not bound."""

    @property
    def terminates(self) -> bool:
        """Whether TLS ends here for one of its applications."""
        return any(owner.port.terminates for owner in self.routes)

    @property
    def termination(self) -> Termination | None:
        return self._ports.termination

    @property
    def trouble(self) -> str:
        """Why it does not serve all of its applications."""
        return self.failure or (self._ports.no_tls if self.terminates else "")


class PortListeners:
    """All ports of the table."""

    def __init__(
        self, proxy: Proxy, settings: InterceptorSettings, clock: Callable[[], float], tls: TlsListener | None = None
    ) -> None:
        """`tls` is the port for TLS, if there is one: its handshakes and certificates are those of all ports."""
        self._proxy = proxy
        self._settings = settings
        self._clock = clock
        self._tls = tls
        self.termination: Termination | None = None
        """Once a port of the table needs it."""
        self.no_tls = ""
        """Why there is none, although one needs it."""
        balancers = TrustedProxies.parse(settings.proxy_protocol)
        self._reception = Reception(proxy, balancers) if balancers else None
        self._datagrams = FlowListeners(proxy, settings.host)
        self._sites: dict[PortKey, _Site] = {}
        self._gone: list[_Site] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def set_table(self, table: RoutingTable) -> None:
        """Follow another table; the proxy has its applications already."""
        wanted = table.ports if self._settings.app_ports else {}
        for key in [key for key in self._sites if key not in wanted]:
            site = self._sites.pop(key)
            site.routes = PortRoutes()
            self._gone.append(site)
        for key, routes in wanted.items():
            site = self._sites.setdefault(key, _Site(self, key, routes))
            site.routes = routes
        self._changed.set()

    def unbound(self) -> Iterator[tuple[PortKey, str]]:
        """The ports that do not serve, and why: mostly because they could not be bound."""
        for key, site in self._sites.items():
            if trouble := site.trouble:
                yield key, trouble

    def port_of(self, key: PortKey) -> int | None:
        """The bound port; None while it is not bound."""
        site = self._sites.get(key)
        return None if site is None or site.listener is None else site.listener.port

    async def start(self) -> None:
        """Bind what there is to bind, and follow the table from now on. What cannot be bound is no error of the start."""
        await self._bind()
        self._task = asyncio.create_task(self._follow(), name="ports")

    async def stop_accepting(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)
        for site in (*self._gone, *self._sites.values()):
            await _close(site)
        self._gone.clear()
        if self.termination is not None:
            await self.termination.close()  # handshakes that have begun keep what they need

    def lost(self) -> int:
        """Datagrams that the kernel has dropped."""
        return self._datagrams.lost

    def close(self) -> None:
        """All connections and flows have ended."""
        self._datagrams.close()

    def pause(self) -> None:
        for site in self._sites.values():
            if site.listener is not None:
                site.listener.pause()

    def resume(self) -> None:
        for site in self._sites.values():
            if site.listener is not None:
                site.listener.resume()

    def rows(self) -> Iterator[ListenerRow]:
        for key, site in list(self._sites.items()):
            full = key.protocol == TCP and self._proxy.full
            accepts = site.listener is not None and site.listener.started and not full
            apps = ", ".join(dict.fromkeys(owner.app for owner in site.routes))
            yield ListenerRow(
                f"{'connections' if key.protocol == TCP else 'flows'} of {apps}",
                self._settings.host,
                key.port,
                key.protocol,
                accepts=accepts,
                failure=site.trouble,
                tls=site.terminates,
                connections=len(site.listener) if isinstance(site.listener, FlowListener) else None,
                most_connections=self._proxy.flows.most if key.protocol == UDP else None,
                proxy_protocol=self._settings.proxy_protocol if key.protocol == TCP else None,
                dropped=self._dropped(site) if key.protocol == UDP else None,
            )

    def _dropped(self, site: _Site) -> dict[str, int]:
        found: Counter[str] = Counter()
        for app in {owner.app for owner in site.routes} & self._proxy.apps.keys():
            found.update(self._proxy.apps[app].stats.dropped)
        if isinstance(site.listener, FlowListener):
            found["lost"] = site.listener.socket.lost
        return {reason: count for reason, count in found.items() if count}

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RETRY_SECONDS if any(self.unbound()) else None):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            await self._bind()

    async def _bind(self) -> None:
        gone, self._gone = self._gone, []
        for site in gone:
            await _close(site)
        if self.termination is None and (needing := [site for site in self._sites.values() if site.terminates]):
            await self._start_termination(needing)
        for site in list(self._sites.values()):
            if site.listener is None:
                await self._open(site)

    async def _start_termination(self, needing: list[_Site]) -> None:
        why = NO_CERTIFICATE
        if self._tls is not None:
            termination = Termination(self._proxy, self._tls.handshakes, certificates(self._settings, protocols=()))
            try:
                await termination.start()
            except TlsError as error:
                why = f"TLS cannot be terminated: {error}"
            else:
                self.termination, why = termination, ""
        if why and why != self.no_tls:
            logger.error("%s: %s", ", ".join(str(site.key) for site in needing), why)
        self.no_tls = why

    async def _open(self, site: _Site) -> None:
        key = site.key
        try:
            listener = await self._listener(site)
        except StartError as error:
            self._failed(site, str(error))
            return
        except OSError as error:
            self._failed(site, error.strerror or str(error))
            return
        site.listener, site.failure = listener, ""
        logger.info("%s is open for %s", key, ", ".join(dict.fromkeys(owner.app for owner in site.routes)))
        if self._proxy.full:
            listener.pause()

    async def _listener(self, site: _Site) -> Listener | FlowListener:
        """Raises StartError and OSError."""
        if site.key.protocol == UDP:
            return self._datagrams.open(site, site.key.port)
        listener = Listener(lambda: self._first_protocol(site), self._settings.host, site.key.port, self._clock)
        await listener.start()
        return listener

    def _failed(self, site: _Site, why: str) -> None:
        if site.failure != why:
            logger.error("%s of %s: %s", site.key, ", ".join(dict.fromkeys(owner.app for owner in site.routes)), why)
        site.failure = why

    def _first_protocol(self, site: _Site) -> asyncio.BaseProtocol:
        if self._reception is None:
            return StreamClient(self._proxy, site)
        return HeaderConnection(
            self._reception, lambda transport, source: hand_over(transport, StreamClient(self._proxy, site, source))
        )


async def _close(site: _Site) -> None:
    listener, site.listener = site.listener, None
    if listener is not None:
        await listener.close()
