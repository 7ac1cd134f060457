"""What a terminal gets of `weir up`, and what it is left with: a real one, and an app that writes what it likes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support.acting import acting
from tests.system.harness import ECHO, PATIENCE, Gate, app, fetch, fleet, gone, running_up, until

CONTROLS = (
    r"printf '\302\2332Jc1 \033]0;title\007osc \342\200\256bidi \342\200\250line \033[8mhidden\n'; "  # in one write
    r"printf '\302'; sleep 0.1; printf '\2332Jsplit\n'; printf '\033'; sleep 0.1; printf '[2Jtorn\n'; "  # and in two
)
TOLD = "2Jc1 ]0;titleosc bidi line "


def chatty(**fields: Any) -> dict[str, Any]:
    return app("web", command=f"{CONTROLS}{ECHO}", min=1, **fields)


@dataclass
class Terminal:
    """A `weir up` on a terminal of its own."""

    process: subprocess.Popen[bytes]
    data: bytes = b""
    deaf: bool = False
    """Takes nothing from now on, like one that is stopped."""
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def text(self) -> str:
        """Without colours and moves of the cursor, which are the table's own."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.data.decode(errors="replace"))

    async def until(self, pattern: str) -> re.Match[str]:
        async with asyncio.timeout(PATIENCE):
            while (match := re.search(pattern, self.text)) is None:
                assert self.process.poll() is None, self.text
                await asyncio.sleep(0.01)
        return match


@contextlib.asynccontextmanager
async def on_terminal(directory: Path, fleet: dict[str, Any], *flags: str) -> AsyncIterator[Terminal]:
    file = directory / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet))
    temporary = directory / "tmp"
    temporary.mkdir()
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40", "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "weir", "up", str(file), "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment)  # noqa: ASYNC220
    os.close(theirs)
    terminal = Terminal(process)
    reading = asyncio.create_task(asyncio.to_thread(_read, ours, terminal))
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait, PATIENCE)
        terminal.over.set()
        # Whoever is left of its processes may not hold the terminal: then this would not end.
        await asyncio.wait_for(reading, PATIENCE)


def _read(descriptor: int, terminal: Terminal) -> None:
    with os.fdopen(descriptor, "rb", buffering=0) as reader, contextlib.suppress(OSError):  # how Linux tells of the end
        while chunk := reader.read(65536):
            terminal.data += chunk
            if terminal.deaf:
                terminal.over.wait()


