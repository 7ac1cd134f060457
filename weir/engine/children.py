"""Interceptors and scaler as processes of their own, for tests that kill single components.

When an interceptor process dies, it is removed from the members at once and restarted. Ports are chosen once, so that a restarted
component keeps its addresses.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.discovery.sources import Backend, Member
from fleet.discovery.work import decode_work, sum_of_work
from fleet.runtime.address import join_address
from fleet.runtime.listen import bound
from fleet.runtime.process import StartError
from weir.engine.child import Launch
from weir.engine.layout import SCALER_NAME, Layout, interceptor_name
from weir.engine.page_client import PageError, get_page
from weir.engine.probe import Probe
from weir.engine.state import Component, StateDirectory
from weir.engine.supervisor import Job, ProcessContext, State, Supervisor

__all__ = ["ChildPlanes"]

READINESS_TIMEOUT = 30.0
"""Seconds until a component must be ready: it reads two files and opens three ports."""
RESTART_FIRST, RESTART_LIMIT = 0.05, 5.0
"""Shortest and longest pause in seconds before a component is restarted; short, because every app depends on it."""
KILL_AFTER = 10.0
"""Seconds after a component's drain timeout until it is killed."""
LAST_LINES = 5
"""Lines of output kept of each component, to explain a failed start."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Placed:
    """A component with its supervisor."""

    supervisor: Supervisor
    component: Component
    last_lines: deque[str]
    changed: asyncio.Event


class ChildPlanes:
    """Runs `python -m weir interceptor` and `python -m weir scaler`."""

    def __init__(self, layout: Layout, state: StateDirectory, context: ProcessContext) -> None:
        self._layout, self._state, self._context = layout, state, context
        self._scaler: _Placed | None = None
        self._interceptors: list[_Placed] = []
        self._scaler_port = layout.spec.ports.scaler or context.ports.take()

    @property
    def scaler_address(self) -> str:
        return join_address(self._layout.near_host, self._scaler_port)

    @property
    def proxy_ports(self) -> tuple[int, ...]:
        return tuple(placed.component.proxy_port or 0 for placed in self._interceptors)

    @property
    def proxy_tls_ports(self) -> tuple[int, ...]:
        return tuple(port for placed in self._interceptors if (port := placed.component.proxy_tls_port) is not None)

    @property
    def rpc_addresses(self) -> Mapping[str, str]:
        ready = [placed.component for placed in self._interceptors if placed.supervisor.state is State.READY]
        host = self._layout.near_host
        return {component.name: join_address(host, component.rpc_port or 0) for component in ready}

    async def at_work(self, key: str) -> Mapping[Backend, int] | None:
        answers = await asyncio.gather(*(self._work_of(placed, key) for placed in self._interceptors))
        works = [work for work in answers if work is not None]
        return sum_of_work(works) if len(works) == len(answers) else None

    async def _work_of(self, placed: _Placed, key: str) -> Mapping[Backend, int] | None:
        """None when the component runs but did not answer. A component that is not running has no open requests."""
        if placed.supervisor.pid is None:
            return {}
        try:
            page = await get_page(self._layout.near_host, placed.component.diagnostics_port, "/backends")
            return decode_work(page).get(key, {})
        except (PageError, ValueError) as error:
            if placed.supervisor.state in (State.STARTING, State.FAILED):
                return {}
            _log.debug("%s: %s", placed.component.name, error)
            return None

    async def start(self) -> None:
        self._scaler = self._place_scaler()
        await self._grow(self._layout.spec.interceptors)
        await _serving(self._scaler)

    async def resize(self, interceptors: int) -> None:
        await self._shrink(interceptors)
        await self._grow(interceptors)

    async def drain(self) -> None:
        await self._shrink(0)

    async def close(self) -> None:
        await self._shrink(0)
        scaler, self._scaler = self._scaler, None
        if scaler is not None:
            scaler.supervisor.withdraw()
            await scaler.supervisor.end(grace=KILL_AFTER)
        self._sync()

    async def _grow(self, count: int) -> None:
        new = [self._place_interceptor(index) for index in range(len(self._interceptors), count)]
        await asyncio.gather(*(_serving(placed) for placed in new))

    async def _shrink(self, count: int) -> None:
        surplus = self._interceptors[count:]
        for placed in surplus:
            placed.supervisor.withdraw()
        # Removed from the members first, so that scalers do not reconnect to them; open streams still report the remaining
        # requests.
        self._sync()
        grace = float(self._layout.spec.interceptor.get("drain_timeout", 0)) + KILL_AFTER
        await asyncio.gather(*(placed.supervisor.end(grace=grace) for placed in surplus))
        del self._interceptors[count:]
        self._sync()

    def _place_interceptor(self, index: int) -> _Placed:
        layout, ports = self._layout, self._context.ports
        component = Component(
            name=interceptor_name(index),
            kind="interceptor",
            pid=0,
            proxy_port=layout.proxy_port(index) or ports.take(),
            proxy_tls_port=layout.proxy_tls_port(index) or ports.take() if layout.has_certificates else None,
            rpc_port=layout.rpc_port(index) or ports.take(),
            diagnostics_port=layout.interceptor_diagnostics_port(index) or ports.take(),
        )
        flags = layout.interceptor(
            index,
            proxy=component.proxy_port or 0,
            rpc=component.rpc_port or 0,
            diagnostics=component.diagnostics_port,
            proxy_tls=component.proxy_tls_port,
        )
        placed = self._place(component, flags)
        self._interceptors.append(placed)
        placed.supervisor.start()
        self._sync()
        return placed

    def _place_scaler(self) -> _Placed:
        diagnostics = self._layout.spec.ports.scaler_diagnostics or self._context.ports.take()
        component = Component(name=SCALER_NAME, kind="scaler", pid=0, port=self._scaler_port, diagnostics_port=diagnostics)
        placed = self._place(component, self._layout.scaler(port=self._scaler_port, diagnostics=diagnostics))
        placed.supervisor.start()
        return placed

    def _place(self, component: Component, flags: list[str]) -> _Placed:
        self._check_ports(component)
        launch = Launch([sys.executable, "-m", "weir", component.kind, *flags], env={}, cwd=Path.cwd())
        probe = Probe((self._layout.near_host,), component.diagnostics_port, "/readyz")
        job = Job(
            name=component.name,
            speaker=component.name,
            launch=lambda: (launch, probe),
            readiness_timeout=READINESS_TIMEOUT,
            restart_first=RESTART_FIRST,
            restart_limit=RESTART_LIMIT,
        )
        lines: deque[str] = deque(maxlen=LAST_LINES)
        changed = asyncio.Event()

        def tell(speaker: str, new: Sequence[str]) -> None:
            lines.extend(new)
            self._context.tell(speaker, new)

        def on_change() -> None:
            changed.set()
            self._sync()

        return _Placed(Supervisor(job, replace(self._context, tell=tell), on_change=on_change), component, lines, changed)

    def _check_ports(self, component: Component) -> None:
        """Report a port in use at once, instead of starting a process again and again that cannot listen."""
        for port in (
            component.proxy_port,
            component.proxy_tls_port,
            component.rpc_port,
            component.port,
            component.diagnostics_port,
        ):
            if port:
                bound(self._layout.host, port, component.name).close()

    def _sync(self) -> None:
        """Write the members file before the components file, because scalers wait for members."""
        addresses = self.rpc_addresses
        self._state.write_members(Member(name=name, address=address) for name, address in addresses.items())
        placed = [*self._interceptors, *([self._scaler] if self._scaler else [])]
        self._state.write_components(replace(p.component, pid=p.supervisor.pid) for p in placed if p.supervisor.pid)


async def _serving(placed: _Placed) -> None:
    """Return once the component is ready. Raises StartError when its first process fails."""
    supervisor = placed.supervisor
    while supervisor.state is not State.READY:
        if supervisor.failures:
            last = placed.last_lines[-1] if placed.last_lines else supervisor.problem
            raise StartError(f"{placed.component.name}: {last.removeprefix('error: ')}")
        await placed.changed.wait()
        placed.changed.clear()
