"""Memory that an idle client connection costs a proxy.

As a program (`python -m tests.bench.idle PORT COUNT HOST PATH`) it is the client: opens the connections, sends one request
on each, says `open`, keeps them until its input ends, and fails when one of them was closed meanwhile.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time

from tests.bench.measure import Server, rss
from tests.bench.origin import SMALL
from tests.bench.processes import BenchError

__all__ = ["bytes_per_connection"]

SETTLE = 1.5
"""Seconds for the proxy to finish what it does after an exchange; longer than its coarse sweeps."""


def bytes_per_connection(server: Server, count: int) -> float:
    """Growth of a proxy's resident memory by `count` idle keep-alive connections, for each of them."""
    before = rss(server.pid)
    command = [sys.executable, "-m", "tests.bench.idle", str(server.port), str(count), server.host, SMALL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        said = client.stdout.readline().strip()
        time.sleep(SETTLE)
        after = rss(server.pid)
        _, error = client.communicate(timeout=30)
    if said != "open" or client.returncode:
        raise BenchError(f"{server.name}: idle connections: {error.strip().splitlines()[-1:] or said}")
    return (after - before) / count


def _open(port: int, host: str, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10.0)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = connection.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"answered {answer[:60]!r}")
    return connection


def _main(port: int, count: int, host: str, path: str) -> None:
    connections = [_open(port, host, path) for _ in range(count)]
    print("open", flush=True)
    sys.stdin.read()
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    closed = len(poll.poll(0))  # nothing more was asked for: whatever is readable now is an end
    if closed:
        raise SystemExit(f"{closed} of {count} were closed by the proxy")


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
