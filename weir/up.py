"""`weir up`: reads the file, makes the engine and its view, runs both on one loop."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from rich.console import Console

from fleet.runtime.logs import configure_logging
from fleet.runtime.process import EXIT_CANNOT_START, Shutdown, run_component
from fleet.runtime.settings import SettingsError
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.terminal import complain
from weir.engine.engine import Engine, Options
from weir.engine.outlet import Outlet
from weir.engine.specfile import SpecError, SpecFile, load_spec
from weir.engine.view import LiveView, PlainView, View

__all__ = ["Request", "run_up"]


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


def run_up(request: Request) -> int:
    """Run the file; gives the exit code."""
    try:
        file = load_spec(request.file)
        configure_logging(request.log_level)
    except (SpecError, SettingsError) as error:
        for line in error.lines if isinstance(error, SpecError) else [str(error)]:
            complain(line)
        return EXIT_CANNOT_START
    return run_component(lambda: _run(file, request))


async def _run(file: SpecFile, request: Request) -> None:
    outlet = Outlet(sys.stdout.fileno() if request.ui else sys.stderr.fileno())
    try:
        await _run_engine(file, request, _view(outlet, live=request.ui), outlet)
    finally:
        outlet.close()


def _end_at_once(code: int, view: View, outlet: Outlet) -> None:
    """Processes and files are the keeper's to clean up; a cursor that is hidden would stay so."""
    try:
        view.leave()
        outlet.close(LAST_WORDS_TIMEOUT)
    finally:
        os._exit(code)


def _view(outlet: Outlet, *, live: bool) -> View:
    return LiveView(Console(file=cast("IO[str]", outlet)), outlet) if live else PlainView(outlet)


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
    engine = Engine(file, options, tell=view.tell, has_room=view.has_room, on_ready=view.ready)
    with Shutdown(end=lambda code: _end_at_once(code, view, outlet)) as shutdown:
        showing = asyncio.create_task(view.run(engine), name="view")
        try:
            await engine.run(shutdown)
        finally:
            await cancel_and_wait(showing)
