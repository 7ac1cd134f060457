"""Commands to a Redis server by redis-benchmark: what a connection of TCP costs that is passed on as it is."""

from __future__ import annotations

import csv
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.bench.processes import BenchError
from tests.bench.wrk import Listener, Outcome

__all__ = ["RedisLoad", "redis_outcome"]


@dataclass(frozen=True)
class RedisLoad:
    """GETs of a key of three bytes. redis-benchmark runs for a number of commands, not for a time."""

    connections: int
    at_once: int
    """Commands of a connection that are sent before the first answer (its pipeline)."""
    per_second: int
    """How many commands stand for a second."""
    seconds: float = 2
    listener: ClassVar[Listener] = "tcp"

    def run(self, *, port: int, host: str, directory: Path) -> Outcome:
        """Load a port of this machine and wait for the end."""
        count = int(self.per_second * self.seconds)
        command = ["redis-benchmark", "-p", str(port), "-t", "get", "-n", str(count), "--csv"]
        command += ["-c", str(self.connections), "-P", str(self.at_once)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 10 * self.seconds, check=False)
        if done.returncode:
            raise BenchError(f"redis-benchmark failed on port {port}: {(done.stderr or done.stdout).strip()}")
        return redis_outcome(done.stdout, count, port)


def redis_outcome(output: str, count: int, port: int) -> Outcome:
    """What redis-benchmark has written: CSV with a heading. Raises BenchError for anything else, as where commands fail."""
    rows = [row for row in csv.DictReader(output.splitlines()) if row.get("test") == "GET"]
    try:
        (row,) = rows
        return Outcome(count, count / float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))
    except (ValueError, KeyError, ZeroDivisionError):
        raise BenchError(f"redis-benchmark on port {port} told no figures: {output.strip()[:200]}") from None
