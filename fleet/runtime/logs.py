"""Logging of a process: to standard error, as text for people or as JSON for log collectors.

Never writes to standard output, which belongs to the command; must not be called by library code. Logs are often read on a
terminal, and may contain text from others: see terminal.py.
"""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from json import dumps
from typing import Any, Final

import msgspec

from fleet.runtime.settings import SettingsError
from fleet.runtime.terminal import escaped, one_line, shown

__all__ = ["LEVELS", "LineFormatter", "UnknownLogger", "configure_logging", "levels", "set_level"]

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(level: str = "INFO", json: bool = False) -> None:
    """Send the log of the whole process to standard error. Raises SettingsError for an unknown level."""
    name = _named(level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if json else _text_formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    _set_root(name)


class UnknownLogger(Exception):
    """There is no logger of this name. The message is one line."""


def levels() -> dict[str, Any]:
    """The level of the process's log, and of the loggers that have one of their own."""
    own = {
        name: logging.getLevelName(one.level).lower()
        for name, one in sorted(logging.root.manager.loggerDict.items())
        if isinstance(one, logging.Logger) and one.level and name != _ASYNCIO
    }
    return {"level": logging.getLevelName(logging.root.level).lower(), "loggers": own}


def set_level(level: str | None, logger: str = "") -> None:
    """Change the level of the process's log, or of one logger and those below it; None has that logger follow the others again.

    Raises SettingsError for an unknown level, and UnknownLogger: a name is never made a logger, which would stay for ever.
    """
    name = "NOTSET" if logger and level is None else _named(level or "")
    if not logger:
        _set_root(name)
        return
    known = logging.root.manager.loggerDict.get(logger)
    if known is None:
        raise UnknownLogger(f"there is no logger {one_line(logger)!r}")
    logging.getLogger(logger).setLevel(name)


_ASYNCIO: Final = "asyncio"


def _named(level: str) -> str:
    name = level.upper()
    if name not in LEVELS:
        raise SettingsError(f"log level {one_line(level)!r} is none of {', '.join(LEVELS).lower()}")
    return name


def _set_root(name: str) -> None:
    root = logging.getLogger()
    root.setLevel(name)
    # asyncio's DEBUG and INFO messages are of no use to an operator.
    logging.getLogger(_ASYNCIO).setLevel(max(logging.WARNING, root.level))


class LineFormatter(logging.Formatter):
    """One line per record, whatever it contains. The lines of a traceback follow and are indented, so that text from others
    cannot look like a separate record."""

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
    """One JSON object per line; values given as `extra` become fields."""

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
        # A text with lone surrogates, such as an undecodable file name, cannot be encoded by msgspec; the json module escapes it.
        return dumps(msgspec.to_builtins(line, enc_hook=str)).encode()