async def test_lines_of_an_app_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    async with on_terminal(tmp_path, fleet(chatty())) as terminal:
        await terminal.until(r"web/1 \| \[2Jtorn")
        assert f"web/1 | {TOLD}" in terminal.text
        assert "web/1 | 2Jsplit" in terminal.text
        # A terminal gets CR LF, and the table moves the cursor.
        assert not acting(terminal.text.replace("\r", ""), lines=True)
        for sequence in (b"\xc2\x9b", b"\x1b[2J\x1b", b"\x1b]0;", b"\xe2\x80\xae", b"\xe2\x80\xa8"):
            assert sequence not in terminal.data
        # What hides text ends with its line.
        assert b"\x1b[8mhidden\x1b[0m" in terminal.data


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_nor_to_a_log(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with running_up(tmp_path, fleet(chatty()), *flags) as up:
        await up.logs("web/1 | [2Jtorn")
        await up.logs(f"web/1 | {TOLD}\x1b[8mhidden\x1b[0m\n")
        assert not acting(up.log, colours=True, lines=True)


# Lines without end.

YES = f"yes & {ECHO}"
ROUNDS = 20
NOISE = 10.0
"""How many times as long a request may take beside an app that prints without end, and has a processor of a shared machine."""
SLACK = 0.05
"""Seconds, where a quiet request takes a few milliseconds: far from the ten seconds for which one read could stop them all."""


async def _seconds(port: int) -> float:
    """Of a request, the median of some."""
    answers = [await fetch(port, "web.localhost", timeout=PATIENCE) for _ in range(ROUNDS)]
    assert {answer.status for answer in answers} == {200}
    return statistics.median(answer.seconds for answer in answers)


@pytest.mark.parametrize("loud", [1, 5])
async def test_an_app_that_prints_without_end_slows_nobodys_requests(tmp_path: Path, loud: int) -> None:
    names = [f"loud{number}" for number in range(loud)]
    apps = fleet(app("web", min=1), *(app(name, command=YES) for name in names))
    async with on_terminal(tmp_path, apps) as terminal:
        port = int((await terminal.until(r"curl http://web\.localhost:(\d+)"))[1])
        await terminal.until(r"web +1/1 ")
        quiet = await _seconds(port)
        assert {(await fetch(port, f"{name}.localhost")).status for name in names} == {200}
        await terminal.until(r"loud0/1 \| … [\d,]+ lines left out")
        beside = await _seconds(port)
        await terminal.until(r"(?s)(left out.*){3}")
        assert beside < NOISE * quiet + SLACK
        terminal.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(terminal.process.wait, PATIENCE) == 0


async def test_nor_do_its_lines_get_lost_where_a_log_is_read_slowly(tmp_path: Path) -> None:
    """More than may wait for a reader, and the reader takes a piece at a time: the app waits for it."""
    count = 60_000
    last = f"web/1 | {count:0200}\n".encode()
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet(app("web", command=f"seq -f %0200g {count}; {ECHO}", min=1))))
    command = [sys.executable, "-m", "weir", "up", str(file), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: ASYNC220
    with process:
        try:
            data = await asyncio.wait_for(asyncio.to_thread(_read_slowly, process, last), 3 * PATIENCE)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        finally:
            process.kill()
    told = re.findall(rb"(?m)^web/1 \| (\d{200})$", data)
    assert [int(number) for number in told] == list(range(1, count + 1))


def _read_slowly(process: subprocess.Popen[bytes], last: bytes) -> bytes:
    assert process.stderr is not None
    data = bytearray()
    while last not in data[-200_000:]:
        data += os.read(process.stderr.fileno(), 16 * 1024)
        time.sleep(0.004)
    return bytes(data)


# Two signals.

DEAF = f"trap '' TERM; {ECHO.removeprefix('exec ')} & while :; do wait; sleep 0.1; done"


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_a_second_signal_leaves_no_process(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """The engine exits at once, with an open request; its reaper ends what is left, whoever does not listen included."""
    async with running_up(tmp_path, fleet(app("web", min=1), app("deaf", command=DEAF, min=1)), *flags) as up:
        await until(lambda: len(up.backends("web")) == len(up.backends("deaf")) == 1)
        asking = asyncio.create_task(fetch(up.port, "web.localhost", Gate(tmp_path).path))
        await up.until_value("web", 1.0)
        processes = up.processes()
        assert len(processes) >= 4
        up.process.send_signal(signal.SIGINT)
        await up.logs("SIGINT: shutting down")
        assert up.process.poll() is None
        assert await up.stop(signal.SIGINT) == 128 + signal.SIGINT
        await until(lambda: all(gone(pid) for pid in processes))
        await asyncio.gather(asking, return_exceptions=True)


async def test_nor_a_terminal_without_its_cursor_nor_a_directory(tmp_path: Path) -> None:
    async with on_terminal(tmp_path, fleet(app("web", min=1))) as terminal:
        port = int((await terminal.until(r"curl http://web\.localhost:(\d+)"))[1])
        await terminal.until(r"web +1/1 ")
        (directory,) = (each for each in (tmp_path / "tmp").iterdir() if each.suffix != ".run")
        asking = asyncio.create_task(fetch(port, "web.localhost", Gate(tmp_path).path))
        await terminal.until(r"web +1/1 +0 +1 ")
        processes = [process.pid for process in psutil.Process(terminal.process.pid).children(recursive=True)]
        terminal.process.send_signal(signal.SIGINT)
        await terminal.until("SIGINT: shutting down")
        terminal.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(terminal.process.wait, PATIENCE) == 128 + signal.SIGINT
        await until(lambda: all(gone(pid) for pid in processes) and not directory.exists())
        await asyncio.gather(asking, return_exceptions=True)
    assert terminal.data.count(b"\x1b[?25l") > 0
    assert terminal.data.rfind(b"\x1b[?25h") > terminal.data.rfind(b"\x1b[?25l")
    assert "second signal (SIGINT): ending at once" in terminal.text


async def _in_flight(state: Path) -> None:
    """Until a request is at the app, of which the terminal tells nothing any more."""
    components = json.loads((state / "components.json").read_text())
    (port,) = (component["diagnostics_port"] for component in components if component["kind"] == "interceptor")
    async with asyncio.timeout(PATIENCE):
        while '"in_flight":1' not in (await fetch(port, "localhost", "/queue")).body:
            pass


async def test_a_second_signal_ends_it_though_nobody_reads_the_terminal(tmp_path: Path) -> None:
    # A terminal keeps a few thousand bytes for who does not read: much less than the table and these lines together.
    loud = app("web", command=f"while :; do printf '%0900d\\n' 0; sleep 0.02; done & {ECHO}", min=1)
    state = tmp_path / "state"
    async with on_terminal(tmp_path, fleet(loud), "--state-dir", str(state)) as terminal:
        port = int((await terminal.until(r"curl http://web\.localhost:(\d+)"))[1])
        terminal.deaf = True
        asking = asyncio.create_task(fetch(port, "web.localhost", Gate(tmp_path).path))
        await _in_flight(state)
        processes = [process.pid for process in psutil.Process(terminal.process.pid).children(recursive=True)]
        while terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.05)
        assert terminal.process.returncode == 128 + signal.SIGINT
        await until(lambda: all(gone(pid) for pid in processes))
        await asyncio.gather(asking, return_exceptions=True)
