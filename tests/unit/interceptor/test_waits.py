"""Reports and log lines about applications whose requests wait, on a manual clock."""

from __future__ import annotations

import logging

import pytest

from fleet.discovery.sources import Trouble
from interceptor.app.waiting import WaitingRoom
from interceptor.app.waits import (
    KEEP_SECONDS,
    LOG_SECONDS,
    MAX_REPORTED,
    RECOVERY_SECONDS,
    REPORT_AFTER_SECONDS,
    WaitReport,
    Waits,
)


class Endpoints(list[str]):
    """The listed backends, and the ready ones."""

    last_error = "Connection refused"
    ready: list[str]
    trouble: Trouble | None = None

    def __init__(self, *listed: str, ready: int = 0) -> None:
        super().__init__(listed)
        self.ready = list(listed)[:ready]


class App:
    def __init__(self, name: str = "shop/web") -> None:
        self.name = name
        self.removed = False
        self.room: WaitingRoom[str] = WaitingRoom(100, 1 << 20)
        self.endpoints = Endpoints()

    def waits(self, waits: Waits, waiter: str, now: float) -> None:
        self.room.enter(waiter, now=now, size=0)
        waits.began(self)


def only(waits: Waits, now: float) -> WaitReport | None:
    found = waits.report(now)
    assert len(found) <= 1
    return found[0] if found else None


def test_a_short_wait_is_nobodys_business() -> None:
    waits, app = Waits(), App()
    app.waits(waits, "one", 10.0)
    assert only(waits, 10.0 + REPORT_AFTER_SECONDS - 0.1) is None
    app.room.leave("one")
    assert only(waits, 11.0) is None
    assert len(waits) == 0


def test_longer_waits_are_reported_with_the_state_of_the_backends() -> None:
    waits, app = Waits(), App()
    app.endpoints = Endpoints("10.0.0.1:80", "10.0.0.2:80")
    app.waits(waits, "one", 10.0)
    app.waits(waits, "two", 12.0)
    assert only(waits, 13.0) == WaitReport("shop/web", 2, 3.0, 0, 0.0, 2, 0, "Connection refused")


def test_requests_that_waited_in_vain_are_counted_until_there_is_a_backend() -> None:
    waits, app = Waits(), App()
    for seconds in (60.0, 61.0):
        waits.note_timeout(app, seconds, "no backend was ready", 100.0)
    told = only(waits, 105.0)
    assert told is not None
    assert (told.held, told.timed_out, told.timed_out_seconds, told.listed, told.last_error) == (0, 2, 61.0, 0, "")
    app.endpoints = Endpoints("10.0.0.1:80", ready=1)
    told = only(waits, 106.0)
    assert told is not None
    assert told.ready == 1
    assert only(waits, 106.0 + RECOVERY_SECONDS - 0.1) == told  # so that each of several watchers gets it
    assert only(waits, 106.0 + RECOVERY_SECONDS) is None
    waits.note_timeout(app, 1.0, "again", 200.0)
    app.endpoints = Endpoints()
    again = only(waits, 200.0)
    assert again is not None
    assert again.timed_out == 1


def test_requests_that_do_not_wait_are_told_of_until_there_is_a_backend() -> None:
    waits, app = Waits(), App()
    waits.unserved(app, 100.0)
    assert only(waits, 100.0 + REPORT_AFTER_SECONDS - 0.1) is None
    waits.unserved(app, 101.0)
    told = only(waits, 103.0)
    assert told is not None
    assert (told.held, told.timed_out, told.unserved, told.unserved_seconds) == (0, 0, 2, 3.0)
    app.endpoints = Endpoints("10.0.0.1:80", ready=1)
    told = only(waits, 104.0)
    assert told is not None
    assert (told.ready, told.unserved) == (1, 0)
    assert only(waits, 104.0 + RECOVERY_SECONDS) is None
    assert len(waits) == 0
    waits.unserved(app, 105.0)
    assert len(waits) == 0, "one that has a backend is nobody's business"


def test_requests_that_do_not_wait_are_forgotten_after_a_while() -> None:
    waits, app = Waits(), App()
    waits.unserved(app, 100.0)
    assert only(waits, 100.0 + KEEP_SECONDS - 0.1) is not None
    assert only(waits, 100.0 + KEEP_SECONDS) is not None  # its farewell
    assert only(waits, 100.0 + KEEP_SECONDS + RECOVERY_SECONDS) is None
    waits.unserved(app, 800.0)
    assert only(waits, 800.0) is None
    app.endpoints = Endpoints("10.0.0.1:80", ready=1)
    assert only(waits, 801.0) is None
    assert len(waits) == 0, "an ordinary cold start"


def test_what_is_long_ago_and_what_is_removed_is_forgotten() -> None:
    waits, app, gone = Waits(), App(), App("shop/gone")
    for each in (app, gone):
        waits.note_timeout(each, 60.0, "no backend was ready", 100.0)
    assert len(waits.report(101.0)) == 2
    waits.forget(gone)
    assert [one.app for one in waits.report(102.0)] == ["shop/web"]
    assert only(waits, 100.0 + KEEP_SECONDS) is not None  # its farewell
    assert only(waits, 100.0 + KEEP_SECONDS + RECOVERY_SECONDS) is None
    assert len(waits) == 0


def test_a_report_is_bounded_and_has_the_longest_waits() -> None:
    waits = Waits()
    for number in range(MAX_REPORTED + 10):
        App(f"shop/{number}").waits(waits, "one", float(number))
    told = waits.report(10_000.0)
    assert [one.app for one in told] == [f"shop/{number}" for number in range(MAX_REPORTED)]


def test_the_log_names_an_application_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    waits, app, other = Waits(), App(), App("shop/other")
    with caplog.at_level(logging.WARNING, "interceptor.app.waits"):
        for number in range(5):
            waits.note_timeout(app, 60.0, "no backend was ready", 100.0 + number)
        waits.note_timeout(other, 60.0, "no backend was ready", 101.0)
        waits.note_timeout(app, 60.0, "no backend was ready", 100.0 + LOG_SECONDS)
    assert [record.getMessage() for record in caplog.records] == [
        "application shop/web: a request waited 60 s in vain: no backend was ready (0 listed, 0 ready)",
        "application shop/other: a request waited 60 s in vain: no backend was ready (0 listed, 0 ready)",
        "application shop/web: 5 requests waited 60 s in vain: no backend was ready (0 listed, 0 ready)",
    ]


def test_what_is_wrong_with_a_target_outside_is_reported() -> None:
    waits, app = Waits(), App()
    app.endpoints = Endpoints()
    app.endpoints.trouble = Trouble("its name does not exist (NXDOMAIN)", hopeless=True, kind="NoAddress")
    waits.note_timeout(app, 0.0, "why", 10.0)
    told = only(waits, 10.0)
    assert told is not None
    assert (told.trouble_kind, told.trouble) == ("NoAddress", "its name does not exist (NXDOMAIN)")
    app.endpoints.trouble = Trouble("ended with exit code 1")  # of a process, which has a page of its own
    told = only(waits, 10.0)
    assert told is not None
    assert (told.trouble_kind, told.trouble) == ("", "")
