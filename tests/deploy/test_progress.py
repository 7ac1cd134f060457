"""How far a long command is, told while it runs; what goes wrong in it is not swallowed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRESS = ROOT / "tools" / "progress"


def _told(lines: list[str], *total: str) -> list[str]:
    command = [str(PROGRESS), "setup", "^Collecting", "^ |^Using", *total]
    run = subprocess.run(command, input="\n".join([*lines, ""]), capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == ""
    return [line.rpartition(",")[0] or line for line in run.stderr.splitlines()]


def test_the_count_is_reported_in_between_and_in_the_end() -> None:
    lines = [line for number in range(120) for line in (f"Collecting a{number}", "  Using cached a")]
    assert _told(lines, "130") == [f"setup: {count} of 130 packages" for count in (50, 100, 120)]
    assert _told(lines[:2]) == ["setup: 1 packages"]


def test_what_is_neither_counted_nor_noise_goes_on() -> None:
    assert _told(["ERROR: no network", "Using cached b", "Collecting a"]) == ["ERROR: no network", "setup: 1 packages"]


@pytest.mark.parametrize("script", ["setup", "clients"])
def test_a_failure_behind_the_count_is_a_failure(script: str) -> None:
    text = (ROOT / "tools" / script).read_text()
    assert "set -euo pipefail" in text
    assert "tools/progress" in text
