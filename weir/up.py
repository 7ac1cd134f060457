"""`weir up`: reads the file, creates the engine and its view, and runs both on one event loop."""

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

from fleet.defaults import FILE_OF_APPS
from fleet.runtime.listen import PortInUseError
from fleet.runtime.process import EXIT_CANNOT_START, Shutdown, StartError, run_component
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.terminal import complain
from weir.engine.controls import EngineControls
from weir.engine.engine import Engine, Options
from weir.engine.logbook import LogBook
from weir.engine.page import Page
from weir.engine.portmap import collisions, owners
from weir.engine.settingtypes import fault_of
from weir.engine.spec import FleetSpec
from weir.engine.specfile import STDIN, SpecError, SpecFile, load_spec
from weir.engine.termination import check_termination
from weir.engine.threaded_writer import ThreadedWriter
from weir.engine.view import LiveView, PlainView, View
from weir.running import Running, registered

__all__ = ["Request", "run_up"]


_log = logging.getLogger(__name__)

FLUSH_TIMEOUT = 0.2
"""Seconds to write the remaining output to the terminal on an immediate exit."""


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of the command."""

    file: Path
    port: int | None
    host: str
    duration: float | None
    ui: bool
    processes: bool
    state_dir: Path | None
    log_level: str
    log_json: bool = False
    tls: bool = False


def run_up(request: Request) -> int:
    """Run the file; returns the exit code."""
    if request.file == Path(FILE_OF_APPS) and not request.file.exists():
        complain(f"{request.file}: No such file or directory; weir init writes one")
        return EXIT_CANNOT_START
    try:
        file = load_spec(request.file)
        _check_ports(file.spec, request)
        _check_tls(file.spec, request)
        check_termination(request.file, file.spec, makes_certificates=request.tls)
    except SpecError as error:
        for line in error.lines:
            complain(line)
        return EXIT_CANNOT_START
    # Apps inherit the limit of open files. Only components in this process need the raised limit.
    return run_component(lambda: request, lambda request: _run(file, request), raise_files=not request.processes)


def _check_ports(spec: FleetSpec, request: Request) -> None:
    """A port on the command line may collide with one in the file. Raises SpecError."""
    if request.port:
        faults = [f"--port {request.port}: {collision.reason}" for collision in collisions(owners(_as_typed(spec, request.port)))]
        if faults:
            raise SpecError(faults)


def _check_tls(spec: FleetSpec, request: Request) -> None:
    """Settings of the file may need certificates that only --tls makes. Raises SpecError."""
    if fault := fault_of("interceptor", spec.interceptor, certificates=request.tls):
        name, reason = fault
        raise SpecError([f"{request.file}: interceptor.{name}: {reason}; --tls makes certificates"])


def _as_typed(spec: FleetSpec, port: int) -> FleetSpec:
    return spec.model_copy(update={"ports": spec.ports.model_copy(update={"proxy": port})})


def _set_levels(spec: FleetSpec) -> None:
    """Set the log levels of components in this process; components in their own processes get theirs as flags."""
    for kind, settings in (("interceptor", spec.interceptor), ("scaler", spec.scaler)):
        if "log_level" in settings:
            logging.getLogger(kind).setLevel(str(settings["log_level"]).upper())


async def _run(file: SpecFile, request: Request) -> None:
    _set_levels(file.spec)
    writer = ThreadedWriter(sys.stdout.fileno() if request.ui else sys.stderr.fileno())
    try:
        await _run_engine(file, request, _view(writer, request), writer)
    except PortInUseError as error:
        raise StartError(f"{error}; {_way_out(error.port, file.spec, request)}") from error
    finally:
        writer.close()


def _way_out(port: int, spec: FleetSpec, request: Request) -> str:
    first = spec.ports.proxy if request.port is None else request.port
    if first <= port < first + spec.interceptors:
        return "--port 0 takes a free one"
    return "0 in the ports of the file takes a free one"


def _end_at_once(code: int, view: View, writer: ThreadedWriter) -> None:
    """Exit at once. The reaper cleans up processes and files; the terminal's hidden cursor must be restored here."""
    try:
        view.leave()
        writer.close(FLUSH_TIMEOUT)
    finally:
        os._exit(code)


def _view(writer: ThreadedWriter, request: Request) -> View:
    if request.ui:
        return LiveView(Console(file=cast("IO[str]", writer)), writer)
    return PlainView(writer, json=request.log_json)


async def _run_engine(file: SpecFile, request: Request, view: View, writer: ThreadedWriter) -> None:
    temporary = request.state_dir is None
    options = Options(
        file=request.file,
        state_directory=request.state_dir.resolve() if request.state_dir else Path(tempfile.mkdtemp(prefix="weir-")),
        temporary=temporary,
        processes=request.processes,
        log_level=request.log_level,
        host=request.host,
        proxy_port=request.port,
        tls=request.tls,
        duration=request.duration,
    )
    book = LogBook(view.tell)
    engine = Engine(file, options, tell=book.tell, has_room=view.has_room, on_ready=view.ready)
    with Shutdown(end=lambda code: _end_at_once(code, view, writer)) as shutdown, ExitStack() as entry:
        showing = asyncio.create_task(view.run(engine), name="view")
        controls, token = EngineControls(engine), secrets.token_urlsafe(32)
        page = Page(controls, book, token, busy=engine.busy, leases=file.leases)
        try:
            url = await page.start(file.spec.ports.page)
            engine.busy.url = f"{url}/busy"
            _register(entry, options, url, token)
            await engine.run(shutdown)
        finally:
            await page.stop()
            await controls.close()
            await cancel_and_wait(showing)


def _register(entry: ExitStack, options: Options, url: str, token: str) -> None:
    """Register this engine for `weir ps` and similar commands. If that fails, everything else still works."""
    file = "-" if options.file == STDIN else str(options.file.resolve())
    try:
        entry.enter_context(registered(Running(os.getpid(), file, str(options.state_directory), url, token)))
    except OSError as error:
        _log.warning("weir ps and its like will not find this engine: %s", error)
