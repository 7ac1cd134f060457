"""Logging of a process: to standard error, as lines for people or as JSON for collectors.

May not write to standard output, which belongs to the command, and may not be called by a library.
"""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from fleet.runtime.settings import SettingsError

__all__ = ["configure_logging"]

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(level: str = "INFO", json: bool = False) -> None:
    """Send the log of the whole process to standard error. Raises SettingsError for an unknown level."""
    name = level.upper()
    if name not in _LEVELS:
        raise SettingsError(f"log level {level!r} is none of {', '.join(_LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if json else _text_formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(name)
    # asyncio tells at DEBUG which selector it took and at INFO nothing that an operator could use.
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, root.level))


def _text_formatter() -> logging.Formatter:
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
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
        return msgspec.json.encode(line, enc_hook=str).decode()
