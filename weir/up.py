"""`weir up`: reads the file, makes the engine and its view, runs both on one loop."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from rich.console import Console

from fleet.runtime.listen import PortInUseError
from fleet.runtime.process import EXIT_CANNOT_START, Shutdown, StartError, run_component
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.terminal import complain
from weir.engine.engine import Engine, Options
from weir.engine.logbook import LogBook
from weir.engine.outlet import Outlet
from weir.engine.page import Page
from weir.engine.portmap import collisions, owners
from weir.engine.spec import FleetSpec
from weir.engine.specfile import STDIN, SpecError, SpecFile, load_spec
from weir.engine.subject import EngineSubject
from weir.engine.view import LiveView, PlainView, View
from weir.running import Running, registered

__all__ = ["DEFAULT_FILE", "Request", "run_up"]


DEFAULT_FILE = Path("weir.yaml")
"""What is run when no file is named."""
_log = logging.getLogger(__name__)

LAST_WORDS_TIMEOUT = 0.2
"""Seconds for a terminal to take what is left to be said when the end is to be at once."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed."""

    file: Path
    port: int | None
    host: str
    duration: float | None
    ui: bool
    processes: bool
    state_dir: Path | None
    log_level: str
    log_json: bool = False


def run_up(request: Request) -> int:
    """Run the file; gives the exit code."""
    if request.file == DEFAULT_FILE and not request.file.exists():
        complain(f"{request.file}: No such file or directory; weir init writes one")
        return EXIT_CANNOT_START
    try:
        file = load_spec(request.file)
        _check_ports(file.spec, request)
    except SpecError as error:
        for line in error.lines:
            complain(line)
        return EXIT_CANNOT_START
    # Apps inherit the limit of files. Only components in this process need the whole of it.
    return run_component(lambda: request, lambda request: _run(file, request), raise_files=not request.processes)


def _check_ports(spec: FleetSpec, request: Request) -> None:
    """What was typed may meet what the file says. Raises SpecError."""
    if request.port:
        faults = [f"--port {request.port}: {collision.reason}" for collision in collisions(owners(_as_typed(spec, request.port)))]
        if faults:
            raise SpecError(faults)


def _as_typed(spec: FleetSpec, port: int) -> FleetSpec:
    return spec.model_copy(update={"ports": spec.ports.model_copy(update={"proxy": port})})


def _set_levels(spec: FleetSpec) -> None:
    """Of components in this process; those that are processes of their own are started with them."""
    for kind, settings in (("interceptor", spec.interceptor), ("scaler", spec.scaler)):
        if "log_level" in settings:
            logging.getLogger(kind).setLevel(str(settings["log_level"]).upper())


async def _run(file: SpecFile, request: Request) -> None:
    _set_levels(file.spec)
    outlet = Outlet(sys.stdout.fileno() if request.ui else sys.stderr.fileno())
    try:
        await _run_engine(file, request, _view(outlet, request), outlet)
    except PortInUseError as error:
        raise StartError(f"{error}; {_way_out(error.port, file.spec, request)}") from error
    finally:
        outlet.close()


def _way_out(port: int, spec: FleetSpec, request: Request) -> str:
    first = spec.ports.proxy if request.port is None else request.port
    if first <= port < first + spec.interceptors:
        return "--port 0 takes a free one"
    return "0 in the ports of the file takes a free one"


def _end_at_once(code: int, view: View, outlet: Outlet) -> None:
    """Processes and files are the keeper's to clean up; a cursor that is hidden would stay so."""
    try:
        view.leave()
        outlet.close(LAST_WORDS_TIMEOUT)
    finally:
        os._exit(code)


def _view(outlet: Outlet, request: Request) -> View:
    if request.ui:
        return LiveView(Console(file=cast("IO[str]", outlet)), outlet)
    return PlainView(outlet, json=request.log_json)


async def _run_engine(file: SpecFile, request: Request, view: View, outlet: Outlet) -> None:
    temporary = request.state_dir is None
    options = Options(
        file=request.file,
        state_directory=request.state_dir.resolve() if request.state_dir else Path(tempfile.mkdtemp(prefix="weir-")),
        temporary=temporary,
        processes=request.processes,
        log_level=request.log_level,
        host=request.host,
        proxy_port=request.port,
        duration=request.duration,
    )
    book = LogBook(view.tell)
    engine = Engine(file, options, tell=book.tell, has_room=view.has_room, on_ready=view.ready)
    with Shutdown(end=lambda code: _end_at_once(code, view, outlet)) as shutdown, ExitStack() as entry:
        showing = asyncio.create_task(view.run(engine), name="view")
        subject, token = EngineSubject(engine), secrets.token_urlsafe(32)
        page = Page(subject, book, token)
        try:
            _register(entry, options, await page.start(file.spec.ports.page), token)
            await engine.run(shutdown)
        finally:
            await page.stop()
            await subject.close()
            await cancel_and_wait(showing)


def _register(entry: ExitStack, options: Options, url: str, token: str) -> None:
    """Let `weir ps` and its like find this one; without them, everything else still works."""
    file = "-" if options.file == STDIN else str(options.file.resolve())
    try:
        entry.enter_context(registered(Running(os.getpid(), file, str(options.state_directory), url, token)))
    except OSError as error:
        _log.warning("weir ps and its like will not find this engine: %s", error)
