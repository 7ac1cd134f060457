"""One run of wrk, and what it tells. Every answer that is not a success fails the run: an error is cheap, and would flatter."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import BenchError

__all__ = ["Load", "Outcome", "run"]

# wrk's own text rounds; its Lua hook has the figures. With a number of hosts, each request goes to the next of them.
_SCRIPT = """\
local requests, turn = {}, 0

function init(args)
    local count = tonumber(args[1] or "0")
    for i = 1, count do
        requests[i] = wrk.format("GET", nil, {Host = string.format(args[2], i - 1)})
    end
    if count > 0 then
        request = function()
            turn = turn % #requests + 1
            return requests[turn]
        end
    end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("figures %d %d %.0f %.0f %d\\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.timeout + e.status))
end
"""


@dataclass(frozen=True)
class Load:
    """What is asked of a server. One thread and keep-alive always."""

    path: str
    connections: int
    seconds: float
    hosts: int = 0
    """Requests go to that many hosts in turn; 0 sends all of them to the server's own."""
    fields: tuple[tuple[str, str], ...] = ()
    """Of the head of each request, besides Host."""


@dataclass(frozen=True)
class Outcome:
    """What one run tells: successes, seconds, and latencies in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def run(load: Load, *, port: int, host: str, directory: Path) -> Outcome:
    """Load a port of this machine and wait for the end. `host` is a format for the number when there are many."""
    script = directory / "wrk.lua"
    script.write_text(_SCRIPT)
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds:.0f}s", "--timeout", "10s", "-s", str(script)]
    command += [] if load.hosts else ["-H", f"Host: {host}"]
    command += [part for name, value in load.fields for part in ("-H", f"{name}: {value}")]
    command += [f"http://127.0.0.1:{port}{load.path}", "--", str(load.hosts), host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=load.seconds + 30, check=False)
    figures = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("figures ")]
    if done.returncode or not figures:
        raise BenchError(f"wrk failed on port {port}: {(done.stderr or done.stdout).strip()}")
    return _outcome([int(figure) for figure in figures[0]], port)


def _outcome(figures: list[int], port: int) -> Outcome:
    requests, microseconds, p50, p99, errors = figures
    if errors or not requests:
        raise BenchError(f"wrk on port {port}: {errors} errors among {requests} requests")
    return Outcome(requests, microseconds / 1e6, p50 / 1e3, p99 / 1e3)
