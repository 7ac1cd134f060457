"""Copies in other namespaces whose Preview is gone, without its finalizers."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

import pytest

from controller.preview import leftovers
from controller.preview.leftovers import Leftovers
from controller.preview.manifests import FROM_LABEL, UID_LABEL
from fleet.discovery.kubernetes.client import ApiError
from tests.support.elsewhere import MADE, PREVIEW, ElsewhereApi, Looks, at, looking


def sweeper(api: ElsewhereApi, *uids: str) -> Leftovers:
    async def known() -> Collection[str]:
        return uids

    return Leftovers(api, known)


def abandon(held: Looks) -> None:
    """Its author takes its finalizers off, and deletes it."""
    held.api.put(PREVIEW, metadata={"finalizers": []})
    held.delete()
    assert PREVIEW not in held.api.objects


async def test_what_an_author_leaves_by_taking_the_finalizers_off_goes() -> None:
    async with looking() as held:
        await held.settle()
        theirs = deepcopy(held.api.put(at("qa", "deployments", "theirs"), spec={"mine": True}))
        half = held.api.put(at("qa", "deployments", "half"), metadata={"labels": {UID_LABEL: "u"}})
        beside = held.api.put(at("shop", "configmaps", "x"), metadata={"labels": {UID_LABEL: "u", FROM_LABEL: "shop"}})
        abandon(held)
        await sweeper(held.api, "another").look()
        assert held.api.within("qa") == {at("qa", "deployments", "theirs"), at("qa", "deployments", "half")}
        assert held.api.objects[at("qa", "deployments", "theirs")] == theirs
        assert held.api.objects[at("qa", "deployments", "half")] == half
        assert held.api.objects[at("shop", "configmaps", "x")] == beside, "not beside the Preview: Kubernetes deletes that"


async def test_what_belongs_to_a_preview_stays_however_late_that_is_seen() -> None:
    """The watch may be behind: then the API server is asked, after the object was seen."""
    async with looking() as held:
        await held.settle()
        uid = held.api.objects[PREVIEW]["metadata"]["uid"]
        for known in ((uid,), ()):
            before = len(held.api.writes)
            await sweeper(held.api, *known).look()
            assert len(held.api.writes) == before
        asked = held.api.reads.index(PREVIEW.rpartition("/")[0])
        assert held.api.reads[asked - 1] == "/apis/http.keda.sh/v1alpha1/httpscaledobjects"


async def test_a_list_that_fails_deletes_nothing() -> None:
    async with looking() as held:
        await held.settle()
        abandon(held)
        get = held.api.get

        async def failing(path: str, query: object = ()) -> bytes:
            if path.endswith("/previews"):
                raise ApiError("away", status=503)
            return await get(path, query)  # type: ignore[arg-type]

        held.api.get = failing  # type: ignore[method-assign]
        await sweeper(held.api).look()
        assert held.api.within("qa") == set(MADE)
        held.api.get = get  # type: ignore[method-assign]
        await sweeper(held.api).look()
        assert held.api.within("qa") == set()


@pytest.mark.parametrize("status", [403, 409, 500])
async def test_what_cannot_be_deleted_keeps_no_other_kind(status: int) -> None:
    async with looking() as held:
        await held.settle()
        abandon(held)
        refusal = ApiError("no", status=status)
        held.api.refuse = lambda method, path: refusal if (method, path) == ("DELETE", MADE[3]) else None
        await sweeper(held.api).look()
        assert held.api.within("qa") == {MADE[3]}


async def test_one_look_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody in the other namespace may make as many as they like, each of another namespace that is not there."""
    monkeypatch.setattr(leftovers, "MAX_FOUND", 3)
    api = ElsewhereApi()
    for number in range(5):
        labels = {UID_LABEL: f"u{number}", FROM_LABEL: f"n{number}"}
        api.put(at("qa", "configmaps", f"c{number}"), metadata={"labels": labels})
    await sweeper(api).look()
    assert len(api.within("qa")) == 2
    assert len([path for path in api.reads if path.endswith("/previews")]) == 3
    await sweeper(api).look()
    assert api.within("qa") == set()
