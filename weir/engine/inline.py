"""Interceptors and scaler in the engine's own process and on its event loop: the fastest way, and only one process to observe."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from fleet.discovery.sources import Backend, Member
from fleet.discovery.work import sum_of_work
from fleet.runtime.address import join_address
from interceptor.server import Interceptor
from interceptor.settings import InterceptorSettings
from scaler.server import Scaler
from scaler.settings import ScalerSettings
from weir.engine.layout import SCALER_NAME, Layout, interceptor_name
from weir.engine.state import Component, StateDirectory

__all__ = ["InlinePlanes"]


class InlinePlanes:
    """Interceptors and scaler as objects. They read the state directory, and use nothing else of the engine."""

    def __init__(self, layout: Layout, state: StateDirectory) -> None:
        self._layout, self._state = layout, state
        self._scaler: Scaler | None = None
        self._interceptors: list[Interceptor] = []
        self._leaving: list[Interceptor] = []
        """Interceptors that were removed and still finish open requests."""

    @property
    def scaler_address(self) -> str:
        return join_address(self._layout.near_host, self._scaler.port if self._scaler else 0)

    @property
    def proxy_ports(self) -> tuple[int, ...]:
        return tuple(interceptor.proxy_port for interceptor in self._interceptors)

    @property
    def proxy_tls_ports(self) -> tuple[int, ...]:
        return tuple(port for interceptor in self._interceptors if (port := interceptor.proxy_tls_port) is not None)

    @property
    def rpc_addresses(self) -> Mapping[str, str]:
        host = self._layout.near_host
        return {interceptor_name(index): join_address(host, one.rpc_port) for index, one in enumerate(self._interceptors)}

    async def at_work(self, key: str) -> Mapping[Backend, int] | None:
        every = (*self._interceptors, *self._leaving)
        return sum_of_work([interceptor.proxy.at_work().get(key, {}) for interceptor in every])

    async def start(self) -> None:
        await self._grow(self._layout.spec.interceptors)
        ports = self._layout.spec.ports
        flags = self._layout.scaler(port=ports.scaler, diagnostics=ports.scaler_diagnostics)
        scaler = Scaler(ScalerSettings.load(flags))
        await scaler.start()
        self._scaler = scaler
        self._sync()

    async def resize(self, interceptors: int) -> None:
        await self._shrink(interceptors)
        await self._grow(interceptors)

    async def drain(self) -> None:
        await self._shrink(0)

    async def close(self) -> None:
        await self._shrink(0)
        scaler, self._scaler = self._scaler, None
        if scaler is not None:
            await scaler.close()

    async def _grow(self, count: int) -> None:
        for index in range(len(self._interceptors), count):
            layout = self._layout
            flags = layout.interceptor(
                index,
                proxy=layout.proxy_port(index),
                rpc=layout.rpc_port(index),
                diagnostics=layout.interceptor_diagnostics_port(index),
            )
            interceptor = Interceptor(InterceptorSettings.load(flags))
            await interceptor.start()
            self._interceptors.append(interceptor)
        self._sync()

    async def _shrink(self, count: int) -> None:
        surplus = self._interceptors[count:]
        # Removed from the members first, so that the scaler does not reconnect; open streams still report the remaining requests.
        del self._interceptors[count:]
        self._sync()
        self._leaving += surplus
        try:
            await asyncio.gather(*(interceptor.end() for interceptor in surplus))
        finally:
            self._leaving = [interceptor for interceptor in self._leaving if interceptor not in surplus]

    def _sync(self) -> None:
        self._state.write_members(Member(name=name, address=address) for name, address in self.rpc_addresses.items())
        self._state.write_components(self._components())

    def _components(self) -> list[Component]:
        components = [
            Component(
                name=interceptor_name(index),
                kind="interceptor",
                pid=os.getpid(),
                proxy_port=interceptor.proxy_port,
                proxy_tls_port=interceptor.proxy_tls_port,
                rpc_port=interceptor.rpc_port,
                diagnostics_port=interceptor.diagnostics_port,
            )
            for index, interceptor in enumerate(self._interceptors)
        ]
        if (scaler := self._scaler) is not None:
            port, diagnostics = scaler.port, scaler.diagnostics_port
            components.append(
                Component(name=SCALER_NAME, kind="scaler", pid=os.getpid(), port=port, diagnostics_port=diagnostics)
            )
        return components
