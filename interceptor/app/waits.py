"""Applications whose requests wait for a backend or reached their time limit, for the controller and for the log. No I/O except
logging.

Called only when a request finds no ready backend, so it costs a warm request nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from fleet.discovery.sources import Trouble
from interceptor.app.waiting import WaitingRoom

__all__ = ["LOG_SECONDS", "MAX_REPORTED", "REPORT_AFTER_SECONDS", "WaitReport", "Waits"]

REPORT_AFTER_SECONDS: Final = 2.0
"""A shorter wait is an ordinary cold start and is not reported."""
KEEP_SECONDS: Final = 600.0
"""Seconds for which requests that reached their time limit are reported after the last of them."""
MAX_REPORTED: Final = 1000
"""Maximum applications in one report, those with the longest waits: about 60 KB."""
RECOVERY_SECONDS: Final = 5.0
"""Seconds for which a recovered application is still reported, so that several reports contain the recovery."""
LOG_SECONDS: Final = 60.0
"""Seconds between two warnings about one application."""

_log = logging.getLogger(__name__)


class _Endpoints(Protocol):
    last_error: str
    trouble: Trouble | None

    def __len__(self) -> int: ...
    @property
    def ready(self) -> Sequence[object]: ...


class _App(Protocol):
    """The attributes of an application that are read here."""

    name: str
    removed: bool

    @property
    def room(self) -> WaitingRoom[Any]: ...
    @property
    def endpoints(self) -> _Endpoints: ...


class WaitReport(msgspec.Struct, frozen=True, gc=False):
    """One application: WaitingApp of the contract, in seconds."""

    app: str
    held: int
    held_seconds: float
    timed_out: int
    timed_out_seconds: float
    listed: int
    ready: int
    last_error: str
    unserved: int = 0
    unserved_seconds: float = 0.0
    trouble_kind: str = ""
    trouble: str = ""


class _Record:
    """The data of one application until it has a backend again."""

    __slots__ = ("last_at", "last_seconds", "over_at", "reported", "timed_out", "unserved", "unserved_from", "unserved_until")

    def __init__(self) -> None:
        self.timed_out = 0
        self.last_at = 0.0
        self.last_seconds = 0.0
        self.unserved = 0
        self.unserved_from = self.unserved_until = 0.0
        self.reported = False
        self.over_at = math.inf


class Waits:
    """The applications of one interceptor. At most one record per application."""

    def __init__(self) -> None:
        self._records: dict[_App, _Record] = {}
        self._logs: dict[str, tuple[float, int]] = {}
        """When an application was last logged, and how many requests reached their time limit since."""

    def __len__(self) -> int:
        return len(self._records)

    def began(self, app: _App) -> None:
        """Its first request waits."""
        if app not in self._records:
            self._records[app] = _Record()

    def note_timeout(self, app: _App, seconds: float, why: str, now: float) -> None:
        """One of its requests has waited `seconds` and found no backend."""
        record = self._records.setdefault(app, _Record())
        record.timed_out += 1
        record.last_at, record.last_seconds = now, seconds
        self._warn(app, seconds, why, now)

    def unserved(self, app: _App, now: float) -> None:
        """One of its requests got no backend without reaching its time limit: it was answered locally, or its client
        disconnected."""
        if app.endpoints.ready:
            return
        record = self._records.setdefault(app, _Record())
        if not record.unserved:
            record.unserved_from = now
        record.unserved += 1
        record.unserved_until = now + KEEP_SECONDS

    def forget(self, app: _App) -> None:
        """It has recovered, or was removed."""
        self._records.pop(app, None)

    def report(self, now: float) -> tuple[WaitReport, ...]:
        """Applications in trouble now, the longest waits first; a recovered one for some seconds more."""
        reports = (self._report_of(app, record, now) for app, record in list(self._records.items()))
        found = [one for one in reports if one is not None]
        self._forget_logs(now)
        found.sort(key=_longest, reverse=True)
        return tuple(found[:MAX_REPORTED])

    def _report_of(self, app: _App, record: _Record, now: float) -> WaitReport | None:
        held_seconds = max(0.0, now - app.room.since) if app.room else 0.0
        failed = record.timed_out > 0 and not app.endpoints.ready and now < record.last_at + KEEP_SECONDS
        if app.endpoints.ready or now >= record.unserved_until:
            record.unserved = 0
        unserved_seconds = now - record.unserved_from if record.unserved else 0.0
        if max(held_seconds, unserved_seconds) >= REPORT_AFTER_SECONDS or failed:
            record.reported, record.over_at = True, math.inf
        elif not record.reported:
            if not app.room and not record.unserved:
                self.forget(app)
            return None
        else:
            record.over_at = min(record.over_at, now)
            if now >= record.over_at + RECOVERY_SECONDS:
                self.forget(app)
                return None
        return _report(app, record, held_seconds, unserved_seconds)

    def _warn(self, app: _App, seconds: float, why: str, now: float) -> None:
        last, since = self._logs.get(app.name, (-LOG_SECONDS, 0))
        since += 1
        if now < last + LOG_SECONDS:
            self._logs[app.name] = (last, since)
            return
        self._logs[app.name] = (now, 0)
        counted = "a request" if since == 1 else f"{since} requests"
        listed, ready = len(app.endpoints), len(app.endpoints.ready)
        _log.warning(
            "application %s: %s waited %.3g s in vain: %s (%d listed, %d ready)", app.name, counted, seconds, why, listed, ready
        )

    def _forget_logs(self, now: float) -> None:
        if len(self._logs) > len(self._records):
            self._logs = {name: last for name, last in self._logs.items() if now < last[0] + LOG_SECONDS}


def _report(app: _App, record: _Record, held_seconds: float, unserved_seconds: float) -> WaitReport:
    endpoints, trouble = app.endpoints, app.endpoints.trouble
    return WaitReport(
        app=app.name,
        held=len(app.room),
        held_seconds=held_seconds,
        timed_out=record.timed_out,
        timed_out_seconds=record.last_seconds,
        listed=len(endpoints),
        ready=len(endpoints.ready),
        last_error=endpoints.last_error if len(endpoints) else "",
        unserved=record.unserved,
        unserved_seconds=unserved_seconds,
        trouble_kind="" if trouble is None else trouble.kind,
        trouble="" if trouble is None or not trouble.kind else trouble.reason,
    )


def _longest(one: WaitReport) -> tuple[float, int]:
    return max(one.held_seconds, one.timed_out_seconds, one.unserved_seconds), one.timed_out
