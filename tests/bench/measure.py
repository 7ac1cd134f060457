"""What one run of load costs a server, by its process's own accounting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from tests.bench.http2 import GrpcLoad
from tests.bench.wrk import Listener, Outcome

__all__ = ["MEBIBYTE", "Load", "Sample", "Server", "in_turn", "rss", "sample"]

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Server:
    """Something that answers on a port of this machine, and the process that is paid for it."""

    name: str
    port: int
    pid: int
    host: str
    """Value of the Host header that it knows."""
    http2_port: int = 0
    """Where it speaks HTTP/2, if that is another port."""
    grpc_host: str = ""
    """Authority of the gRPC server behind it."""
    tls_port: int = 0
    """Where it speaks TLS, if it does."""
    tcp_port: int = 0
    """Where it passes bytes on to a Redis server, or is one."""

    def at(self, listener: Listener) -> int:
        """The port that a load is for."""
        return {"http": self.port, "http2": self.http2_port or self.port, "tls": self.tls_port, "tcp": self.tcp_port}[listener]


class Load(Protocol):
    """What is asked of a server, for some seconds."""

    @property
    def listener(self) -> Listener: ...
    @property
    def seconds(self) -> float: ...
    def run(self, *, port: int, host: str, directory: Path) -> Outcome:
        """Load a port of this machine and wait for the end. Raises BenchError when a request fails."""


@dataclass(frozen=True)
class Sample:
    """One run: requests per second, latency, CPU microseconds per request, and memory at its end."""

    rps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    cpu_user_us: float
    cpu_system_us: float
    rss_mb: float


def sample(server: Server, load: Load, directory: Path) -> Sample:
    """Load a server once. CPU is that of all threads of its process, from the first connection to the last."""
    process = psutil.Process(server.pid)
    before = process.cpu_times()
    host = server.grpc_host if isinstance(load, GrpcLoad) else server.host
    outcome = load.run(port=server.at(load.listener), host=host, directory=directory)
    after = process.cpu_times()
    user = (after.user - before.user) * 1e6 / outcome.requests
    system = (after.system - before.system) * 1e6 / outcome.requests
    return Sample(
        rps=outcome.requests / outcome.seconds,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        cpu_us=user + system,
        cpu_user_us=user,
        cpu_system_us=system,
        rss_mb=rss(server.pid) / MEBIBYTE,
    )


def in_turn(servers: Sequence[Server], load: Load, rounds: int, directory: Path) -> dict[str, list[Sample]]:
    """A B A B …: what slows the machine for a while slows both, and shows as a spread."""
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            samples[server.name].append(sample(server, load, directory))
    return samples


def rss(pid: int) -> int:
    """Resident memory of a process in bytes."""
    return int(psutil.Process(pid).memory_info().rss)
