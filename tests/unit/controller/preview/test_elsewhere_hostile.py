"""Previews whose copy is in another namespace: what those may try who write in one of both, and a controller that is deposed."""

from __future__ import annotations

from copy import deepcopy
from time import time

import pytest

from controller.preview import elsewhere
from controller.preview.elsewhere import FINALIZER
from controller.preview.life import write_time
from controller.preview.maker import END_SECONDS
from controller.preview.manifests import FROM_LABEL, UID_LABEL
from controller.preview.references import COPY_TO
from controller.preview.resource import AFTER_TIMEOUT
from fleet.discovery.kubernetes.client import ApiError
from tests.support.elsewhere import MADE, PREVIEW, Looks, at, looking

SCALED = "/apis/keda.sh/v1alpha1/namespaces/qa/scaledobjects/web--f1"
USED = "2026-03-01T00:00:00Z"


def deleted(held: Looks) -> None:
    """Somebody deletes it now."""
    held.api.objects[PREVIEW]["metadata"]["deletionTimestamp"] = write_time(time())


async def test_what_others_hold_in_the_other_namespace_does_not_hold_the_preview_for_ever() -> None:
    """Nor its namespace: a finalizer on an object there is not its business."""
    for path in MADE:
        async with looking() as held:
            await held.settle()
            held.api.put(path, metadata={"finalizers": ["example.com/mine"]})
            deleted(held)
            held.late = AFTER_TIMEOUT + END_SECONDS - 5
            await held.settle()
            assert held.reason == "Deleting"
            assert held.events == []
            held.late += 10
            await held.settle()
            assert PREVIEW not in held.api.objects
            assert held.api.within("qa") == {path}
            assert "deletionTimestamp" in held.api.objects[path]["metadata"], "it goes when they let it go"
            ((reason, message),) = held.events
            assert reason == "CopyLeft"
            assert path.rpartition("/")[2] in message


async def test_what_cannot_be_deleted_holds_it_however_long() -> None:
    async with looking() as held:
        await held.settle()
        held.late = AFTER_TIMEOUT + END_SECONDS + 60
        deleted(held)
        held.api.refuse = lambda method, path: ApiError("no", status=403) if (method, path) == ("DELETE", MADE[0]) else None
        with pytest.raises(ApiError):
            await held.look()
        assert (held.reason, held.message) == ("Refused", "no")
        changed = ApiError("changed", status=409)
        held.api.refuse = lambda method, path: changed if (method, path) == ("DELETE", MADE[0]) else None
        await held.look()
        assert FINALIZER in held.api.objects[PREVIEW]["metadata"]["finalizers"]
        held.api.refuse = lambda method, path: None
        await held.settle()
        assert held.api.within("qa") == set()
        assert PREVIEW not in held.api.objects


async def test_when_an_application_of_another_tenant_was_used_is_not_told() -> None:
    """One that is called as the copy would be, in a namespace that permits nothing."""
    async with looking() as held:
        held.api.namespace(permits=None)
        held.api.put(SCALED, status={"lastActiveTime": USED})
        await held.settle()
        assert held.reason == "NotPermitted"
        assert SCALED not in held.api.reads
        assert "lastUsed" not in held.status
        held.api.namespace("qa")
        await held.settle()
        await held.look()
        assert held.status["lastUsed"] == USED


async def test_what_is_copied_along_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of the controller is everybody's."""
    monkeypatch.setattr(elsewhere, "MAX_COPIED_BYTES", 3000)
    async with looking() as held:
        await held.settle()
        settings = at("shop", "configmaps", "settings")
        held.api.put(settings, data={"A": "x" * 3000})
        await held.settle()
        assert held.reason == "CannotBeCopied"
        assert "have more than 0 MiB" in held.message
        assert held.api.within("qa") == set(MADE), "what was made stays"
        held.api.put(at("shop", "secrets", "login"), metadata={"annotations": {}})
        await held.look()
        assert held.reason == "NotPermitted", "nobody keeps what was withdrawn by making something else large"
        assert held.api.within("qa") == set()
        held.api.put(at("shop", "secrets", "login"), metadata={"annotations": {COPY_TO: "qa"}})
        held.api.put(settings, data={"A": "x" * 2000})
        await held.settle()
        assert held.api.within("qa") == set(MADE)


async def test_objects_of_the_other_namespace_are_read_a_few_at_a_time() -> None:
    async with looking() as held:
        await held.settle()
        asked: list[dict[str, str]] = []
        get = held.api.get

        async def noted(path: str, query: object = ()) -> bytes:
            asked.append(dict(query))  # type: ignore[call-overload]
            return await get(path, query)  # type: ignore[arg-type]

        held.api.get = noted  # type: ignore[method-assign]
        held.delete()
        await held.settle()
        lists = [query for query in asked if "labelSelector" in query]
        assert lists
        assert all(query["limit"] == elsewhere.PAGE_OBJECTS for query in lists)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../secrets/x", "Ä"])
async def test_a_name_that_leads_elsewhere_is_the_name_of_nothing(name: str) -> None:
    async with looking() as held:
        deployment = deepcopy(held.api.objects[at("shop", "deployments", "web")])
        pod = deployment["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "v", "secret": {"secretName": name}}]
        held.api.put(at("shop", "deployments", "web"), spec=deployment["spec"])
        await held.settle()
        assert (held.reason, held.message) == ("NotFound", f"there is no Secret shop/{name}, which its pods need")
        assert held.api.within("qa") == set()


async def test_a_leader_that_is_deposed_in_the_middle_writes_nothing_more() -> None:
    """Another one may have ended the Preview meanwhile: nobody would delete what is made after that."""
    number, whole = 0, False
    while not whole:
        number += 1
        async with looking() as held:
            left = [number]

            def depose(method: str, path: str, held: Looks = held, left: list[int] = left) -> None:
                left[0] -= 1
                held.leads = held.leads and left[0] > 0

            held.api.refuse = depose
            while True:
                before = len(held.api.writes)
                try:
                    await held.look()
                except ApiError:
                    assert not held.leads
                with_it = len(held.api.writes)
                if not held.leads or with_it == before:
                    whole = held.leads
                    break
            held.api.refuse = lambda method, path: None
            if not whole:
                assert with_it <= number, "the request at which it was deposed may still be done"
                seen = deepcopy(held.api.objects)
                await held.look()
                assert held.api.objects == seen
            held.leads = True
            await held.settle()
            assert held.api.within("qa") == set(MADE)
    assert number > len(MADE)


async def test_labels_of_another_preview_are_of_no_use() -> None:
    """What says that it is of the Preview, by its labels, in a namespace to which it has nothing to do with, stays."""
    async with looking() as held:
        await held.settle()
        labels = {UID_LABEL: held.api.objects[PREVIEW]["metadata"]["uid"], FROM_LABEL: "shop"}
        theirs = deepcopy(held.api.put(at("prod", "configmaps", "theirs"), metadata={"labels": labels}))
        held.delete()
        await held.settle()
        assert PREVIEW not in held.api.objects
        assert held.api.objects[at("prod", "configmaps", "theirs")] == theirs
