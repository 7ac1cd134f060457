"""When Services and workloads are compared. The checks are simulated, the pauses are very short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controller import reachability_survey
from controller.reachability import PodFacts
from controller.reachability_evidence import Subject
from controller.reachability_survey import Survey
from controller.selection import CLEAR, Selection
from controller.selectors import parse_selector
from fleet.discovery.kubernetes.client import ApiError
from fleet.routing.route import Target
from tests.support.waiting import until

APP = "shop/web"
WEB = parse_selector("app=web")
GOOD = Selection("web", {"app": "web"}, "Deployment web", WEB)
OTHERS = Selection("web", {"app": "other"}, "Deployment web", WEB, (PodFacts("other-1", labels={"app": "other"}),))


class World:
    """The existing objects, and the number of checks."""

    def __init__(self) -> None:
        self.subjects: dict[str, Subject] = {}
        self.found: Selection | None = GOOD
        self.fails = 0
        self.looks = 0
        self.news: list[str] = []

    def is_now(self, selector: str, uid: str = "1") -> None:
        self.subjects[APP] = Subject("shop", Target(APP, 80), (("Deployment", "web"),), (("app", selector),), uid)

    async def look(self, subject: Subject) -> Selection | None:
        self.looks += 1
        if self.fails:
            self.fails -= 1
            raise ApiError("away")
        return self.found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_survey, "SPACING_SECONDS", 0.0)
    monkeypatch.setattr(reachability_survey, "UNKNOWN_AGAIN_SECONDS", 0.0)


@asynccontextmanager
async def surveying(world: World) -> AsyncIterator[Survey]:
    survey = Survey(subject=world.subjects.get, look=world.look, on_finding=world.news.append)
    survey.start()
    try:
        yield survey
    finally:
        await survey.close()


async def test_an_application_is_looked_at_once_and_again_when_it_is_another() -> None:
    world = World()
    world.is_now("web")
    async with surveying(world) as survey:
        for _ in range(5):
            survey.observe(APP)
        await until(lambda: survey.finding(APP) == CLEAR)
        survey.observe(APP)
        world.found = OTHERS
        world.is_now("other")
        assert survey.finding(APP) is None, "what was found is about another selector"
        survey.observe(APP)
        await until(lambda: (found := survey.finding(APP)) is not None and found.reason == "SelectsOtherPods")
        assert (world.looks, world.news) == (2, [APP, APP])
        world.is_now("other", uid="2")
        assert survey.finding(APP) is None
        world.subjects.clear()
        survey.observe(APP)
        assert len(survey) == 0


async def test_where_pods_tell_they_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_survey, "FIRST_AGAIN_SECONDS", 0.01)
    world = World()
    world.is_now("other")
    world.found = None
    async with surveying(world) as survey:
        survey.observe(APP)
        await until(lambda: world.looks > 2)
        assert (survey.finding(APP), world.news) == (None, [])
        world.found = OTHERS
        await until(lambda: world.news == [APP])
        world.found = GOOD
        await until(lambda: survey.finding(APP) == CLEAR)
        assert world.news == [APP, APP]


async def test_one_that_cannot_be_compared_is_left_alone_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_survey, "FIRST_AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(reachability_survey, "LONGEST_AGAIN_SECONDS", 0.008)
    world = World()
    world.is_now("web")
    world.found = None
    async with surveying(world) as survey:
        survey.observe(APP)
        await until(lambda: world.looks == 4 and not len(survey._queue))
        world.found = OTHERS
        survey.observe(APP)
        await until(lambda: world.looks > 8)  # pods change all the time


async def test_news_of_one_of_which_nothing_is_known_is_looked_into() -> None:
    """Objects that are applied together arrive one after the other; the workload may be the last."""
    world = World()
    world.is_now("web")
    world.found = None
    async with surveying(world) as survey:
        survey.observe(APP)
        await until(lambda: world.looks == 1)
        world.found = GOOD
        survey.observe(APP)
        await until(lambda: survey.finding(APP) == CLEAR)


async def test_an_api_server_that_is_away_is_asked_again() -> None:
    world = World()
    world.is_now("web")
    world.fails = 1
    async with surveying(world) as survey:
        survey.observe(APP)
        await until(lambda: survey.finding(APP) == CLEAR)
