"""One run of wrk, and what it tells. Every answer that is not a success fails the run: an error is cheap, and would flatter.

wrk gets the bytes of its requests from here and not by its options, so that a head's fields come in the order of the load.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench.processes import BenchError

__all__ = ["NUMBER", "Listener", "Load", "Outcome", "outcome", "request", "run", "script"]

Listener = Literal["http", "http2", "tls", "tcp"]
"""Of a server: for HTTP/1.1, for HTTP/2 without TLS, for HTTP/1.1 over TLS, and for bytes that are passed on to Redis."""
NUMBER = "@NUMBER@"
"""In a path or a field: twelve digits that are others in each request."""
_HOST = "@HOST@"
_FIRST_NUMBERS = 100_000_000_000, 900_000_000_000
"""Where a run may begin to count: always twelve digits, and no two runs send the same ones."""

# wrk's own text rounds; its hook has the figures.
_DONE = """\
function done(summary, latency)
    local e = summary.errors
    io.write(string.format("figures %d %d %.0f %.0f %d\\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.timeout + e.status))
end
"""
# Called once: wrk sends the same bytes again without calling Lua.
_SAME = """\
function wrk.format()
    return {request}
end
"""
# Costs wrk less than a microsecond for each request, of the fifteen and more that a proxy takes for it.
_NUMBERED = """\
local number = 0

function init(args)
    number = tonumber(args[1])
end

function request()
    number = number + 1
    return {request}
end
"""
# Made beforehand: what a request costs wrk does not depend on the number of hosts.
_BY_HOST = """\
local requests, turn = {{}}, 0

for i = 1, {hosts} do
    local host = string.format({format}, i - 1)
    requests[i] = {request}
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end
"""


@dataclass(frozen=True)
class Load:
    """What is asked of a server. One thread and keep-alive always."""

    path: str
    connections: int
    seconds: float = 2
    hosts: int = 0
    """Requests go to that many hosts in turn; 0 sends all of them to the server's own."""
    fields: tuple[tuple[str, str], ...] = ()
    """Of the head of each request, after Host. In them and in the path NUMBER stands for a number of the request's own."""
    body: str = ""
    """POSTed where there is one."""
    tls: bool = False

    @property
    def listener(self) -> Listener:
        return "tls" if self.tls else "http"

    def run(self, *, port: int, host: str, directory: Path) -> Outcome:
        """Load a port of this machine and wait for the end. `host` is a format for the number when there are many."""
        return run(self, port=port, host=host, directory=directory)


@dataclass(frozen=True)
class Outcome:
    """What one run tells: successes, seconds, and latencies in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def run(load: Load, *, port: int, host: str, directory: Path) -> Outcome:
    """Load a port of this machine and wait for the end. `host` is a format for the number when there are many."""
    file = directory / "wrk.lua"
    file.write_text(script(load, host))
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds:.0f}s", "--timeout", "10s", "-s", str(file)]
    lowest, highest = _FIRST_NUMBERS
    command += [f"http{'s' if load.tls else ''}://127.0.0.1:{port}/", "--", str(lowest + secrets.randbelow(highest - lowest))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=load.seconds + 30, check=False)
    if done.returncode:
        raise BenchError(f"wrk failed on port {port}: {(done.stderr or done.stdout).strip()}")
    return outcome(done.stdout, port)


def request(load: Load, host: str) -> str:
    """One request as it is sent, with NUMBER where its number comes."""
    fields = [("Host", host), *load.fields, *([("Content-Length", str(len(load.body)))] if load.body else ())]
    lines = [f"{'POST' if load.body else 'GET'} {load.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", load.body])


def script(load: Load, host: str) -> str:
    """The Lua script by which wrk sends a load and tells its figures."""
    if load.hosts:
        made = _BY_HOST.format(hosts=load.hosts, format=json.dumps(host), request=_expression(request(load, _HOST)))
    else:
        text = request(load, host)
        made = (_NUMBERED if NUMBER in text else _SAME).format(request=_expression(text))
    return f"{made}\n{_DONE}"


def _expression(text: str) -> str:
    """The text as an expression of Lua, whose escapes are those of JSON for what stands in a head."""
    variables = {NUMBER: "number", _HOST: "host"}
    pieces = re.split(f"({'|'.join(variables)})", text)
    return " .. ".join(variables.get(piece) or json.dumps(piece) for piece in pieces if piece)


def outcome(output: str, port: int) -> Outcome:
    """What wrk wrote, read. Raises BenchError when a request failed or none was answered."""
    figures = [line.split()[1:] for line in output.splitlines() if line.startswith("figures ")]
    if not figures:
        raise BenchError(f"wrk on port {port} told no figures: {output.strip()}")
    requests, microseconds, p50, p99, errors = (int(figure) for figure in figures[0])
    if errors or not requests:
        raise BenchError(f"wrk on port {port}: {errors} errors among {requests} requests")
    return Outcome(requests, microseconds / 1e6, p50 / 1e3, p99 / 1e3)
