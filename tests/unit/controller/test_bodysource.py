"""The ConfigMaps of answers: the requested ones, their content, and why others are not available."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller import bodysource
from controller.bodies import Absent
from controller.bodysource import BodySource
from fleet.discovery.kubernetes.client import FETCHED_ALONE, ApiError, Query
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.discovery.kubernetes.objects import ConfigMap
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until

MAPS = "/api/v1/namespaces/shop/configmaps"
LABELS = {"labels": {"http.keda.sh/response-body": "true"}}
NONE = Absent("there is none with the label http.keda.sh/response-body: true")


class Rig:
    def __init__(self, api: MemoryApi) -> None:
        self.api = api
        self.changes = 0
        timing = Timing(first_pause=0.01, longest_pause=0.05)
        self.source = BodySource(api, (), timing=timing, on_change=self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def put(self, name: str, metadata: Any = LABELS, **data: str) -> None:
        self.api.put(f"{MAPS}/{name}", data=data, metadata=metadata)

    @property
    def kept(self) -> list[str]:
        return [key for key, found in self.source.bodies().items() if isinstance(found, ConfigMap)]

    async def until_is(self, name: str, found: ConfigMap | Absent) -> None:
        await until(lambda: self.source.bodies().get(f"shop/{name}") == found)


@asynccontextmanager
async def rigged() -> AsyncIterator[Rig]:
    rig = Rig(MemoryApi())
    try:
        yield rig
    finally:
        await rig.source.close()


async def test_what_is_wanted_is_known_and_followed() -> None:
    async with rigged() as rig:
        rig.put("page", a="1")
        rig.put("other", a="1")
        rig.source.want({"shop/page"})
        assert rig.source.bodies() == {}, "it is not known yet"
        await rig.source.known(5)
        assert rig.source.bodies() == {"shop/page": ConfigMap({"a": "1"})}
        rig.put("page", a="2")
        await rig.until_is("page", ConfigMap({"a": "2"}))
        changes = rig.changes
        rig.put("other", a="2")
        rig.put("page", a="3")
        await rig.until_is("page", ConfigMap({"a": "3"}))
        assert rig.changes == changes + 1, "the other one is none of its business"


async def test_what_is_not_there_comes_and_goes_with_its_label() -> None:
    async with rigged() as rig:
        rig.put("page", metadata={}, a="1")
        rig.source.want({"shop/page"})
        await rig.until_is("page", NONE)
        rig.put("page", a="1")
        await rig.until_is("page", ConfigMap({"a": "1"}))
        rig.put("page", metadata={"labels": {}}, a="1")
        await rig.until_is("page", NONE)


@pytest.mark.parametrize("name", ["a,b", "a=b", "../x", "A", "a b"])
async def test_a_name_that_none_can_have_keeps_those_of_others_away_from_nobody(name: str) -> None:
    """For the API server it is a selector, which it refuses, or understands as something else."""
    async with rigged() as rig:
        get = rig.api.get

        async def strict(path: str, query: Query = ()) -> bytes:
            selector = dict(query).get("fieldSelector", "metadata.name=x").removeprefix("metadata.name=")
            if not selector.isalnum():
                raise ApiError("invalid selector", status=400)
            return await get(path, query)

        rig.api.get = strict  # type: ignore[method-assign]
        rig.put("page", a="1")
        rig.source.want({f"a/{name}", "shop/page", f"z/{name}"})
        await rig.until_is("page", ConfigMap({"a": "1"}))
        assert rig.source.bodies()[f"a/{name}"] == NONE


@pytest.mark.parametrize("count", [1, FETCHED_ALONE + 1])
async def test_what_is_wanted_later_is_asked_for(count: int) -> None:
    async with rigged() as rig:
        names = [f"page{number}" for number in range(count)]
        for name in ["first", *names]:
            rig.put(name, a=name)
        rig.source.want({"shop/first"})
        await rig.source.known(5)
        rig.source.want({"shop/first", *(f"shop/{name}" for name in names)})
        for name in names:
            await rig.until_is(name, ConfigMap({"a": name}))


async def test_what_is_not_wanted_any_more_is_not_kept() -> None:
    async with rigged() as rig:
        rig.put("page", a="1")
        rig.source.want({"shop/page"})
        await rig.source.known(5)
        rig.source.want(())
        assert rig.source.bodies() == {}
        rig.put("page", a="2")
        rig.source.want({"shop/page"})
        await rig.until_is("page", ConfigMap({"a": "2"}))


async def test_a_server_that_refuses_is_the_reason_until_it_does_not() -> None:
    async with rigged() as rig:
        rig.put("page", a="1")
        answer = rig.api.get
        rig.api.get = _refusing  # type: ignore[method-assign]
        rig.source.want({"shop/page"})
        await rig.until_is("page", Absent("forbidden", temporary=True))
        rig.api.get = answer  # type: ignore[method-assign]
        await rig.until_is("page", ConfigMap({"a": "1"}))


async def _refusing(path: str, query: Any = ()) -> bytes:
    raise ApiError("forbidden", status=403)


async def test_a_server_that_says_nothing_is_not_waited_for_long() -> None:
    async with rigged() as rig:
        rig.api.slow = {MAPS: asyncio.Event(), "/api/v1/configmaps": asyncio.Event()}
        rig.source.want({"shop/page"})
        await rig.source.known(0.05)
        assert rig.source.bodies() == {}


async def test_there_is_a_bound_for_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodysource, "MAX_KEPT_BYTES", 10)
    async with rigged() as rig:
        rig.put("first", a="x" * 8)
        rig.source.want({"shop/first"})
        await rig.until_is("first", ConfigMap({"a": "x" * 8}))
        rig.put("second", a="y" * 8)
        rig.source.want({"shop/first", "shop/second"})
        await rig.until_is("second", Absent("those of all objects together are more than 10 bytes"))
        rig.put("first", a="x")
        await rig.until_is("second", ConfigMap({"a": "y" * 8}))


async def test_bodies_that_are_not_wanted_any_more_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodysource, "MAX_KEPT_BYTES", 10)
    async with rigged() as rig:
        for name in ("first", "second"):
            rig.put(name, a="x" * 8)
        rig.source.want({"shop/first", "shop/second"})
        await rig.source.known(5)
        (first,) = rig.kept
        rig.source.want({"shop/first", "shop/second"} - {first})
        await until(lambda: rig.kept not in ([], [first]))
