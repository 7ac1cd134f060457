"""Which addresses processes listen on, from Linux's /proc. Read only."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

__all__ = ["listening", "parse_table", "read_table"]

_LISTEN = "0A"
"""TCP_LISTEN of include/net/tcp_states.h."""
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def listening(pids: Iterable[int]) -> Sequence[tuple[str, int]]:
    """Addresses and ports on which any of the processes listens, sorted. Processes that have ended or belong to other users
    are skipped."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    found = [entry for table in _TABLES if table.exists() for entry in read_table(table)]
    return sorted({(host, port) for host, port, inode in found if inode in inodes})


def parse_table(lines: Iterable[str]) -> Iterator[tuple[str, int, str]]:
    """Host, port and inode of every listening socket, from the lines of /proc/net/tcp or tcp6."""
    for line in lines:
        if _LISTEN in line:  # most lines are of other connections, and quickly skipped
            _, local, _, state, *rest = line.split()
            if state == _LISTEN:
                host, _, port = local.partition(":")
                yield _address(host), int(port, 16), rest[5]


def read_table(table: Path) -> Iterator[tuple[str, int, str]]:
    """Line by line: with tens of thousands of connections, all of it at once takes ten megabytes, which the C library then keeps
    for each thread that has done so."""
    with table.open() as lines:
        next(lines, None)  # the names of the columns
        yield from parse_table(lines)


def _sockets(pid: int) -> Iterator[str]:
    for link in _links(f"/proc/{pid}/fd"):
        if link.startswith("socket:["):
            yield link[len("socket:[") : -1]


def _links(folder: str) -> Iterator[str]:
    with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):  # the descriptor was closed meanwhile
                yield os.readlink(f"{folder}/{name}")


def _address(text: str) -> str:
    """Decode the hexadecimal address, which is in 32-bit words of the machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return str(ipaddress.ip_address(struct.pack(f"={len(words)}I", *words)))
