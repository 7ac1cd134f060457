"""The display of `weir up`: plain lines, or a live table with output lines above it.

Reads the engine and the interceptors' queue sizes; changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment, SegmentLines
from rich.text import Text

from fleet.routing.claims import ANY_HOST, Claim, claims_of
from fleet.routing.request_examples import address_of, command_for
from fleet.runtime.address import join_address
from fleet.runtime.logs import LineFormatter
from fleet.runtime.process import StartError
from fleet.runtime.terminal import escaped, one_line, say, shown
from weir.engine.app import App
from weir.engine.awake import awake_for
from weir.engine.busy import with_busy
from weir.engine.engine import Engine
from weir.engine.excerpt import Excerpt
from weir.engine.live_table import AppStatus, Row, table_lines
from weir.engine.spec import AppSpec
from weir.engine.supervisor import State
from weir.engine.threaded_writer import ThreadedWriter
from weir.queue_reader import AppDemand, QueueReader, Queues, rates
from weir.styled import text

__all__ = ["OUTSIDE", "At", "LiveView", "PlainView", "View", "at_of", "curl_lines", "https_lines", "row_of", "state_of", "way_to"]

REFRESH = 0.5
"""Seconds between two readings; the table is drawn again only when something has changed."""
APPS_AT_ONCE = 50
"""Apps read in one turn of the event loop, which also carries requests: about half a millisecond of work."""
MAX_CURL_LINES = 5
OUTSIDE = "outside"
"""State of an app that is not started here."""
FLUSH = 0.05
"""Seconds that lines may wait, so that several lines cost only one redraw of the live table below them."""
PERIOD = 1.0
"""Length in seconds of a period, in which a bounded number of lines is shown; at its end the number of lines left out is
shown."""
BEHIND = 64 * 1024
"""Characters not yet written to the terminal from which on it counts as too slow, and lines are left out."""


Way = tuple[str, str | None]
"""How an app is reached, in short, and its URL if opening one is enough."""


class View(Protocol):
    """A display of the engine."""

    def tell(self, speaker: str, lines: Sequence[str]) -> None:
        """Show lines that a process of the engine wrote."""

    def has_room(self) -> bool:
        """Whether more lines may be passed to `tell` now."""

    def ready(self, engine: Engine) -> None:
        """Requests are served from now on."""

    async def run(self, engine: Engine) -> None:
        """Show the engine until cancelled."""

    def leave(self) -> None:
        """Restore the terminal, for an immediate exit."""


class PlainView:
    """Plain lines: log and output of the apps on standard error, `ready` on standard output."""

    def __init__(self, errors: ThreadedWriter, *, json: bool = False) -> None:
        self._errors, self._json = errors, json
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(errors)

    def tell(self, speaker: str, lines: Sequence[str]) -> None:
        texts = [_as_json(speaker, line) for line in lines] if self._json else [f"{speaker} | {line}\n" for line in lines]
        self._errors.write("".join(texts))

    def has_room(self) -> bool:
        return self._errors.has_room()

    def ready(self, engine: Engine) -> None:
        for line in curl_lines(engine):
            self._errors.write(_as_json("weir", f"try: {line}") if self._json else f"try: {one_line(line)}\n")
        for line in https_lines(engine):
            self._errors.write(_as_json("weir", line) if self._json else f"{one_line(line)}\n")
        try:
            say("ready")
        except OSError as error:
            raise StartError(f"cannot write to standard output: {error.strerror}") from error

    async def run(self, engine: Engine) -> None:
        await asyncio.Event().wait()

    def leave(self) -> None:
        """Nothing to restore: plain lines do not change the terminal's state."""


def _as_json(speaker: str, line: str) -> str:
    """In the format of the JSON log."""
    record = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "INFO",
        "logger": speaker,
        "message": one_line(line),
    }
    return escaped(msgspec.json.encode(record)).decode() + "\n"


