"""How far a command is, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from weir.apps.progress import Steps


def test_elsewhere_each_step_is_a_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps(console=Console(file=io.StringIO(), force_terminal=False)) as steps:
        for message in ("", "1/2 serve", "1/2 serve", "2/2 \x1b[2Jserve\nforged"):
            steps.tell("waiting", message)
    assert capsys.readouterr().err.splitlines() == ["waiting", "waiting: 1/2 serve", "waiting: 2/2 [2Jserve forged"]


def test_on_a_terminal_a_bar_shows_how_many_of_how_many() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100, color_system=None)
    with Steps(console=console) as steps:
        steps.tell("waiting", "1/2 [bold]interceptors[/bold] serve " + "x" * 200)
        assert steps._shown is not None
        bar, _ = steps._shown
        assert (bar.tasks[0].completed, bar.tasks[0].total) == (1, 2)
        steps.tell("waiting", "0/0 serve")
        steps.tell("ending")
        assert bar.tasks[0].total is None
        bar.refresh()
    assert "[bold]interceptors[/bold]" in shown.getvalue()
    assert "x" * 60 not in shown.getvalue()
    steps.end()


def test_nothing_is_told_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps(quiet=True) as steps:
        steps.tell("waiting")
    assert capsys.readouterr().err == ""
