"""Starts the processes of a benchmark and ends every one of them by pid, also when something fails.

Nothing here knows what the processes are for.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from tests.support.ports import refusing_port

__all__ = ["BenchError", "answers", "free_ports", "running", "wait_until"]

START_TIMEOUT = 60.0
"""Seconds until a process must serve: several times what a cold start on a busy machine takes. `weir up --processes` imports four
components at once, which takes 14 s on two cores that others use as well."""
STOP_TIMEOUT = 10.0
"""Seconds between a polite and an impolite end: Weir drains for less."""


class BenchError(Exception):
    """The benchmark cannot go on. The message is one line for whoever runs it."""


@contextlib.contextmanager
def running(name: str, command: Sequence[str], *, log: Path, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the length of a `with` block; its output goes to the log file, its children end with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=cwd)
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # Noted before the parent ends: orphans are no longer found under it.
    try:
        tree = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(tree, timeout=1.0)
    for orphan in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan.kill()


def wait_until(done: Callable[[], bool], what: str, *, process: subprocess.Popen[bytes], log: Path) -> None:
    """Poll until done says so. Raises BenchError with the end of the log when the process ends or time is up."""
    deadline = time.monotonic() + START_TIMEOUT
    while not done():
        if process.poll() is not None:
            raise BenchError(f"{what}: the process ended with {process.returncode}: {_tail(log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not after {START_TIMEOUT:.0f} s: {_tail(log)}")
        time.sleep(0.05)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "(no output)"


def answers(port: int, path: str, host: str) -> bool:
    """Whether a GET to the port is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, reserved for servers of this run until it ends."""
    return [refusing_port() for _ in range(count)]
