"""What a shell is told by `weir completion`, and what it gets by asking."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

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