class LiveView:
    """A table that is redrawn in place on a terminal.

    Lines above it are collected for a moment, so that many lines cost one redraw. Lines beyond what a terminal can show are left
    out. `writer` is the stream that the console writes to.
    """

    def __init__(self, console: Console, writer: ThreadedWriter) -> None:
        self._console, self._writer = console, writer
        self._colours = console.color_system is not None and not console.no_color
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn: object = None
        self._ways: dict[str, tuple[AppSpec, Way]] = {}
        """How apps are reached, by key, with the spec from which it was computed."""
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
        return True  # lines beyond the limit are left out

    def ready(self, engine: Engine) -> None:
        for line in curl_lines(engine):
            self._console.print(Text.assemble("try: ", text(line, style="bold")))
        for line in https_lines(engine):
            self._console.print(text(line))
        self._console.print("ready")

    async def run(self, engine: Engine) -> None:
        reader = QueueReader()
        before, then = Queues(), time.monotonic()
        self._live.start()
        try:
            while True:
                queues, now = await reader.read(engine.rpc_addresses), time.monotonic()
                with_busy(queues.apps, engine.busy)
                await self.draw(engine, queues, rates(before.apps, queues.apps, now - then))
                before, then = queues, now
                await asyncio.sleep(REFRESH)
        finally:
            self.leave()
            await reader.close()

    async def draw(self, engine: Engine, queues: Queues, rps: Mapping[str, float]) -> None:
        """Draw the current state, if it differs from what is shown."""
        at, size, rows = at_of(engine), self._console.size, list[Row]()
        needed = awake_for(engine.file.table.dependencies, queues.apps)
        for app in engine.apps:
            key = app.spec.key
            demand, way = queues.apps.get(key) or AppDemand(key), self._way_to(app.spec, at)
            rows.append(row_of(app, demand, rps.get(key, 0.0), way, needed.get(key, "")))
            if not len(rows) % APPS_AT_ONCE:
                await asyncio.sleep(0)
        for spec in engine.outside:
            demand = queues.apps.get(spec.key) or AppDemand(spec.key)
            rows.append(row_of_outside(spec, demand, rps.get(spec.key, 0.0), self._way_to(spec, at)))
            if not len(rows) % APPS_AT_ONCE:
                await asyncio.sleep(0)
        picture = (title_of(engine), size, rows)
        if picture != self._drawn:
            self._drawn = picture
            lines = table_lines(rows, picture[0], width=size.width, height=size.height)
            # Rendered once: rich draws it again below every line written until the next change.
            self._live.update(SegmentLines(lines, new_lines=True), refresh=True)

    def _way_to(self, spec: AppSpec, at: At) -> Way:
        known = self._ways.get(spec.key)
        if known is None or known[0] is not spec:
            known = self._ways[spec.key] = spec, way_to(spec, at)
        return known[1]

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
        if self._writer.waiting < BEHIND:
            self._flush()
        else:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH, self._flush_in_time)

    def _flush(self) -> None:
        with self._lock:  # log lines may come from any thread
            written, self._written = self._written, []
        if written:
            self._console.print(_AsItIs("".join(written)), crop=False)

    def _end_period_in_time(self) -> None:
        self._period = None
        if self._writer.waiting < BEHIND:
            self._end_period()
            self._flush()
        else:
            self._period = asyncio.get_running_loop().call_later(PERIOD, self._end_period_in_time)

    def _end_period(self) -> None:
        for speaker, lines in self._excerpt.end():
            self._write(speaker, lines)


class _AsItIs:
    """Text that already has its colour codes: parsing and rendering it with rich would take half a millisecond per line."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


class _ConsoleHandler(logging.Handler):
    """Log lines above the table, without the date."""

    def __init__(self, console: Console, flush_lines: Callable[[], None]) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._console, self._flush_lines = console, flush_lines

    def emit(self, record: logging.LogRecord) -> None:
        self._flush_lines()  # so that a process's last output comes before the log line about its end
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else "dim"
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        self._console.print(Text(f"{moment} {self.format(record)}", style=style))


def row_of(app: App, demand: AppDemand, rps: float, way: Way, needed_by: str = "") -> Row:
    """The table row of an app."""
    status, state = state_of(app, demand, needed_by)
    ready = sum(replica.state is State.READY for replica in app.replicas)
    return Row(
        name=app.spec.key.removeprefix("default/"),
        status=status,
        state=state if app.spec.maintenance is None else f"in maintenance, {state}",
        replicas=f"{ready}/{app.desired}",
        held=demand.held,
        in_flight=demand.in_flight,
        rps=rps,
        way=way[0],
        url=way[1],
    )


def row_of_outside(spec: AppSpec, demand: AppDemand, rps: float, way: Way) -> Row:
    """The table row of an app that is not started here. Whether it answers is on the interceptors' page /backends."""
    return Row(
        name=spec.key.removeprefix("default/"),
        status=AppStatus.AWAKE,
        state=OUTSIDE if spec.maintenance is None else f"in maintenance, {OUTSIDE}",
        replicas="-",
        held=demand.held,
        in_flight=demand.in_flight,
        rps=rps,
        way=way[0],
        url=way[1],
    )


