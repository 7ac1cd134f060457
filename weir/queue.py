"""`weir queue`: the queue sizes of interceptors as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from fleet.runtime.terminal import complain, say
from fleet.runtime.tls import TlsError
from weir.dial import Dial, Tls, dial
from weir.queue_reader import QueueReader, Queues
from weir.running import rpc_addresses
from weir.styled import text

__all__ = ["run_queue"]

EXIT_NO_ANSWER = 1
EXIT_WRONG_FLAGS = 3
CALL_TIMEOUT = 5.0
"""Seconds for one interceptor to answer, its handshake included."""
INTERVAL = 1.0
"""Seconds between two readings of --watch."""


def run_queue(addresses: Sequence[str] | None, *, as_json: bool, watch: bool, tls: Tls) -> int:
    """Print one reading, or one a second; gives the exit code. Without addresses, of every interceptor of `weir up`."""
    try:
        return asyncio.run(_run(addresses, dial(tls), as_json=as_json, watch=watch))
    except TlsError as error:
        complain(str(error))
        return EXIT_WRONG_FLAGS
    except KeyboardInterrupt:
        return 0


async def _run(addresses: Sequence[str] | None, reach: Dial, *, as_json: bool, watch: bool) -> int:
    reader = QueueReader(reach, timeout=CALL_TIMEOUT)
    console = Console()
    live = Live(console=console, auto_refresh=False) if watch and console.is_terminal and not as_json else None
    try:
        while True:
            # Looked for each time: they come and go with the file, and with their engines.
            queues = await reader.read(addresses or rpc_addresses())
            if live is not None:
                live.start()
                live.update(_picture(queues), refresh=True)
            else:
                _show(queues, as_json=as_json)
            if not watch:
                return EXIT_NO_ANSWER if queues.problems else 0
            await asyncio.sleep(INTERVAL)
    finally:
        if live is not None:
            live.stop()
        await reader.close()


def _picture(queues: Queues) -> Group:
    """What is redrawn in place: the table, and below it who did not answer."""
    return Group(_table(queues), *(text(f"{address}: {problem}", "red") for address, problem in queues.problems.items()))


def _show(queues: Queues, *, as_json: bool) -> None:
    for address, problem in queues.problems.items():
        complain(f"{address}: {problem}")
    if as_json:
        apps = [asdict(demand) for _, demand in sorted(queues.apps.items())]
        say(json.dumps({"members": sorted(queues.members), "apps": apps}))
    elif queues.members:
        Console().print(_table(queues))


def _table(queues: Queues) -> Table:
    table = Table(caption=text(", ".join(sorted(queues.members))), caption_justify="left")
    table.add_column("app")
    for name in ("held", "in flight", "connections", "requests"):
        table.add_column(name, justify="right")
    for app, demand in sorted(queues.apps.items()):
        numbers = (demand.held, demand.in_flight, demand.connections, demand.requests_total)
        table.add_row(text(app), *(str(number) for number in numbers))
    return table
