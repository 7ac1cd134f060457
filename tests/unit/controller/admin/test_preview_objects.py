"""Documents of previews as objects, and back; what is said of a preview."""

from __future__ import annotations

from typing import Any

import pytest

from controller.admin.previews.documents import PreviewDocument
from controller.admin.previews.objects import (
    Around,
    check_document,
    document_of,
    etag_of_preview,
    is_awake,
    manifest_of,
    object_name,
    parsed,
    same,
    shown,
)
from controller.admin.problems import Refused
from controller.preview.life import KEEP_UNTIL, read_time

CREATED = "2026-01-01T00:00:00Z"
NOW = (read_time(CREATED) or 0.0) + 600
HOOK = {"name": "database", "job": {"backoffLimit": 2, "template": {"spec": {"containers": [{"name": "a"}]}}}}
WHOLE = {
    "base": "web",
    "name": "f1",
    "container": "app",
    "image": "web:1",
    "environment": {"A": "1", "EMPTY": ""},
    "resources": {"requests": {"cpu": "100m"}, "limits": {}},
    "replicas": {"min": 1, "max": 3},
    "before": [HOOK],
    "after": [HOOK, {**HOOK, "name": "queue"}],
    "after_timeout": "2m",
    "ttl": "72h",
    "expires": "AfterCreation",
    "pinned": True,
    "dependencies": True,
    "copy_namespace": "qa",
}


def document(**fields: Any) -> PreviewDocument:
    return PreviewDocument.model_validate({"base": "web", "name": "f1", **fields})


def live(given: PreviewDocument, **more: Any) -> dict[str, Any]:
    """The object as the API server has it: with the defaults of its schema."""
    made = manifest_of(given, "shop")
    made["spec"] = {"expires": "AfterLastRequest", **made["spec"]}
    made["metadata"] |= {"uid": "u", "generation": 1, "creationTimestamp": CREATED, **more.pop("metadata", {})}
    return made | more


@pytest.mark.parametrize("fields", [{}, WHOLE, *({name: value} for name, value in WHOLE.items())], ids=str)
def test_a_document_survives_as_an_object(fields: dict[str, Any]) -> None:
    given = document(**fields)
    check_document(given, "shop")
    found = document_of(live(given))
    assert found == given
    made = manifest_of(given, "shop")
    assert made["metadata"]["name"] == object_name("web", "f1") == parsed(made).copy
    assert parsed(made).problem is None


def test_only_what_is_said_is_written() -> None:
    assert manifest_of(document(), "shop")["spec"] == {"base": "web", "name": "f1"}
    assert manifest_of(document(replicas={"max": 2}), "shop")["spec"]["overrides"] == {"replicas": {"max": 2}}


def test_documents_that_mean_the_same() -> None:
    assert same(document(ttl="72h"), document(ttl="4320m"))
    assert not same(document(ttl="72h"), document())
    assert same(document(after_timeout="2m"), document(after_timeout="120s"))
    assert not same(document(after_timeout="2m"), document(after_timeout="3m"))
    assert not same(document(after=[HOOK]), document(before=[HOOK]))
    assert not same(document(ttl="72h"), document(ttl="71h"))
    assert not same(document(image="a"), document(image="b"))
    one, other = live(document(image="a")), live(document(image="b"))
    assert etag_of_preview(one) != etag_of_preview(other)
    assert etag_of_preview(one) == etag_of_preview(one | {"status": {"name": "f1"}})


def test_what_no_document_can_say() -> None:
    own = live(document())
    assert document_of(own | {"spec": {"base": "web", "overrides": {"env": {"A=B": "1"}}}}) is None
    assert document_of(own | {"spec": {}}) is None
    of_kubectl = own | {"metadata": own["metadata"] | {"name": "mine"}, "spec": {"base": "web"}}
    found = document_of(of_kubectl)
    assert found is not None
    assert found.name == "mine", "an object that names none has its own"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": "a--b"}, "/name"),
        ({"name": "f" * 60}, "/name"),
        ({"ttl": "9999999h"}, "/ttl"),
        ({"after_timeout": "0"}, "/after_timeout"),
    ],
)
def test_what_the_controller_would_find_wrong_is_refused(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Refused) as raised:
        check_document(document(**fields), "shop")
    assert [fault.pointer for fault in raised.value.problem.errors] == [pointer]


def workload(wanted: int, uid: str = "u", /, **status: int) -> dict[str, Any]:
    metadata = {"name": "web--f1", "namespace": "shop", "generation": 2, "ownerReferences": [{"uid": uid}]}
    return {"metadata": metadata, "spec": {"replicas": wanted}, "status": status}


@pytest.mark.parametrize(
    ("workloads", "reason", "state"),
    [
        (None, "Making", "unknown"),
        ([], "", "making"),
        ([], "HookRunning", "making"),
        ([], "HookFailed", "failed"),
        ([], "Refused", "failed"),
        ([workload(0)], "Made", "asleep"),
        ([workload(1)], "Made", "waking"),
        ([workload(1, readyReplicas=1)], "Refused", "awake"),
        ([workload(1, "another's", readyReplicas=1)], "NameTaken", "failed"),
    ],
)
def test_states(workloads: list[dict[str, Any]] | None, reason: str, state: str) -> None:
    status = {"conditions": [{"type": "Ready", "status": "False", "reason": reason}]} if reason else {}
    assert shown(live(document(), status=status), Around(workloads)).state == state
    assert shown(live(document(), metadata={"deletionTimestamp": CREATED}), Around(workloads)).state == "deleting"


def test_urls_and_times() -> None:
    status = {"hosts": "f1.web.example.com, f1.example.org", "lastUsed": "2026-01-01T00:01:00Z"}
    around = Around([], {"shop/web--f1": "2026-01-01T00:05:00Z"}, {"web": ("/a", "/b")}, "https://{host}", NOW)
    found = shown(live(document(ttl="1h"), status=status), around)
    assert found.urls == [f"https://{host}{path}" for host in ("f1.web.example.com", "f1.example.org") for path in ("/a", "/b")]
    assert (found.url, found.last_used) == (found.urls[0], "2026-01-01T00:05:00Z")
    assert (found.expires_at, found.seconds_left) == ("2026-01-01T01:05:00Z", 3300)
    kept = live(document(ttl="1h"), metadata={"annotations": {KEEP_UNTIL: "2026-01-02T00:10:00Z"}})
    assert shown(kept, around).seconds_left == 86_400
    for_ever = shown(live(document()), Around([]))
    assert (for_ever.url, for_ever.urls, for_ever.last_used, for_ever.expires_at, for_ever.seconds_left) == (
        "",
        [],
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("status", "awake"),
    [
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, True),
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}, False),
        ({"observedGeneration": 2}, False),
    ],
)
def test_replicas_of_what_it_was_before_do_not_count(status: dict[str, int], awake: bool) -> None:
    assert is_awake(live(document()), [workload(1, **status)]) is awake
    assert not is_awake(live(document()), [workload(1, "another's", **status)])