def state_of(app: App, demand: AppDemand | None = None, needed_by: str = "") -> tuple[AppStatus, str]:
    """With its demand, also whether a backend keeps it awake after its answers. `needed_by` is an app with demand that depends on
    it."""
    needed_by = needed_by or app.held.by
    needed = f"awake for {needed_by.removeprefix('default/')}" if needed_by else ""
    if app.before.doing:
        return AppStatus.STARTING, ", ".join(filter(None, (f"starting: {app.before.doing}", needed)))
    if app.before.problem:
        count = "" if app.before.failures == 1 else f" ({app.before.failures} times)"
        return AppStatus.TROUBLED, f"failed{count}: {app.before.problem}"
    return _state_of_replicas(app, demand, needed)


def _state_of_replicas(app: App, demand: AppDemand | None, needed: str) -> tuple[AppStatus, str]:
    living = [replica for replica in app.replicas if replica.state is not State.DRAINING]
    states = {replica.state for replica in living}
    failing = [replica for replica in living if replica.failures and replica.state is not State.READY]
    if failing:
        worst = max(failing, key=lambda replica: replica.failures)
        count = "" if worst.failures == 1 else f" ({worst.failures} times)"
        return AppStatus.TROUBLED, f"failing{count}: {worst.reason}"
    if State.STARTING in states:
        return AppStatus.STARTING, ", ".join(filter(None, ("starting" if State.READY not in states else "growing", needed)))
    if State.READY in states:
        reasons = (app.schedule.reason, "busy" if demand is not None and demand.busy else "", needed)
        return AppStatus.AWAKE, ", ".join(filter(None, ("ready", *reasons)))
    if app.trouble:
        return AppStatus.TROUBLED, f"failed: {app.trouble}"
    return (AppStatus.LEAVING, "going to sleep") if app.replicas else (AppStatus.ASLEEP, "asleep")


class At(NamedTuple):
    """Where clients reach the apps: at the first interceptor."""

    address: str
    """ "host:port"."""
    scheme: str


def way_to(spec: AppSpec, at: At) -> Way:
    """How an app is reached. A scheme is shown only of https: clients take http for it if there is none."""
    claim = _first_claim(spec)
    if claim is None:
        return ", ".join(f"{port.protocol} port {port.port}" for port in spec.ports), None
    url = address_of(claim, at.address, scheme=at.scheme)
    if url is not None:
        return url.removeprefix("http://").removesuffix("/"), url
    return ("" if claim.host == ANY_HOST else claim.host) + ("" if claim.path == "/" else claim.path) or "by its headers", None


def _first_claim(spec: AppSpec) -> Claim | None:
    """None of an app that has ports alone."""
    return next(claims_of(rule.selection() for rule in spec.every_rule), None)


def _first_claims(specs: Iterable[AppSpec]) -> list[Claim]:
    return [claim for spec in specs if (claim := _first_claim(spec)) is not None][:MAX_CURL_LINES]


def curl_lines(engine: Engine) -> Sequence[str]:
    """Example commands for the first apps. curl speaks no gRPC."""
    if not engine.proxy_ports:
        return ()
    specs = [spec for spec in engine.spec.apps if spec.app_protocol != "grpc"]
    at = at_of(engine)
    commands = [command_for(claim, at.address, scheme=at.scheme) for claim in _first_claims(specs)]
    if at.scheme == "http" or engine.authority is None:
        return commands
    trust = f"curl --cacert {shlex.quote(str(engine.authority))}"
    return [trust + command.removeprefix("curl") for command in commands]


def https_lines(engine: Engine) -> Sequence[str]:
    """URLs of the first apps by https, and what to trust for them."""
    if engine.authority is None or not engine.proxy_tls_ports:
        return ()
    at = join_address("localhost", engine.proxy_tls_ports[0])
    urls = (address_of(claim, at, scheme="https") for claim in _first_claims(engine.spec.apps))
    shown = ", ".join(dict.fromkeys([f"https://{at}/", *filter(None, urls)]))
    return (f"https: {shown}", f"https: trust {engine.authority} once, or: curl --cacert {engine.authority} …")


def at_of(engine: Engine) -> At:
    """By https if nothing listens for plaintext: then a name is needed, which certificates have."""
    if engine.spec.interceptor.get("proxy_plaintext") == "off" and engine.proxy_tls_ports:
        return At(join_address("localhost", engine.proxy_tls_ports[0]), "https")
    return At(join_address(engine.near_host, engine.proxy_ports[0] if engine.proxy_ports else 0), "http")


def title_of(engine: Engine) -> str:
    """The line above the table."""
    if not engine.proxy_ports:
        return "weir starts"
    scheme = at_of(engine).scheme
    first, *others = engine.proxy_tls_ports if scheme == "https" else engine.proxy_ports
    also = f", and on {', '.join(map(str, others))}" if others else ""
    return f"weir: {scheme}://localhost:{first}/ lists the apps{also}"
