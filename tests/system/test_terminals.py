"""What a terminal gets of `weir up`: a real one, and an app that writes what it likes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.acting import acting
from tests.system.harness import ECHO, PATIENCE, app, fleet, running_up, until

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
        await until(lambda: "web/1 | [2Jtorn" in up.log)
        assert f"web/1 | {TOLD}\x1b[8mhidden\x1b[0m\n" in up.log
        assert not acting(up.log, colours=True, lines=True)
