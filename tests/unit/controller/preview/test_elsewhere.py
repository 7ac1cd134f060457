"""Previews whose copy is in another namespace: who permits it, what is made there, and that all of it goes or none."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from time import time

import pytest

from controller.preview.elsewhere import FINALIZER, SECRETS_FINALIZER
from controller.preview.life import write_time
from controller.preview.manifests import FROM_LABEL, UID_LABEL
from controller.preview.references import COPY_TO
from fleet.discovery.kubernetes.client import ApiError
from tests.support.elsewhere import MADE, PREVIEW, ElsewhereApi, Looks, at, looking
from tests.support.waiting import until

Change = Callable[[ElsewhereApi], object]
SETTINGS, LOGIN = at("shop", "configmaps", "settings"), at("shop", "secrets", "login")


def annotate(path: str, value: str | None) -> Change:
    return lambda api: api.put(path, metadata={"annotations": {} if value is None else {COPY_TO: value}})


REFUSED: dict[str, tuple[Change, str, str]] = {
    "no namespace": (lambda api: api.drop("/api/v1/namespaces/qa"), "NoNamespace", "there is no namespace qa"),
    "ending": (lambda api: api.namespace(deletionTimestamp="2026-01-01T00:00:00Z"), "NoNamespace", "qa is being deleted"),
    "no label": (lambda api: api.namespace(permits=None), "NotPermitted", "does not have the label weir.dev/previews-from: shop"),
    "another source": (lambda api: api.namespace(permits="shop2"), "NotPermitted", "does not have the label"),
    "no ConfigMap": (annotate(SETTINGS, None), "NotPermitted", "ConfigMap shop/settings does not have the annotation"),
    "no Secret": (annotate(LOGIN, None), "NotPermitted", "Secret shop/login does not have the annotation weir.dev/copy-to"),
    "a Secret for others": (annotate(LOGIN, "prod, qa-*"), "NotPermitted", "Secret shop/login does not have the annotation"),
    "a token": (
        lambda api: api.put(LOGIN, type="kubernetes.io/service-account-token"),
        "NotPermitted",
        "Secret shop/login is a kubernetes.io/service-account-token, which is never copied",
    ),
}


async def test_it_is_made_there_with_what_its_pods_read() -> None:
    async with looking(before=[{"name": "make", "job": {"template": {"spec": {"containers": [{"name": "a"}]}}}}]) as held:
        api = held.api
        shop = {path: deepcopy(api.objects[path]) for path in api.within("shop") if path != PREVIEW}
        await held.settle()
        assert held.reason == "HookRunning"
        assert api.within("qa") == set(), "hooks run beside the Preview, before anything is made"
        job = at("shop", "jobs", "web--f1-make")
        assert api.objects[job]["metadata"]["ownerReferences"][0]["uid"] == api.objects[PREVIEW]["metadata"]["uid"]
        api.put(job, status={"conditions": [{"type": "Complete", "status": "True"}]})
        await held.settle()
        assert api.within("qa") == set(MADE)
        assert (held.status["placed"], held.status["copy"]) == ("qa/web--f1", "web--f1")
        uid = api.objects[PREVIEW]["metadata"]["uid"]
        for path in MADE:
            meta = api.objects[path]["metadata"]
            assert "ownerReferences" not in meta, "Kubernetes would delete what has an owner in another namespace"
            assert (meta["labels"][UID_LABEL], meta["labels"][FROM_LABEL]) == (uid, "shop")
        pod = api.objects[MADE[3]]["spec"]["template"]["spec"]
        names = [source["name"] for one in pod["containers"][0]["envFrom"] for source in one.values()]
        assert names == ["web--f1.settings", "web--f1.login"]
        assert "serviceAccountName" not in pod
        assert api.objects[MADE[3]]["spec"]["replicas"] == 0
        secret = api.objects[MADE[1]]
        assert (secret["data"], secret["type"]) == ({"P": "cA=="}, "Opaque")
        assert "team" not in secret["metadata"]["labels"], "by its labels others would take it for theirs"
        preview_of = api.objects[MADE[4]]["spec"]["previewOf"]
        assert preview_of == {"base": "web", "name": "f1", "namespace": "shop", "uid": uid}
        assert {path: api.objects[path] for path in shop} == shop
        first = next(number for number, (_, path, _) in enumerate(api.writes) if "/qa/" in path)
        held_by = [body["metadata"].get("finalizers") for _, path, body in api.writes[:first] if path == PREVIEW]
        assert held_by == [[FINALIZER, SECRETS_FINALIZER]], "the Preview is held before the first object is made"


async def test_it_follows_what_its_pods_read_and_writes_nothing_twice() -> None:
    async with looking() as held:
        await held.settle()
        api = held.api
        before = len(api.writes)
        await held.look()
        assert len(api.writes) == before
        api.put(SETTINGS, data={"A": "2", "B": "3"})
        api.put(LOGIN, data={"Q": "cQ=="})
        await held.settle()
        assert (api.objects[MADE[0]]["data"], api.objects[MADE[1]]["data"]) == ({"A": "2", "B": "3"}, {"Q": "cQ=="})
        api.put(LOGIN, type="kubernetes.io/basic-auth")
        uid = api.objects[MADE[1]]["metadata"]["uid"]
        await held.settle()
        assert api.objects[MADE[1]]["type"] == "kubernetes.io/basic-auth"
        assert api.objects[MADE[1]]["metadata"]["uid"] != uid, "the type of a Secret cannot be changed"
        assert api.within("qa") == set(MADE)


@pytest.mark.parametrize("case", REFUSED)
async def test_without_the_consent_of_both_sides_nothing_is_made(case: str) -> None:
    change, reason, message = REFUSED[case]
    async with looking() as held:
        change(held.api)
        await held.settle()
        assert held.reason == reason
        assert message in held.message
        assert held.api.within("qa") == set()
        assert {path for _, path, _ in held.api.writes} == {f"{PREVIEW}/status"}
        assert "placed" not in held.status
        held.delete()
        assert PREVIEW not in held.api.objects, "nothing holds it"


@pytest.mark.parametrize("case", REFUSED)
async def test_a_consent_that_is_withdrawn_ends_the_copy_and_one_given_again_makes_it(case: str) -> None:
    change, reason, message = REFUSED[case]
    async with looking() as held:
        await held.settle()
        api = held.api
        assert api.within("qa") == set(MADE)
        theirs = api.put(at("qa", "deployments", "theirs"), spec={"mine": True})
        if case == "no namespace":
            for path in MADE:
                api.drop(path)
        change(api)
        await held.settle()
        assert api.within("qa") == {at("qa", "deployments", "theirs")}
        assert api.objects[at("qa", "deployments", "theirs")] == theirs
        assert (held.reason, held.status.get("placed", "")) == (reason, "")
        assert message in held.message
        api.namespace("qa")
        for path in (SETTINGS, LOGIN):
            annotate(path, "q*")(api)
        api.put(LOGIN, type="Opaque")
        await held.settle()
        assert api.within("qa") == {*MADE, at("qa", "deployments", "theirs")}
        assert held.status["placed"] == "qa/web--f1"


async def test_a_consent_counts_also_where_the_base_is_gone_or_the_preview_is_invalid() -> None:
    for spec in ({"base": "web", "namespace": "qa", "ttl": "soon"}, {"base": 5, "namespace": "qa"}):
        async with looking() as held:
            await held.settle()
            held.api.put(PREVIEW, spec=spec)
            await held.settle()
            assert held.reason == "Invalid"
            assert held.api.within("qa") == set(MADE), "a mistake is no end"
            annotate(LOGIN, None)(held.api)
            assert await held.killed_after(1)
            await held.settle()
            assert (held.status.get("placed", ""), held.api.within("qa")) == ("", set())
    async with looking() as held:
        await held.settle()
        held.api.drop(at("shop", "deployments", "web"))
        held.api.namespace(permits=None)
        await held.settle()
        assert (held.reason, held.api.within("qa")) == ("NotPermitted", set())


@pytest.mark.parametrize("why", ["this controller makes no copies in other namespaces", "only some namespaces"])
async def test_a_controller_that_makes_none_says_so_and_deletes_what_was_made(why: str) -> None:
    async with looking() as held:
        held.why_not = why
        await held.settle()
        assert (held.reason, held.message, held.api.within("qa")) == ("NotPermitted", why, set())
        held.why_not = ""
        await held.settle()
        assert held.api.within("qa") == set(MADE)
        held.why_not = why
        await held.settle()
        assert (held.reason, held.api.within("qa")) == ("NotPermitted", set())


async def test_a_secret_that_is_missing_is_named() -> None:
    async with looking() as held:
        held.api.drop(LOGIN)
        await held.settle()
        assert (held.reason, held.message) == ("NotFound", "there is no Secret shop/login, which its pods need")
        assert held.api.within("qa") == set()
        held.api.put(LOGIN, data={}, metadata={"annotations": {COPY_TO: "qa"}})
        await held.settle()
        assert held.api.within("qa") == set(MADE)
        held.api.drop(LOGIN)
        await held.settle()
        assert held.reason == "NotFound"
        assert held.api.within("qa") == {*MADE} - {MADE[1]}, "what was revoked does not live on"
        assert held.status["placed"] == "qa/web--f1", "its pods may run on"


async def test_what_is_optional_may_be_missing() -> None:
    async with looking() as held:
        deployment = deepcopy(held.api.objects[at("shop", "deployments", "web")])
        deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"][1]["secretRef"]["optional"] = True
        held.api.put(at("shop", "deployments", "web"), spec=deployment["spec"])
        held.api.drop(LOGIN)
        await held.settle()
        assert held.api.within("qa") == {*MADE} - {MADE[1]}
        assert held.api.objects[PREVIEW]["metadata"]["finalizers"] == [FINALIZER]
        assert not [path for path in held.api.reads if path.endswith("/secrets")], "no right to list them is needed"


async def test_without_the_right_to_read_secrets_it_says_so() -> None:
    async with looking() as held:
        refusal = ApiError('secrets "login" is forbidden', status=403)
        held.api.refuse = lambda method, path: refusal if "/secrets/" in path else None
        await held.settle()
        assert (held.reason, held.api.within("qa")) == ("NotPermitted", set())
        assert "deploy/components/previews/secrets" in held.message


@pytest.mark.parametrize("path", MADE)
async def test_objects_of_others_are_neither_changed_nor_deleted(path: str) -> None:
    async with looking() as held:
        spec = {"selector": {"matchLabels": {"a": "b"}}}
        theirs = deepcopy(held.api.put(path, spec=spec, metadata={"labels": {FROM_LABEL: "shop"}}))
        await held.settle()
        assert held.reason == "NameTaken"
        assert held.message.endswith("exists and is not of this Preview")
        assert held.api.within("qa") == {path}
        held.delete()
        await held.settle()
        assert PREVIEW not in held.api.objects
        assert held.api.objects[path] == theirs


@pytest.mark.parametrize("path", MADE)
async def test_what_others_have_taken_over_stays_theirs(path: str) -> None:
    async with looking() as held:
        await held.settle()
        held.api.drop(path)
        theirs = deepcopy(held.api.put(path, spec={"selector": {"matchLabels": {"a": "b"}}}, metadata={"labels": {"of": "us"}}))
        await held.settle()
        assert held.reason == "NameTaken"
        held.delete()
        await held.settle()
        assert PREVIEW not in held.api.objects
        assert held.api.within("qa") == {path}
        assert held.api.objects[path] == theirs


async def test_one_that_another_makes_at_the_same_moment_is_not_overwritten() -> None:
    for path in MADE[:2]:
        async with looking() as held:
            api = held.api

            def meddle(method: str, at_path: str, api: ElsewhereApi = api, path: str = path) -> None:
                if method == "POST" and at_path == path.rpartition("/")[0] and path not in api.objects:
                    api.put(path, data={"theirs": "x"})

            api.refuse = meddle
            await held.settle()
            assert held.reason == "NameTaken"
            assert api.objects[path]["data"] == {"theirs": "x"}


async def test_the_namespace_is_deleted_under_it_and_it_ends_all_the_same() -> None:
    async with looking() as held:
        await held.settle()
        for path in (*MADE, "/api/v1/namespaces/qa"):
            held.api.drop(path)
        await held.settle()
        assert (held.reason, held.status.get("placed", "")) == ("NoNamespace", "")
        held.delete()
        await held.settle()
        assert PREVIEW not in held.api.objects


async def test_it_is_there_until_nothing_is_left_and_says_what_is() -> None:
    async with looking() as held:
        await held.settle()
        api = held.api
        api.put(PREVIEW, metadata={"finalizers": [*api.objects[PREVIEW]["metadata"]["finalizers"], "example.com/audit"]})
        api.put(MADE[3], metadata={"finalizers": ["foregroundDeletion"]})  # its pods are still there
        held.delete()
        await held.settle()
        assert api.within("qa") == {MADE[3]}
        assert (held.reason, held.message) == ("Deleting", "still there: deployments qa/web--f1")
        assert held.status.get("placed", "") == ""
        assert held.later, "it is looked at again"
        options = [body for method, _, body in api.writes if method == "DELETE"]
        assert all(body["propagationPolicy"] == "Foreground" for body in options)
        assert all(body["preconditions"].keys() == {"uid", "resourceVersion"} for body in options)
        api.put(MADE[3], metadata={"finalizers": []})
        api.drop(MADE[3])
        await held.settle()
        assert api.objects[PREVIEW]["metadata"]["finalizers"] == ["example.com/audit"]
        assert api.within("qa") == set()


async def test_hooks_after_run_when_nothing_of_the_copy_there_runs_any_more() -> None:
    job = {"template": {"spec": {"containers": [{"name": "a"}]}}}
    async with looking(after=[{"name": "drop", "job": job}]) as held:
        await held.settle()
        api = held.api
        assert api.within("qa") == set(MADE)
        api.put(MADE[3], metadata={"finalizers": ["foregroundDeletion"]})  # its pods are still there
        jobs = at("shop", "jobs", "")
        api.objects[PREVIEW]["metadata"]["deletionTimestamp"] = write_time(time())
        await held.settle()
        assert not [path for path in api.objects if path.startswith(jobs)]
        api.drop(MADE[3])
        await held.settle()
        (made,) = [path for path in api.objects if path.startswith(jobs)]
        api.put(made, status={"conditions": [{"type": "Complete", "status": "True"}]})
        await held.settle()
        assert api.within("qa") == set()
        assert PREVIEW not in api.objects


async def test_a_deletion_that_is_refused_is_told_and_tried_again() -> None:
    async with looking() as held:
        await held.settle()
        left = [2]

        def refuse(method: str, path: str) -> ApiError | None:
            if method != "DELETE" or path != MADE[1] or not left[0]:
                return None
            left[0] -= 1
            return ApiError("secrets is forbidden", status=403)

        held.api.refuse = refuse
        held.delete()
        with pytest.raises(ApiError):
            await held.look()
        assert (held.reason, held.message) == ("Refused", "secrets is forbidden")
        await held.settle()
        assert PREVIEW not in held.api.objects
        assert held.api.within("qa") == set()


async def test_a_withdrawal_that_cannot_be_done_yet_routes_nothing() -> None:
    async with looking() as held:
        await held.settle()
        refusal = ApiError("no", status=500)
        held.api.refuse = lambda method, path: refusal if method == "DELETE" else None
        held.api.namespace(permits=None)
        with pytest.raises(ApiError):
            await held.look()
        assert (held.reason, held.status.get("placed", "")) == ("NotPermitted", "")
        assert "is not deleted yet: no" in held.message


async def test_with_another_base_the_former_copy_goes() -> None:
    async with looking() as held:
        await held.settle()
        api = held.api
        target = {"name": "web", "service": "web", "port": 80}
        api.put(at("shop", "httpscaledobjects", "shop"), spec={"hosts": ["shop.example.com"], "scaleTargetRef": target})
        await _seen(held, "shop/shop")
        api.put(PREVIEW, spec={"base": "shop", "namespace": "qa"})
        await held.settle()
        assert api.within("qa") == {path.replace("web--f1", "shop--f1") for path in MADE}
        assert held.status["placed"] == "qa/shop--f1"


async def test_killed_after_each_write_there_is_all_of_it_or_nothing_in_the_end() -> None:
    """Of making it, of deleting it in the middle of that, and of deleting all of it."""
    writes = 0
    while True:
        writes += 1
        async with looking() as held:
            killed = await held.killed_after(writes)
            whole = deepcopy(held.api.objects)
            await held.settle()
            assert held.api.within("qa") == set(MADE)
            assert held.status["placed"] == "qa/web--f1"
            held.api.objects = whole  # deleted as the killed controller has left it
            held.delete()
            await held.settle()
            assert held.api.within("qa") == set()
            assert PREVIEW not in held.api.objects
        if not killed:
            break
    assert writes > len(MADE) + 2
    writes = 0
    while True:
        writes += 1
        async with looking() as held:
            await held.settle()
            held.delete()
            killed = await held.killed_after(writes)
            await held.settle()
            assert held.api.within("qa") == set()
            assert PREVIEW not in held.api.objects
        if not killed:
            break
    assert writes > len(MADE)


async def test_killed_after_each_write_of_a_withdrawal_nothing_is_left_and_nothing_routed() -> None:
    writes, killed = 0, True
    while killed:
        writes += 1
        async with looking() as held:
            await held.settle()
            annotate(LOGIN, None)(held.api)
            killed = await held.killed_after(writes)
            await held.settle()
            assert held.api.within("qa") == set()
            assert held.status.get("placed", "") == ""
            assert held.reason == "NotPermitted"
    assert writes > len(MADE)


async def test_one_that_is_being_deleted_is_not_made_by_a_controller_that_has_not_seen_it() -> None:
    """The version that it has seen is no longer the one, so it cannot hold the Preview, and makes nothing."""
    async with looking() as held:
        api = held.api
        raced = [False]

        def race(method: str, path: str) -> None:
            if method == "PATCH" and path == PREVIEW and not raced[0]:
                raced[0] = True
                api.put(PREVIEW, metadata={"finalizers": ["example.com/audit"]})
                held.delete()

        api.refuse = race
        with pytest.raises(ApiError):
            await held.look()
        assert api.within("qa") == set()
        await held.settle()
        assert api.within("qa") == set()


async def _seen(held: Looks, app: str) -> None:
    await until(lambda: any(one.key.app == app for one in held.world.objects()))
