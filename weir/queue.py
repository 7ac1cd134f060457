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

from fleet.runtime.terminal import complain, say
from fleet.runtime.tls import TlsError
from weir.dial import Dial, Tls, dial
from weir.queue_reader import QueueReader, Queues
from weir.running import DEFAULT_RPC_ADDRESS, engines, rpc_addresses
from weir.styled import text

__all__ = ["run_queue"]

EXIT_NO_ANSWER = 1
EXIT_WRONG_FLAGS = 3
CALL_TIMEOUT = 5.0
"""Seconds for one interceptor to answer, its handshake included."""
INTERVAL = 1.0
"""Seconds between two readings of --watch."""


def run_queue(addresses: Sequence[str] | None, *, of: Path | None = None, as_json: bool, watch: bool, tls: Tls) -> int:
    """Print one reading, or one a second; gives the exit code. Without addresses, of every `weir up`, or of the one of a file."""
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
            # Looked for each time: they come and go with the file, and with their engines.
            asked = {"": addresses} if addresses else _of_engines(of)
            for file in set(readers).difference(asked):
                await readers.pop(file).close()
            found = await asyncio.gather(*(_read(readers, reach, file, there) for file, there in asked.items()))
            readings = dict(zip(asked, found, strict=True))
            if live is not None:
                live.start()
                live.update(_picture(readings), refresh=True)
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
    """Addresses by the file that an engine runs. Two engines have apps of the same name, which are not to be added up."""
    found = {engine.file: rpc_addresses(engine) for engine in engines(of)}
    if found:
        return found
    if of is None:
        return {"": [DEFAULT_RPC_ADDRESS]}
    complain(f"no weir up runs {of}")
    return {}


async def _read(readers: dict[str, QueueReader], reach: Dial, file: str, addresses: Sequence[str]) -> Queues:
    return await readers.setdefault(file, QueueReader(reach, timeout=CALL_TIMEOUT)).read(addresses)


def _picture(readings: Mapping[str, Queues]) -> Group:
    """What is redrawn in place: the tables, and below each who did not answer."""
    several = len(readings) > 1
    parts: list[RenderableType] = []
    for file, queues in readings.items():
        parts.append(_table(queues, file if several else ""))
        parts += [text(f"{address}: {problem}", "red") for address, problem in queues.problems.items()]
    return Group(*parts)


def _show(readings: Mapping[str, Queues], *, as_json: bool) -> None:
    for file, queues in readings.items():
        for address, problem in queues.problems.items():
            complain(f"{address}: {problem}")
        if as_json:
            apps = [asdict(demand) for _, demand in sorted(queues.apps.items())]
            say(json.dumps({**({"file": file} if file else {}), "members": sorted(queues.members), "apps": apps}))
        elif queues.members:
            Console().print(_table(queues, file if len(readings) > 1 else ""))


def _table(queues: Queues, file: str) -> Table:
    table = Table(caption=text(", ".join(sorted(queues.members))), caption_justify="left")
    if file:
        table.title, table.title_justify = text(file), "left"
    table.add_column("app")
    for name in ("held", "in flight", "connections", "requests"):
        table.add_column(name, justify="right")
    for app, demand in sorted(queues.apps.items()):
        numbers = (demand.held, demand.in_flight, demand.connections, demand.requests_total)
        table.add_row(text(app), *(str(number) for number in numbers))
    return table
