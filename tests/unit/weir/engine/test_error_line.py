"""The message about a process that has ended."""

from __future__ import annotations

import pytest

from weir.engine.error_line import error_line

PYTHON = """Traceback (most recent call last):
  File "app.py", line 1, in <module>
    import nothing_error
ModuleNotFoundError: No module named 'nothing'
"""
NODE = """node:internal/modules/cjs/loader:1228
  throw err;
  ^

Error: Cannot find module '/srv/app.js'
    at Module._resolveFilename (node:internal/modules/cjs/loader:1225:15)
    at Function.onError (node:internal/modules/cjs/loader:1051:27) {
  code: 'MODULE_NOT_FOUND',
}

Node.js v22.1.0
"""


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (PYTHON, "ModuleNotFoundError: No module named 'nothing'"),
        (NODE, "Error: Cannot find module '/srv/app.js'"),
        ("panic: no database\n\ngoroutine 1 [running]:\nexit status 2\n", "panic: no database"),
        ("/bin/sh: 1: serve: not found", "/bin/sh: 1: serve: not found"),
        ("starting\nbye\n\n", "bye"),
        ("", ""),
        ("\x1b[31merror: \x1b[1mred\x1b[0m\x07 and\rmore", "error: red and more"),
    ],
)
def test_the_line_that_names_the_error(written: str, told: str) -> None:
    assert error_line(written.split("\n")) == told


def test_a_line_has_a_bound() -> None:
    assert len(error_line(["error " + "x" * 100_000])) == 300
