"""Notices with one reason are reported once a minute: as an Event, and warnings as a line of the log."""

from __future__ import annotations

import logging
import re

import pytest

from controller.events import REPEAT_SECONDS, EventRecorder, Notice, event
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until
from tests.unit.controller.objects import http

EVENT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.")
"""Valid beginnings of object names: RFC 1123, by labels."""
WARNING = Notice("CrashLoop", "a container of web-1 has ended 3 times", warning=True)


async def test_a_warning_is_not_repeated_and_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    api, now = MemoryApi(), [0.0]
    recorder = EventRecorder(api, "x", clock=lambda: now[0])
    recorder.start()
    try:
        with caplog.at_level(logging.WARNING, "controller.events"):
            for _ in range(10):
                recorder.tell(http(), WARNING)
                recorder.tell(http(), Notice("Serving", "fine"))
            recorder.tell(http("other"), WARNING)
            recorder.tell(http(), Notice("ImageNotPulled", "no such image", warning=True))
            now[0] = REPEAT_SECONDS
            recorder.tell(http(), WARNING)
        await until(lambda: len(api.written("/events")) == 5)
    finally:
        await recorder.close()
    told = [body["reason"] for _, _, body in api.written("/events") if body["type"] == "Warning"]
    assert told == ["CrashLoop", "CrashLoop", "ImageNotPulled", "CrashLoop"]
    assert [record.getMessage() for record in caplog.records] == [
        "HTTPScaledObject shop/web: CrashLoop: a container of web-1 has ended 3 times",
        "HTTPScaledObject shop/other: CrashLoop: a container of web-1 has ended 3 times",
        "HTTPScaledObject shop/web: ImageNotPulled: no such image",
        "HTTPScaledObject shop/web: CrashLoop: a container of web-1 has ended 3 times",
    ]


async def test_an_application_that_goes_up_and_down_fills_no_list() -> None:
    """But the last event always shows the current state."""
    api, now = MemoryApi(), [0.0]
    recorder = EventRecorder(api, "x", clock=lambda: now[0])
    recorder.start()
    try:
        for second in range(0, 600, 5):
            now[0] = float(second)
            recorder.tell(http(), WARNING)
            recorder.tell(http(), Notice("BackendsReady", "fine"))
        await until(lambda: len(api.written("/events")) == 20)
    finally:
        await recorder.close()
    told = [body["reason"] for _, _, body in api.written("/events")]
    assert told == ["CrashLoop", "BackendsReady"] * 10


async def test_a_warning_may_have_the_reason_of_what_was_told_before_it() -> None:
    """An object is Ready with the reason NotScaled, and then a request times out for the same reason."""
    api = MemoryApi()
    recorder = EventRecorder(api, "x", clock=lambda: 0.0)
    recorder.start()
    try:
        recorder.tell(http(), Notice("NotScaled", "routes are served, and nothing scales it"))
        recorder.tell(http(), Notice("NotScaled", "1 request waited 10 s", warning=True))
        await until(lambda: len(api.written("/events")) == 2)
    finally:
        await recorder.close()
    assert [body["type"] for _, _, body in api.written("/events")] == ["Normal", "Warning"]


@pytest.mark.parametrize("end", ["a", "-a", ".a", "--a"])
def test_an_object_of_any_name_can_be_told_about(end: str) -> None:
    """A name is truncated at a character that must not be the last."""
    resource = http(f"{'a' * (201 - len(end))}{end}" + "b" * 40)
    made = event(resource, WARNING, instance="x", now="2026-01-01T00:00:00Z")
    assert EVENT_NAME.fullmatch(made["metadata"]["generateName"])
