"""Which Previews are looked at, and that those who come and go leave nothing behind in the controller."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controller.preview.desk import PreviewDesk, _Index
from controller.preview.resource import Preview, parse_preview
from controller.resources import Key
from fleet.discovery.kubernetes.listwatch import Change, Timing
from tests.support.memory_api import MemoryApi
from tests.unit.controller.objects import raw


@pytest.fixture
async def desk() -> AsyncIterator[PreviewDesk]:
    """One that has not been started."""
    made = PreviewDesk(MemoryApi(), (), _World(), _World(), timing=Timing())  # type: ignore[arg-type]
    yield made
    await made.close()


def preview(called: str, **spec: Any) -> Preview:
    return parse_preview(json.dumps(raw(called, spec=spec)).encode())


class _World:
    def get(self, _: Key) -> None:
        return None


def seen(desk: PreviewDesk, before: Any, after: Any) -> None:
    desk._on_preview(Change((before or after).key.app, before, after))


def kept(desk: PreviewDesk) -> int:
    """Groups of all kinds."""
    indexes = [one for one in vars(desk).values() if isinstance(one, _Index)]
    assert len(indexes) == 5
    return sum(map(len, indexes)) + len(desk._shapes) + len(desk._bases)


async def test_bases_names_and_namespaces_that_nobody_has_any_more_take_no_room(desk: PreviewDesk) -> None:
    """Whoever may write Previews may change them without end."""
    first = preview("f1", base="web")
    seen(desk, None, first)
    before, last = kept(desk), first
    for number in range(200):
        now = preview("f1", base=f"web{number}", name=f"n{number}", namespace=f"qa{number}")
        seen(desk, last, now)
        desk.look(now.base)
        last = now
    seen(desk, last, first)
    assert kept(desk) == before
    for number in range(200):
        other = preview(f"p{number}", base=f"b{number}", namespace=f"qa{number}")
        seen(desk, None, other)
        seen(desk, other, None)
    assert kept(desk) == before
    seen(desk, first, None)
    assert kept(desk) == 0


async def test_a_look_at_one_does_not_cost_as_much_as_there_are(desk: PreviewDesk) -> None:
    """Of what is around one, only that is read which may have to do with it."""
    asked: list[str] = []
    there = {}
    for number in range(300):
        one = preview(f"p{number}", base="web")
        there[one.key.app] = one
        seen(desk, None, one)
    same = preview("other", base="api", name="p7")
    there[same.key.app] = same
    seen(desk, None, same)

    def get(key: str) -> Preview:
        asked.append(key)
        return there[key]

    desk.previews.get = get  # type: ignore[method-assign]
    found = [*desk._around(there["shop/p7"])]
    assert {one.meta.name for one in found} == {"p7", "other"}
    assert len(asked) == 2
