"""What a shell is told by `weir completion`, and what it gets by asking."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from weir.apps import names as module
from weir.apps.names import names
from weir.cli import app


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_commands(shell: str) -> None:
    written = CliRunner().invoke(app, ["completion", shell])
    assert written.exit_code == 0
    assert "_WEIR_COMPLETE" in written.stdout
    environment = {**os.environ, "_WEIR_COMPLETE": f"complete_{shell}", "COMP_WORDS": "weir re", "COMP_CWORD": "1"}
    environment |= {"_TYPER_COMPLETE_ARGS": "weir re", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    command = [sys.executable, "-c", "import sys; sys.argv = ['weir']; from weir.cli import main; main()"]
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert "restart" in asked.stdout
    assert "explain" not in asked.stdout


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        typed = {"server": f"http://127.0.0.1:{silent.getsockname()[1]}", "token": "t", "output": "text", "name": None}
        assert names(typed, "w") == []
        assert time.monotonic() - began < 60
