"""Failures of tests on the terminal when they happen: a run that is cut off has no summary."""

import time

import pytest

__all__ = ["Failures"]

LONGEST_REASON = 400
"""Characters of an error that are printed."""


class Failures:
    """A plugin of pytest, for the process that has the terminal."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.write_line(f"\n{line_of(report)}")


def line_of(report: pytest.TestReport) -> str:
    """When, which test, in which phase, how long it had taken, and the first line of the error."""
    crash = getattr(report.longrepr, "reprcrash", None)
    reason = str(getattr(crash, "message", None) or report.longrepr or "").strip().partition("\n")[0]
    at = time.strftime("%H:%M:%S", time.gmtime())
    return f"{at} failed after {report.duration:.0f} s ({report.when}): {report.nodeid}: {reason[:LONGEST_REASON]}"
