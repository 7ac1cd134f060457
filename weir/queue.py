"""`weir queue`: the queue sizes of interceptors as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fleet.runtime.terminal import complain, say
from fleet.runtime.tls import TlsError
from weir.dial import CALL_TIMEOUT, Dial, Tls, dial
from weir.queue_reader import AppDemand, QueueReader, Queues
from weir.running import DEFAULT_RPC_ADDRESS, engines, rpc_addresses
from weir.styled import text

__all__ = ["run_queue"]

EXIT_NO_ANSWER = 1
EXIT_WRONG_FLAGS = 3
INTERVAL = 1.0
"""Seconds between two readings with --watch."""
NUMBERS_CELLS, BUSY_CELLS, CALLED_CELLS, DROPPED_CELLS, LEAST_NAME = 50, 7, 10, 10, 8
"""Terminal cells that the numbers and the frame of the table take, and the least width of a name."""
PROBLEMS_SHARE = 3
"""At most one in so many terminal lines shows failed interceptors, so that the apps of the others stay visible."""


def run_queue(addresses: Sequence[str] | None, *, of: Path | None = None, as_json: bool, watch: bool, tls: Tls) -> int:
    """Print one reading, or one per second; returns the exit code. Without addresses: all running `weir up`, or the one that
    runs the file `of`."""
    try:
        return asyncio.run(_run(addresses, of, dial(tls), as_json=as_json, watch=watch))
    except TlsError as error:
        complain(str(error))
        return EXIT_WRONG_FLAGS
    except KeyboardInterrupt:
        return 0


async def _run(addresses: Sequence[str] | None, of: Path | None, reach: Dial, *, as_json: bool, watch: bool) -> int:
    readers: dict[str, QueueReader] = {}
    console = Console()
    live = Live(console=console, auto_refresh=False) if watch and console.is_terminal and not as_json else None
    try:
        while True:
            # Looked up each time, because interceptors and engines may start and stop.
            asked = {"": addresses} if addresses else _of_engines(of)
            for file in set(readers).difference(asked):
                await readers.pop(file).close()
            found = await asyncio.gather(*(_read(readers, reach, file, there) for file, there in asked.items()))
            readings = dict(zip(asked, found, strict=True))
            if live is not None:
                live.start()
                live.update(_picture(readings, console), refresh=True)
            else:
                _show(readings, as_json=as_json)
            if not watch:
                return EXIT_NO_ANSWER if any(queues.problems for queues in found) or not found else 0
            await asyncio.sleep(INTERVAL)
    finally:
        if live is not None:
            live.stop()
        for reader in readers.values():
            await reader.close()


def _of_engines(of: Path | None) -> Mapping[str, Sequence[str]]:
    """Addresses by the file of each engine. Apps of different engines may have equal names and are not added up."""
    found = {engine.file: rpc_addresses(engine) for engine in engines(of)}
    if found:
        return found
    if of is None:
        return {"": [DEFAULT_RPC_ADDRESS]}
    complain(f"no weir up runs {of}")
    return {}


async def _read(readers: dict[str, QueueReader], reach: Dial, file: str, addresses: Sequence[str]) -> Queues:
    return await readers.setdefault(file, QueueReader(reach, timeout=CALL_TIMEOUT)).read(addresses)


def _picture(readings: Mapping[str, Queues], console: Console) -> Group:
    """The display that is redrawn in place: the tables, and below each the interceptors that failed. Fits the terminal; apps
    with requests come first."""
    several = len(readings) > 1
    seldom = [
        BUSY_CELLS * _has_busy(queues) + CALLED_CELLS * _has_called(queues) + DROPPED_CELLS * _has_dropped(queues)
        for queues in readings.values()
    ]
    names = max(LEAST_NAME, console.width - NUMBERS_CELLS - max(seldom, default=0))
    most = max(1, console.height // PROBLEMS_SHARE // max(1, len(readings)))
    problems = {file: _problems(queues, most) for file, queues in readings.items()}
    # The height is measured on tables without rows: they are narrower, so the lines below wrap at least as often.
    frames = [_table(queues, file if several else "", [], name_cells=names) for file, queues in readings.items()]
    room = console.height - 1 - _height(console, Group(*frames, *(line for lines in problems.values() for line in lines)))
    rows = _shares({file: len(queues.apps) for file, queues in readings.items()}, room)
    parts: list[RenderableType] = []
    for file, queues in readings.items():
        ordered = sorted(queues.apps.values(), key=lambda demand: (not _is_busy(demand), demand.app))
        fits = len(ordered) <= rows[file]
        shown = ordered if fits else ordered[: max(0, rows[file] - 1)]
        parts += [
            _table(queues, file if several else "", shown, more=len(ordered) - len(shown), name_cells=names),
            *problems[file],
        ]
    return Group(*parts)


def _problems(queues: Queues, most: int) -> Sequence[Text]:
    """Interceptors that did not answer, one line each and at most `most` lines."""
    lines = [text(f"{address}: {problem}", "red") for address, problem in queues.problems.items()]
    if len(lines) > most:
        lines[most - 1 :] = [text(f"{len(lines) - most + 1} {'more ' if most > 1 else ''}do not answer", "red")]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _height(console: Console, part: RenderableType) -> int:
    return len(console.render_lines(part, pad=False))


def _shares(wanted: Mapping[str, int], room: int) -> Mapping[str, int]:
    """Rows of each table: rows that one table does not need go to the others. At least one row each, which counts the apps."""
    shares: dict[str, int] = {}
    for done, (file, rows) in enumerate(sorted(wanted.items(), key=lambda item: item[1])):
        shares[file] = max(1, min(rows, room // (len(wanted) - done)))
        room -= shares[file]
    return shares


def _is_busy(demand: AppDemand) -> bool:
    return bool(demand.held or demand.in_flight or demand.connections or demand.busy or demand.busy_by_call)


def _has_busy(queues: Queues) -> bool:
    """Whether a backend keeps an app awake after its answers; most never do, and a column more takes room of the names."""
    return any(demand.busy for demand in queues.apps.values())


def _has_called(queues: Queues) -> bool:
    """Whether a replica keeps an app awake by a call."""
    return any(demand.busy_by_call for demand in queues.apps.values())


def _has_dropped(queues: Queues) -> bool:
    """Whether datagrams of UDP ports were dropped."""
    return any(demand.dropped_total for demand in queues.apps.values())


def _show(readings: Mapping[str, Queues], *, as_json: bool) -> None:
    for file, queues in readings.items():
        for address, problem in queues.problems.items():
            complain(f"{address}: {problem}")
        if as_json:
            apps = [asdict(demand) for _, demand in sorted(queues.apps.items())]
            say(json.dumps({**({"file": file} if file else {}), "members": sorted(queues.members), "apps": apps}))
        elif queues.members:
            demands = [demand for _, demand in sorted(queues.apps.items())]
            Console().print(_table(queues, file if len(readings) > 1 else "", demands))


def _table(queues: Queues, file: str, shown: Sequence[AppDemand], *, more: int = 0, name_cells: int | None = None) -> Table:
    """The given apps, and a count of the others. With `name_cells`, names are cut so that each app takes one line. There are
    columns of what is busy, by an answer or by a call, if anything is, and of dropped datagrams."""
    cut = name_cells is not None
    table = Table(caption=text(", ".join(sorted(queues.members))), caption_justify="left")
    if file:
        table.title, table.title_justify = text(file), "left"
    table.add_column("app", no_wrap=cut, max_width=name_cells)
    with_busy, with_called, with_dropped = _has_busy(queues), _has_called(queues), _has_dropped(queues)
    seldom = [*(["busy"] if with_busy else ()), *(["by call"] if with_called else ())]
    for name in ("held", "in flight", *seldom, "connections", "requests", *(["dropped"] if with_dropped else ())):
        table.add_column(name, justify="right", no_wrap=cut)
    for demand in shown:
        busy = [*([demand.busy] if with_busy else ()), *([demand.busy_by_call] if with_called else ())]
        dropped = [demand.dropped_total] if with_dropped else ()
        numbers = (demand.held, demand.in_flight, *busy, demand.connections, demand.requests_total, *dropped)
        table.add_row(text(demand.app), *(str(number) for number in numbers))
    if more:
        table.add_row(text(f"{more:,} more" if shown else f"{more:,} apps", "dim"))
    return table
