"""One program of the control plane as a child process: its log, signals and end. Knows nothing about the program."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Daemon", "flags", "tail"]

GRACE = 5.0
"""Seconds from SIGTERM to SIGKILL; short, because no data has to be saved."""


LONGEST_TAIL = 16 << 10
"""Bytes of a log that are shown."""


def flags(options: Mapping[str, object]) -> list[str]:
    """--name=value for each option."""
    return [f"--{name}={value}" for name, value in options.items()]


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log, or fewer if they are long."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LONGEST_TAIL))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


class Daemon:
    """Started by start(), also again after stop() or kill(), with the same arguments: tests simulate failures in this way."""

    def __init__(self, name: str, argv: Sequence[str | Path], *, logs: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self.log = name, logs / f"{name}.log"
        self._argv = [str(word) for word in argv]
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, env=self._env, start_new_session=True)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, like the kernel's out-of-memory killer."""
        if self.alive:
            self.signal(signal.SIGKILL)
        self._reap()

    def stop(self) -> None:
        if self.alive:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            self._wait(GRACE)
        self.kill()

    def tail(self) -> str:
        return tail(self.log)

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                self._process.wait(seconds)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
