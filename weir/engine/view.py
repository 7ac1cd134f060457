"""What `weir up` shows: plain lines, or a live table with the lines above it.

Reads the engine and the interceptors' queue sizes; changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment, SegmentLines
from rich.table import Table
from rich.text import Text

from fleet.runtime.address import join_address
from fleet.runtime.logs import LineFormatter
from fleet.runtime.terminal import escaped, one_line, say, shown
from weir.engine.app import App
from weir.engine.engine import Engine
from weir.engine.excerpt import Excerpt
from weir.engine.outlet import Outlet
from weir.engine.spec import AppSpec
from weir.engine.supervisor import State
from weir.queue_reader import AppDemand, QueueReader, Queues, rates
from weir.styled import text

__all__ = ["LiveView", "PlainView", "View", "app_state", "curl_lines"]

REFRESH = 0.5
"""Seconds between two pictures of the table."""
MAX_CURL_LINES = 5
FLUSH = 0.05
"""Seconds that lines may wait for others above the live table, which is written anew below them each time."""
PERIOD = 1.0
"""Seconds in which a bounded number of lines is shown above it; what was left out is told at the end of each."""
BEHIND = 64 * 1024
"""Characters not yet taken by a terminal that is too slow for more lines."""


class View(Protocol):
    """How people are told."""

    def tell(self, speaker: str, lines: Sequence[str]) -> None:
        """Some lines that a process of the engine wrote."""

    def has_room(self) -> bool:
        """Whether lines are to be told now, or later."""

    def ready(self, engine: Engine) -> None:
        """Requests are served from now on."""

    async def run(self, engine: Engine) -> None:
        """Show the engine until cancelled."""

    def leave(self) -> None:
        """Give the terminal back as it was found, for an end at once."""


class PlainView:
    """Lines: the log and the apps' output on standard error, `ready` on standard output."""

    def __init__(self, errors: Outlet, *, json: bool = False) -> None:
        self._errors, self._json = errors, json
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(errors)

    def tell(self, speaker: str, lines: Sequence[str]) -> None:
        told = [_as_json(speaker, line) for line in lines] if self._json else [f"{speaker} | {line}\n" for line in lines]
        self._errors.write("".join(told))

    def has_room(self) -> bool:
        return self._errors.has_room()

    def ready(self, engine: Engine) -> None:
        for line in curl_lines(engine):
            self._errors.write(_as_json("weir", f"try: {line}") if self._json else f"try: {one_line(line)}\n")
        say("ready")

    async def run(self, engine: Engine) -> None:
        await asyncio.Event().wait()

    def leave(self) -> None:
        """Lines leave nothing behind."""


def _as_json(speaker: str, line: str) -> str:
    """As the log writes its lines."""
    record = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "INFO",
        "logger": speaker,
        "message": shown(line),
    }
    return escaped(msgspec.json.encode(record)).decode() + "\n"


class LiveView:
    """A table that is redrawn in place, for a terminal.

    Lines above it wait for a moment, so that many cost one write of the table. More than a terminal can show are left out.
    Takes the outlet that the console writes to.
    """

    def __init__(self, console: Console, outlet: Outlet) -> None:
        self._console, self._outlet = console, outlet
        self._colours = console.color_system is not None and not console.no_color
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._excerpt = Excerpt()
        self._written: list[str] = []
        self._lock = threading.Lock()
        self._flushing: asyncio.TimerHandle | None = None
        self._period: asyncio.TimerHandle | None = None
        root = logging.getLogger()
        root.handlers[:] = [_ConsoleHandler(console, self._flush)]

    def tell(self, speaker: str, lines: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        self._write(speaker, self._excerpt.take(speaker, lines))
        self._flushing = self._flushing or loop.call_later(FLUSH, self._flush_in_time)
        self._period = self._period or loop.call_later(PERIOD, self._end_period_in_time)

    def has_room(self) -> bool:
        return True  # what is too much is left out

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
                table = _table(engine, queues, rates(before.apps, queues.apps, now - then), self._console.height)
                # Rendered once: it is written again below every line that comes until the next one.
                self._live.update(SegmentLines(self._console.render_lines(table, pad=False), new_lines=True), refresh=True)
                before, then = queues, now
                await asyncio.sleep(REFRESH)
        finally:
            self.leave()
            await reader.close()

    def leave(self) -> None:
        self._end_period()
        self._flush()
        self._live.stop()

    def _write(self, speaker: str, lines: Sequence[str]) -> None:
        before, after = ("\x1b[36m", "\x1b[0m") if self._colours else ("", "")
        texts = lines if self._colours else [shown(line) for line in lines]
        self._written += [f"{before}{speaker} | {after}{text}\n" for text in texts]

    def _flush_in_time(self) -> None:
        self._flushing = None
        if self._outlet.waiting < BEHIND:
            self._flush()
        else:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH, self._flush_in_time)

    def _flush(self) -> None:
        with self._lock:  # log lines come from any thread
            written, self._written = self._written, []
        if written:
            self._console.print(_AsItIs("".join(written)), crop=False)

    def _end_period_in_time(self) -> None:
        self._period = None
        if self._outlet.waiting < BEHIND:
            self._end_period()
            self._flush()
        else:
            self._period = asyncio.get_running_loop().call_later(PERIOD, self._end_period_in_time)

    def _end_period(self) -> None:
        for speaker, lines in self._excerpt.end():
            self._write(speaker, lines)


class _AsItIs:
    """Text whose colours are written already: rich takes half a millisecond to understand a line and write the same again."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


class _ConsoleHandler(logging.Handler):
    """Log lines above the table, short: whoever looks at a terminal knows the date."""

    def __init__(self, console: Console, flush_lines: Callable[[], None]) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._console, self._flush_lines = console, flush_lines

    def emit(self, record: logging.LogRecord) -> None:
        self._flush_lines()  # so that a process ends after it has said why
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else "dim"
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        self._console.print(Text(f"{moment} {self.format(record)}", style=style))


def _table(engine: Engine, queues: Queues, rps: dict[str, float], height: int) -> Table:
    """No more rows than the terminal has, because each costs half a millisecond."""
    ports = ", ".join(str(port) for port in engine.proxy_ports)
    table = Table(title=f"weir on port {ports}", title_justify="left", expand=False)
    table.add_column("app")
    for name in ("replicas", "held", "in flight", "rps"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for app in engine.apps[:height]:
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
    return [_curl(spec, engine.near_host, ports[0]) for spec in engine.spec.apps[:MAX_CURL_LINES] if ports]


def _curl(spec: AppSpec, near: str, port: int) -> str:
    rule = spec.rules[0] if spec.rules else spec
    path = rule.paths[0] if rule.paths else "/"
    headers = "".join(f" -H '{header.name}: {header.value or 'x'}'" for header in rule.headers)
    host = rule.hosts[0].replace("*", "any") if rule.hosts and rule.hosts[0] != "*" else "localhost"
    if host == "localhost" or host.endswith(".localhost"):
        return f"curl{headers} http://{join_address(host, port)}{path}"
    return f"curl -H 'Host: {host}'{headers} http://{join_address(near, port)}{path}"
