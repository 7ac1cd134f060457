"""New connections over TLS, one request on each. The clients keep no session, so that every handshake is a full one.

wrk cannot do this: it offers the session of the connection before.
"""

from __future__ import annotations

import json
import math
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.bench.processes import BenchError
from tests.bench.wrk import Listener, Outcome

__all__ = ["HandshakeLoad"]

CLIENTS = 4
"""At once, so that the server always has something to do."""
TIMEOUT = 10.0
"""Seconds for one connection."""


@dataclass(frozen=True)
class HandshakeLoad:
    """A connection, a request, the answer and the end, again and again."""

    path: str
    seconds: float = 2
    listener: ClassVar[Listener] = "tls"

    def run(self, *, port: int, host: str, directory: Path) -> Outcome:
        """Load a port of this machine and wait for the end. The clients are a process of their own."""
        del directory
        command = [sys.executable, "-m", "tests.bench.handshakes", str(port), host, self.path, str(self.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=self.seconds + 30, check=False)
        if done.returncode:
            raise BenchError(f"handshakes on port {port}: {done.stderr.strip()}")
        return _outcome(json.loads(done.stdout), self.seconds)


def _outcome(milliseconds: Sequence[float], seconds: float) -> Outcome:
    ordered = sorted(milliseconds)
    if not ordered:
        raise BenchError("no handshake was done")
    p50, p99 = (ordered[math.ceil(len(ordered) * percent / 100) - 1] for percent in (50, 99))
    return Outcome(len(ordered), seconds, p50, p99)


def main(argv: Sequence[str]) -> None:
    """Print the milliseconds of every connection."""
    port, host, path, seconds = int(argv[0]), argv[1], argv[2], float(argv[3])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what the client checks is no cost of the server
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    until = time.perf_counter() + seconds

    def client(_: int) -> list[float]:
        took = []
        while (began := time.perf_counter()) < until:
            _once(context, port, host, request)
            took.append((time.perf_counter() - began) * 1e3)
        return took

    with ThreadPoolExecutor(CLIENTS) as pool:
        every = [one for took in pool.map(client, range(CLIENTS)) for one in took]
    sys.stdout.write(json.dumps(every))


def _once(context: ssl.SSLContext, port: int, host: str, request: bytes) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(request)
        answer = connection.recv(4096)
        while more := connection.recv(4096):
            answer += more
    if connection.session_reused or not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"resumed: {connection.session_reused}, answer {answer[:100]!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
