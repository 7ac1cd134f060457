"""Readiness probe of a started process: very frequent at first, because a request may be waiting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fleet.defaults import READY_STATUSES
from fleet.runtime.address import join_address
from weir.engine.check import Check

__all__ = ["Probe", "wait_until_ready"]

FIRST_PAUSE = 0.005
"""Seconds between the first probes. A refused connection on the loopback address costs about 50 microseconds."""
PAUSE_FACTOR = 1.2
"""From 5 to 100 ms in 17 probes, one second after the start."""
REFUSED_WITHIN = 0.001
"""Seconds after which a datagram has not been refused."""
ATTEMPT_TIMEOUT = 1.0
"""Seconds for one probe; a process that takes longer is not ready yet."""
LATE_AFTER = 3.0
"""Seconds after which, and then repeatedly, to check whether the process listens on another port or address."""
MAX_STATUS_LINE = 8 * 1024


@dataclass(frozen=True, slots=True)
class Probe:
    """Where and how to probe. Without a path, an accepted connection is enough; or a datagram that is not refused."""

    hosts: tuple[str, ...]
    """Addresses of which one must answer: a server that listens on "localhost" may use only one of them."""
    port: int
    path: str | None = None
    interval: float = 0.1
    """Longest pause between two probes, in seconds."""
    datagrams: bool = False
    check: Check | None = None
    """Has to pass as well, once its port is open."""

    @property
    def failure(self) -> str:
        """The message while the probe does not succeed."""
        where = " or ".join(join_address(host, self.port) for host in self.hosts)
        if self.check is not None and self.check.said:
            return f"the command of its readiness {self.check.said}"
        if self.datagrams:
            return f"nothing takes datagrams at {where}, the port that the command has in $PORT"
        if self.path is None:
            return f"nothing takes connections at {where}, the port that the command has in $PORT"
        return f"GET {self.path} at {where} has no answer from {READY_STATUSES[0]} to {READY_STATUSES[-1]}"


async def wait_until_ready(
    probe: Probe, *, late: Callable[[], Awaitable[None]] | None = None, patience: float = LATE_AFTER
) -> str:
    """Wait until the probe succeeds; returns the address that answered. Callers set the timeout. `late` is awaited every
    `patience` seconds."""
    began = asyncio.get_running_loop().time()
    pause = min(FIRST_PAUSE, probe.interval)
    while True:
        for host in probe.hosts:
            if await _succeeds(host, probe) and (probe.check is None or await probe.check.passes()):
                return host
        if late is not None and asyncio.get_running_loop().time() - began >= patience:
            await late()
            began = asyncio.get_running_loop().time()
        await asyncio.sleep(pause)
        pause = min(pause * PAUSE_FACTOR, probe.interval)


async def _takes_datagrams(host: str, port: int) -> bool:
    """Without content, because nothing is known of the protocol. A refusal (ICMP) is there at once on a loopback address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        try:
            own.connect((host, port))
            own.send(b"")
            await asyncio.sleep(REFUSED_WITHIN)
            own.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


async def _succeeds(host: str, probe: Probe) -> bool:
    if probe.datagrams:
        return await _takes_datagrams(host, probe.port)
    try:
        async with asyncio.timeout(ATTEMPT_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, probe.port, limit=MAX_STATUS_LINE)
            try:
                return probe.path is None or await _answers(reader, writer, join_address(host, probe.port), probe.path)
            finally:
                # abort, not close: unread response data must not keep the connection open
                writer.transport.abort()
    except (OSError, TimeoutError, ValueError):
        return False


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, path: str) -> bool:
    head = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: weir\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    version, status, *_ = (await reader.readline()).split(None, 2)
    return version.startswith(b"HTTP/") and int(status) in READY_STATUSES
