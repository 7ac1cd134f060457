"""Which applications are checked, and when; what is kept. The checks are simulated, the pauses are very short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controller import reachability_tracker
from controller.finding import Finding
from controller.reachability import Demand, Evidence, PodFacts, ServiceFacts, Workload
from controller.reachability_evidence import Subject
from controller.reachability_reports import merged
from controller.reachability_tracker import LOOK_AFTER_SECONDS, Tracker
from fleet.routing.route import Target
from protos.weir.interceptor.v1.waiting_pb2 import WaitingApp
from tests.support.waiting import until

APP = "shop/web"
WAITS = Demand(held=1, held_seconds=LOOK_AFTER_SECONDS)
UNREADY = Evidence(
    ServiceFacts("web", selector={"app": "web"}),
    Workload("Deployment", "web", replicas=1),
    (PodFacts("web-1"),),
    (PodFacts("web-1"),),
)
READY = Evidence(ServiceFacts("web", endpoints=1, at_port=1, ready=1))


class World:
    """The existing objects, and the number of checks."""

    def __init__(self) -> None:
        self.evidence = UNREADY
        self.target: Target | None = Target("shop/web", 80)
        self.looks: list[str] = []
        self.news: list[str] = []

    def subject(self, app: str) -> Subject | None:
        return None if self.target is None else Subject("shop", self.target)

    async def look(self, subject: Subject) -> Evidence:
        self.looks.append(subject.target.service)
        return self.evidence


@asynccontextmanager
async def tracking(world: World) -> AsyncIterator[Tracker]:
    tracker = Tracker(subject=world.subject, look=world.look, on_finding=world.news.append)
    tracker.start()
    try:
        yield tracker
    finally:
        await tracker.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_tracker, "FIRST_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(reachability_tracker, "LONGEST_AGAIN_SECONDS", 0.01)


async def test_a_wait_that_is_usual_is_not_looked_into() -> None:
    world = World()
    async with tracking(world) as tracker:
        tracker.observe({APP: Demand(held=1, held_seconds=LOOK_AFTER_SECONDS - 0.1)})
        assert len(tracker) == 0
        tracker.observe({APP: WAITS})
        await until(lambda: world.news)
        assert world.looks == ["shop/web"]
        found = tracker.finding(APP)
        assert found is not None
        assert (found.status, found.reason) == ("Unknown", "PodsNotReady")


async def test_requests_that_do_not_wait_are_looked_into() -> None:
    world = World()
    async with tracking(world) as tracker:
        tracker.observe({APP: Demand(unserved=9, unserved_seconds=LOOK_AFTER_SECONDS - 0.1)})
        assert len(tracker) == 0
        tracker.observe({APP: Demand(unserved=9, unserved_seconds=LOOK_AFTER_SECONDS)})
        await until(lambda: world.news)
        found = tracker.finding(APP)
        assert found is not None
        assert found.reason == "PodsNotReady"


async def test_one_look_for_many_reports_and_another_when_requests_waited_in_vain() -> None:
    world = World()
    async with tracking(world) as tracker:
        for _ in range(50):
            tracker.observe({APP: WAITS})
        await until(lambda: world.news)
        for _ in range(50):
            tracker.observe({APP: WAITS})
        tracker.observe({APP: Demand(timed_out=1, timed_out_seconds=60)})
        await until(lambda: len(world.news) == 2)
        assert len(world.looks) == 2
        found = tracker.finding(APP)
        assert found is not None
        assert (found.status, found.message) == ("False", "1 request waited 60 s: Deployment web has 1 pod, 0 ready")


async def test_what_interceptors_say_is_ready_is_believed_at_once_and_forgotten_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_tracker, "REFRESH_SECONDS", 0.01)
    world = World()
    async with tracking(world) as tracker:
        tracker.observe({APP: WAITS})
        await until(lambda: world.news)
        tracker.observe({APP: Demand(held=1, held_seconds=9, ready=1)})
        found = tracker.finding(APP)
        assert found is not None
        assert found.status == "True"
        assert world.news == [APP, APP]
        await until(lambda: len(tracker) == 0)


@pytest.mark.usefixtures("quick")
async def test_a_look_that_was_planned_before_the_recovery_does_not_forget_it(quick: None) -> None:
    world = World()
    async with tracking(world) as tracker:
        tracker.observe({APP: WAITS})
        await until(lambda: len(world.looks) > 1)
        tracker.observe({APP: Demand(ready=1)})
        await asyncio.sleep(0.05)  # several times the pause between looks: nothing tells that one was left out
        found = tracker.finding(APP)
        assert found is not None
        assert (found.status, found.reason) == ("True", "BackendsReady")


async def test_what_is_mended_while_nobody_asks_is_found_out(quick: None) -> None:
    world = World()
    async with tracking(world) as tracker:
        tracker.observe({APP: WAITS})
        await until(lambda: world.news)
        tracker.observe({})
        world.evidence = READY
        await until(lambda: (found := tracker.finding(APP)) is not None and found.status == "True")


@pytest.mark.usefixtures("quick")
async def test_an_app_that_sleeps_gets_no_new_finding_and_is_not_checked_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_tracker, "MAX_LOOKS_AFTERWARDS", 3)
    world = World()
    async with tracking(world) as tracker:
        before = Finding("False", "CrashLoop", "as another controller found it")
        tracker.adopt(APP, before)
        await until(lambda: len(world.looks) == 3 and not len(tracker._queue))
        assert tracker.finding(APP) == before
        assert world.news == []


async def test_a_finding_about_another_target_does_not_hold() -> None:
    world = World()
    async with tracking(world) as tracker:
        tracker.observe({APP: WAITS})
        await until(lambda: world.news)
        world.target = Target("shop/other", 80)
        assert tracker.finding(APP) is None
        await until(lambda: len(world.news) == 2)
        assert world.looks == ["shop/web", "shop/other"]
        world.target = None
        assert tracker.finding(APP) is None
        await until(lambda: len(tracker) == 0)


async def test_that_all_is_well_is_told_of_one_that_was_mended_by_becoming_another() -> None:
    world = World()
    async with tracking(world) as tracker:
        tracker.observe({APP: WAITS})
        await until(lambda: world.news)
        world.target = Target("shop/other", 80)
        assert tracker.finding(APP) is None
        tracker.observe({APP: Demand(ready=1)})
        found = tracker.finding(APP)
        assert found is not None
        assert (found.status, found.reason) == ("True", "BackendsReady")
        world.target = Target("shop/third", 80)
        assert tracker.finding(APP) == found, "that it has backends is no guess from what it was"


async def test_what_is_tracked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_tracker, "MAX_TRACKED", 3)
    world = World()
    async with tracking(world) as tracker:
        tracker.observe({f"shop/{number}": WAITS for number in range(10)})
        tracker.adopt("shop/more", Finding("False", "CrashLoop", ""))
        assert len(tracker) == 3
        await asyncio.sleep(0)


def test_what_several_interceptors_tell() -> None:
    one = WaitingApp(app=APP, held=2, held_seconds=3, timed_out=1, timed_out_seconds=60, listed=2, ready=1, unserved=2)
    two = WaitingApp(app=APP, held=1, held_seconds=5, listed=1, last_error="Connection refused", unserved=1, unserved_seconds=7)
    other = WaitingApp(app="shop/other", held=1)
    assert merged([[one, other], [two]]) == {
        APP: Demand(3, 5.0, 1, 60.0, 2, 0, "Connection refused", 3, 7.0),
        "shop/other": Demand(held=1),
    }
