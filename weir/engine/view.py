"""What `weir up` shows: plain lines, or a live table with the lines above it.

Reads the engine and the interceptors' queue sizes; changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment, SegmentLines
from rich.text import Text

from fleet.routing.claims import ANY_HOST, Claim, claims_of
from fleet.routing.tryout import address_of, command_for
from fleet.runtime.address import join_address
from fleet.runtime.logs import LineFormatter
from fleet.runtime.process import StartError
from fleet.runtime.terminal import escaped, one_line, say, shown
from weir.engine.app import App
from weir.engine.board import Mood, Sight, board
from weir.engine.engine import Engine
from weir.engine.excerpt import Excerpt
from weir.engine.fields import RuleSpec
from weir.engine.outlet import Outlet
from weir.engine.spec import AppSpec
from weir.engine.supervisor import State
from weir.queue_reader import AppDemand, QueueReader, Queues, rates
from weir.styled import text

__all__ = ["LiveView", "PlainView", "View", "curl_lines", "sight_of", "state_of", "way_to"]

REFRESH = 0.5
"""Seconds between two looks, and two pictures of the table where something has changed."""
APPS_AT_ONCE = 50
"""Apps looked at in one turn of the loop that carries requests: about half a millisecond's work."""
MAX_CURL_LINES = 5
FLUSH = 0.05
"""Seconds that lines may wait for others above the live table, which is written anew below them each time."""
PERIOD = 1.0
"""Seconds in which a bounded number of lines is shown above it; what was left out is told at the end of each."""
BEHIND = 64 * 1024
"""Characters not yet taken by a terminal that is too slow for more lines."""


Way = tuple[str, str | None]
"""How an app is reached, in short, and the URL where that is enough."""


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
        try:
            say("ready")
        except OSError as error:
            raise StartError(f"cannot write to standard output: {error.strerror}") from error

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
        "message": one_line(line),
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
        self._drawn: object = None
        self._ways: dict[str, tuple[AppSpec, Way]] = {}
        """How apps are reached, and the spec that says so."""
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
                await self.draw(engine, queues, rates(before.apps, queues.apps, now - then))
                before, then = queues, now
                await asyncio.sleep(REFRESH)
        finally:
            self.leave()
            await reader.close()

    async def draw(self, engine: Engine, queues: Queues, rps: Mapping[str, float]) -> None:
        """Show how things are now, if that is other than what is shown."""
        at, size, sights = at_of(engine), self._console.size, list[Sight]()
        for app in engine.apps:
            key = app.spec.key
            sights.append(sight_of(app, queues.apps.get(key) or AppDemand(key), rps.get(key, 0.0), self._way_to(app.spec, at)))
            if not len(sights) % APPS_AT_ONCE:
                await asyncio.sleep(0)
        picture = (title_of(engine), size, sights)
        if picture != self._drawn:
            self._drawn = picture
            lines = board(sights, picture[0], width=size.width, height=size.height)
            # Made once: it is written again below every line that comes until the next one.
            self._live.update(SegmentLines(lines, new_lines=True), refresh=True)

    def _way_to(self, spec: AppSpec, at: str) -> Way:
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


def sight_of(app: App, demand: AppDemand, rps: float, way: Way) -> Sight:
    """What the table shows of an app."""
    mood, state = state_of(app)
    ready = sum(replica.state is State.READY for replica in app.replicas)
    return Sight(
        name=app.spec.key.removeprefix("default/"),
        mood=mood,
        state=state if app.spec.maintenance is None else f"in maintenance, {state}",
        replicas=f"{ready}/{app.desired}",
        held=demand.held,
        in_flight=demand.in_flight,
        rps=rps,
        way=way[0],
        url=way[1],
    )


def state_of(app: App) -> tuple[Mood, str]:
    living = [replica for replica in app.replicas if replica.state is not State.DRAINING]
    states = {replica.state for replica in living}
    failing = [replica for replica in living if replica.failures and replica.state is not State.READY]
    if failing:
        worst = max(failing, key=lambda replica: replica.failures)
        count = "" if worst.failures == 1 else f" ({worst.failures} times)"
        return Mood.TROUBLED, f"failing{count}: {worst.reason}"
    if State.STARTING in states:
        return Mood.STARTING, "starting" if State.READY not in states else "growing"
    if State.READY in states:
        return Mood.AWAKE, "ready"
    if app.trouble:
        return Mood.TROUBLED, f"failed: {app.trouble}"
    return (Mood.LEAVING, "going to sleep") if app.replicas else (Mood.ASLEEP, "asleep")


def way_to(spec: AppSpec, at: str) -> Way:
    """How an app is reached. `at` is "host:port" of the first interceptor."""
    claim = _first_claim(spec)
    url = address_of(claim, at)
    if url is not None:
        return url.removeprefix("http://").removesuffix("/"), url
    return ("" if claim.host == ANY_HOST else claim.host) + ("" if claim.path == "/" else claim.path) or "by its headers", None


def _first_claim(spec: AppSpec) -> Claim:
    rules = spec.rules or [RuleSpec(hosts=spec.hosts, paths=spec.paths, headers=spec.headers)]
    return next(claims_of(rule.rule() for rule in rules))


def curl_lines(engine: Engine) -> Sequence[str]:
    """How to try the first apps."""
    return [command_for(_first_claim(spec), at_of(engine)) for spec in engine.spec.apps[:MAX_CURL_LINES] if engine.proxy_ports]


def at_of(engine: Engine) -> str:
    """ "host:port" of the first interceptor."""
    return join_address(engine.near_host, engine.proxy_ports[0] if engine.proxy_ports else 0)


def title_of(engine: Engine) -> str:
    """The line above the table."""
    if not engine.proxy_ports:
        return "weir starts"
    first, *others = engine.proxy_ports
    also = f", and on {', '.join(map(str, others))}" if others else ""
    return f"weir: http://localhost:{first}/ lists the apps{also}"
