"""Previews of what the base of a Preview needs."""

from __future__ import annotations

from typing import Any

import pytest

from controller.preview import companions
from tests.support.elsewhere import PREVIEW, Looks, at, looking
from tests.support.waiting import until

PREVIEWS = PREVIEW.rpartition("/")[0]


async def needing(held: Looks, **needs: list[Any]) -> None:
    """Applications, each with what it needs."""
    for name, others in needs.items():
        target = {"name": name, "service": name, "port": 80}
        spec = {"hosts": [f"{name}.example.com"], "scaleTargetRef": target, "dependsOn": others}
        held.api.put(at("shop", "httpscaledobjects", name), spec=spec)
        wanted = tuple(one if isinstance(one, str) else one["name"] for one in others)
        await until(lambda name=name, wanted=wanted: _known(held, name) == wanted)  # type: ignore[misc]


def _known(held: Looks, name: str) -> tuple[str, ...] | None:
    found = next((one for one in held.world.objects() if one.key.app == f"shop/{name}"), None)
    if found is None or found.spec is None:
        return None
    return tuple(each if isinstance(each, str) else each.name for each in found.spec.depends_on or ())


def made(held: Looks) -> set[str]:
    return {path.rpartition("/")[2] for path in held.api.objects if path.startswith(PREVIEWS) and path != PREVIEW}


async def test_each_has_one_that_belongs_to_it_where_the_copy_is() -> None:
    async with looking(dependencies=True, ttl="9999h", pinned=True) as held:
        await needing(held, web=["api", {"name": "cache", "optional": True}, "gone"], api=["db", "web"], cache=[], db=[])
        await held.settle()
        assert made(held) == {"api--f1", "cache--f1", "db--f1"}, (
            "also what others need, but nothing twice, and not what is not there"
        )
        child = held.api.objects[f"{PREVIEWS}/db--f1"]
        assert child["spec"] == {
            "base": "db", "name": "f1", "namespace": "qa", "ttl": "9999h", "expires": "AfterLastRequest", "pinned": True,
        }  # fmt: skip
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["uid"] == held.api.objects[PREVIEW]["metadata"]["uid"]
        before = len(held.api.writes)
        await held.look()
        assert len(held.api.writes) == before


async def test_they_follow_it_and_go_when_they_are_not_needed() -> None:
    async with looking(dependencies=True) as held:
        await needing(held, web=["api", "db"], api=[], db=[])
        await held.settle()
        assert "ttl" not in held.api.objects[f"{PREVIEWS}/api--f1"]["spec"]
        held.api.put(PREVIEW, spec={"base": "web", "namespace": "qa", "dependencies": True, "ttl": "9999h"})
        await needing(held, web=["api"])
        await held.settle()
        assert made(held) == {"api--f1"}
        assert held.api.objects[f"{PREVIEWS}/api--f1"]["spec"]["ttl"] == "9999h"
        held.api.put(PREVIEW, spec={"base": "web", "namespace": "qa"})
        await held.settle()
        assert made(held) == set()


async def test_one_of_somebody_else_is_used_as_it_is() -> None:
    async with looking(dependencies=True) as held:
        await needing(held, web=["api", "db"], api=[], db=[])
        theirs = {"base": "api", "name": "f1", "overrides": {"image": "api:2"}}
        held.api.put(f"{PREVIEWS}/mine", spec=theirs)
        held.api.put(f"{PREVIEWS}/db--f1", spec={"base": "db", "name": "f1"})
        await held.settle()
        assert made(held) == {"mine", "db--f1"}
        assert held.api.objects[f"{PREVIEWS}/mine"]["spec"] == theirs
        held.api.put(PREVIEW, spec={"base": "web", "namespace": "qa"})
        await held.settle()
        assert made(held) == {"mine", "db--f1"}, "it is not deleted"


async def test_one_that_is_called_so_and_is_something_else_is_told() -> None:
    async with looking(dependencies=True) as held:
        await needing(held, web=["api"], api=[], db=[])
        theirs = held.api.put(f"{PREVIEWS}/api--f1", spec={"base": "db", "name": "other"})
        await held.settle()
        assert (held.reason, held.message) == (
            "CannotBeCopied",
            "spec.dependencies: Preview api--f1 exists, and is of another application or name",
        )
        assert held.api.objects[f"{PREVIEWS}/api--f1"] == theirs
        held.api.drop(f"{PREVIEWS}/api--f1")
        await held.settle()
        assert held.api.objects[f"{PREVIEWS}/api--f1"]["spec"]["base"] == "api"


async def test_without_the_field_nothing_else_is_made() -> None:
    async with looking() as held:
        await needing(held, web=["api"], api=[])
        await held.settle()
        assert made(held) == set()


async def test_there_is_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "MAX_COMPANIONS", 1)
    async with looking(dependencies=True) as held:
        await needing(held, web=["api", "db"], api=[], db=[])
        await held.settle()
        assert (held.reason, made(held)) == ("CannotBeCopied", set())
        assert "needs 2 applications, and 1 are copied at most" in held.message


async def test_killed_after_each_write_there_are_all_in_the_end() -> None:
    writes, killed = 0, True
    while killed:
        writes += 1
        async with looking(dependencies=True) as held:
            await needing(held, web=["api", "db"], api=[], db=[])
            killed = await held.killed_after(writes)
            await held.settle()
            assert made(held) == {"api--f1", "db--f1"}
