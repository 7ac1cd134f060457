"""Loads over HTTP/2 without TLS: small requests by h2load, and unary calls of gRPC by ghz. An error fails the run."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.bench.processes import BenchError
from tests.bench.wrk import Listener, Outcome

__all__ = ["GHZ", "GrpcLoad", "Http2Load", "grpc_outcome", "http2_outcome"]

GHZ = Path(__file__).parents[2] / "build" / "tools" / "bin" / "ghz"
CALL = "grpc.health.v1.Health.Check"
PROTO = """\
syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse { int32 status = 1; }
service Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }
"""
"""As much of the health service as a call needs."""
SERVICE = '{"service": "shop"}'
_OK_STATUS = "200"


@dataclass(frozen=True)
class Http2Load:
    """Small requests, several at once on each connection."""

    path: str
    connections: int
    streams: int
    """At once on each connection."""
    seconds: float = 2
    listener: ClassVar[Listener] = "http2"

    def run(self, *, port: int, host: str, directory: Path) -> Outcome:
        """Load a port of this machine and wait for the end."""
        log = directory / "h2load.log"
        log.unlink(missing_ok=True)
        command = ["h2load", "-t1", f"-c{self.connections}", f"-m{self.streams}", f"-D{self.seconds:.0f}", f"--log-file={log}"]
        command += [f"--connect-to=127.0.0.1:{port}", f"http://{host}:{port}{self.path}"]
        _run(command, self.seconds, port)
        return http2_outcome(log.read_text(), self.seconds, port)


@dataclass(frozen=True)
class GrpcLoad:
    """Unary calls."""

    connections: int
    calls: int
    """At once, on all connections."""
    seconds: float = 2
    listener: ClassVar[Listener] = "http2"

    def run(self, *, port: int, host: str, directory: Path) -> Outcome:
        """Load a port of this machine and wait for the end."""
        proto = directory / "health.proto"
        proto.write_text(PROTO)
        command = [
            str(GHZ),
            "--insecure",
            "--authority",
            host,
            "--call",
            CALL,
            "--proto",
            str(proto),
            "-d",
            SERVICE,
            "-O",
            "json",
        ]
        command += ["-c", str(self.calls), "--connections", str(self.connections), "-z", f"{self.seconds:.0f}s"]
        command += ["--duration-stop", "wait", f"127.0.0.1:{port}"]
        return grpc_outcome(json.loads(_run(command, self.seconds, port)), port)


def _run(command: Sequence[str], seconds: float, port: int) -> str:
    if shutil.which(command[0]) is None:
        raise BenchError(f"{command[0]} not found; `make bench` builds or installs it, or says how")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode:
        raise BenchError(f"{Path(command[0]).name} failed on port {port}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def http2_outcome(log: str, seconds: float, port: int) -> Outcome:
    """What h2load has noted of each request: when it began, its status, and its microseconds."""
    rows = [line.split("\t") for line in log.splitlines()]
    errors = sum(status != _OK_STATUS for _, status, _ in rows)
    if errors or not rows:
        raise BenchError(f"h2load on port {port}: {errors} errors among {len(rows)} requests")
    times = sorted(int(microseconds) / 1e3 for *_, microseconds in rows)
    return Outcome(len(rows), seconds, _percentile(times, 50), _percentile(times, 99))


def grpc_outcome(told: dict[str, Any], port: int) -> Outcome:
    """What ghz tells, with times in nanoseconds."""
    statuses = told["statusCodeDistribution"] or {}
    if statuses.keys() != {"OK"}:
        raise BenchError(f"ghz on port {port}: {statuses}")
    latency = {row["percentage"]: row["latency"] / 1e6 for row in told["latencyDistribution"]}
    return Outcome(int(told["count"]), told["total"] / 1e9, latency[50], latency[99])


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
