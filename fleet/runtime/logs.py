"""Logging of a process: to standard error, as lines for people or as JSON for collectors.

May not write to standard output, which belongs to the command, and may not be called by a library. What a log is read with is
often a terminal, and what is in a line may come from anybody: see terminal.py.
"""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from json import dumps
from typing import Any

import msgspec

from fleet.runtime.settings import SettingsError
from fleet.runtime.terminal import escaped, one_line, shown

__all__ = ["LEVELS", "LineFormatter", "configure_logging"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(level: str = "INFO", json: bool = False) -> None:
    """Send the log of the whole process to standard error. Raises SettingsError for an unknown level."""
    name = level.upper()
    if name not in LEVELS:
        raise SettingsError(f"log level {level!r} is none of {', '.join(LEVELS).lower()}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if json else _text_formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(name)
    # asyncio tells at DEBUG which selector it took and at INFO nothing that an operator could use.
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))


class LineFormatter(logging.Formatter):
    """A line for each record, whatever is in it; of a failure, the lines of its trace follow and are indented, so that nothing
    that somebody else has written can pass for a record."""

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        lines = [one_line(self.formatMessage(record))]
        if record.exc_info:
            lines += shown(self.formatException(record.exc_info)).split("\n")
        if record.stack_info:
            lines += shown(self.formatStack(record.stack_info)).split("\n")
        return "\n    ".join(lines)


def _text_formatter() -> logging.Formatter:
    formatter = LineFormatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    return formatter


class _JsonFormatter(logging.Formatter):
    """One JSON object a line; what was given as `extra` becomes fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        line |= {"time": moment, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return escaped(_encoded(line)).decode()


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(line, enc_hook=str)
    except UnicodeEncodeError:
        # A name of bytes that are no text: it is told in pieces that are none, instead of nothing at all.
        return dumps(msgspec.to_builtins(line, enc_hook=str)).encode()
