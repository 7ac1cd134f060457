"""What `weir up` shows: plain lines, or a live table with the lines above it.

Reads the engine and the interceptors' queue sizes; changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fleet.runtime.logs import LineFormatter
from fleet.runtime.terminal import one_line, say
from weir.engine.app import App
from weir.engine.engine import Engine
from weir.engine.outlet import Outlet
from weir.engine.spec import AppSpec
from weir.engine.supervisor import State
from weir.queue_reader import AppDemand, QueueReader, Queues, rates
from weir.styled import text

__all__ = ["LiveView", "PlainView", "View", "app_state", "curl_lines"]

REFRESH = 0.5
"""Seconds between two pictures of the table."""
MAX_CURL_LINES = 5


class View(Protocol):
    """How people are told."""

    def tell(self, speaker: str, line: str) -> None:
        """One line that a process of the engine wrote."""

    def ready(self, engine: Engine) -> None:
        """Requests are served from now on."""

    async def run(self, engine: Engine) -> None:
        """Show the engine until cancelled."""

    def leave(self) -> None:
        """Give the terminal back as it was found, for an end at once."""


class PlainView:
    """Lines: the log and the apps' output on standard error, `ready` on standard output."""

    def __init__(self, errors: Outlet) -> None:
        self._errors = errors
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(errors)

    def tell(self, speaker: str, line: str) -> None:
        self._errors.write(f"{speaker} | {line}\n")

    def ready(self, engine: Engine) -> None:
        for line in curl_lines(engine):
            self._errors.write(f"try: {one_line(line)}\n")
        say("ready")

    async def run(self, engine: Engine) -> None:
        await asyncio.Event().wait()

    def leave(self) -> None:
        """Lines leave nothing behind."""


class LiveView:
    """A table that is redrawn in place, for a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        root = logging.getLogger()
        root.handlers[:] = [_ConsoleHandler(console)]

    def tell(self, speaker: str, line: str) -> None:
        self._console.print(Text.assemble((f"{speaker} | ", "cyan"), Text.from_ansi(line)))

    def ready(self, engine: Engine) -> None:
        for line in curl_lines(engine):
            self._console.print(Text.assemble("try: ", text(line, style="bold")))
        self._console.print("ready")

    async def run(self, engine: Engine) -> None:
        reader = QueueReader()
        before, then = Queues(), time.monotonic()
        self._live.start()
        try:
            while True:
                queues, now = await reader.read(engine.rpc_addresses), time.monotonic()
                table = _table(engine, queues, rates(before.apps, queues.apps, now - then))
                self._live.update(table, refresh=True)
                before, then = queues, now
                await asyncio.sleep(REFRESH)
        finally:
            self.leave()
            await reader.close()

    def leave(self) -> None:
        self._live.stop()


class _ConsoleHandler(logging.Handler):
    """Log lines above the table, short: whoever looks at a terminal knows the date."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else "dim"
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        self._console.print(Text(f"{moment} {self.format(record)}", style=style))


def _table(engine: Engine, queues: Queues, rps: dict[str, float]) -> Table:
    ports = ", ".join(str(port) for port in engine.proxy_ports)
    table = Table(title=f"weir on port {ports}", title_justify="left", expand=False)
    table.add_column("app")
    for name in ("replicas", "held", "in flight", "rps"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for app in engine.apps:
        demand = queues.apps.get(app.spec.key, AppDemand(app.spec.key))
        numbers = (str(demand.held), str(demand.in_flight), f"{rps.get(app.spec.key, 0.0):.1f}")
        table.add_row(text(app.spec.key), _replicas(app), *numbers, app_state(app))
    return table


def _replicas(app: App) -> str:
    ready = sum(replica.state is State.READY for replica in app.replicas)
    return f"{ready}/{app.desired}"


def app_state(app: App) -> str:
    """The app in a few words."""
    state = _state(app)
    return state if app.spec.maintenance is None else f"in maintenance, {state}"


def _state(app: App) -> str:
    states = [replica.state for replica in app.replicas]
    failing = [replica.failures for replica in app.replicas if replica.failures and replica.state is not State.DRAINING]
    if failing:
        return f"failing ({max(failing)} times), is started again"
    if State.STARTING in states:
        return "starting" if State.READY not in states else "growing"
    if State.READY in states:
        return "ready"
    return "going to sleep" if states else "asleep"


def curl_lines(engine: Engine) -> Sequence[str]:
    """How to try the first apps."""
    ports = engine.proxy_ports
    return [_curl(spec, ports[0]) for spec in engine.spec.apps[:MAX_CURL_LINES] if ports]


def _curl(spec: AppSpec, port: int) -> str:
    rule = spec.rules[0] if spec.rules else spec
    path = rule.paths[0] if rule.paths else "/"
    headers = "".join(f" -H '{header.name}: {header.value or 'x'}'" for header in rule.headers)
    host = rule.hosts[0].replace("*", "any") if rule.hosts and rule.hosts[0] != "*" else "localhost"
    if host == "localhost" or host.endswith(".localhost"):
        return f"curl{headers} http://{host}:{port}{path}"
    return f"curl -H 'Host: {host}'{headers} http://127.0.0.1:{port}{path}"
