import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.autoscalers import PAUSED_REPLICAS, ScaledObject, parse_scaled_object
from controller.problem import Problem
from controller.resources import Resource
from controller.scaledobject import (
    ORPHAN,
    SKIP,
    Create,
    Delete,
    Foreign,
    Leave,
    Patch,
    desired,
    next_step,
)
from controller.wiring import Scaler
from tests.support.memory_api import merged
from tests.unit.controller.objects import http, scaled

SCALER = Scaler("weir-scaler.weir-system.svc:9091")


def as_sent(actual: ScaledObject) -> dict[str, Any]:
    meta = actual.meta
    owners = [
        {"kind": o.kind, "name": o.name, "uid": o.uid, "controller": o.controller, "apiVersion": o.api_version}
        for o in meta.owner_references or ()
    ]
    metadata: dict[str, Any] = {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "ownerReferences": owners}
    metadata |= {"labels": dict(meta.labels or {}), "annotations": dict(meta.annotations or {})}
    return {"metadata": metadata, "spec": copy.deepcopy(actual.spec)}


def patched(actual: ScaledObject, patch: dict[str, Any]) -> ScaledObject:
    return parse_scaled_object(json.dumps(merged(as_sent(actual), patch)).encode())


def test_what_is_made() -> None:
    resource = http(
        scaleTargetRef={"name": "web", "apiVersion": "apps/v1", "kind": "StatefulSet", "service": "web", "port": 80},
        replicas={"min": 1, "max": 9},
        scaledownPeriod=60,
        initialCooldownPeriod=5,
        metadata={"labels": {"team": "a"}, "annotations": {"autoscaling.keda.sh/paused": "true", "kubectl.kubernetes.io/x": "y"}},
    )
    made = desired(resource, SCALER)
    assert made["apiVersion"] == "keda.sh/v1alpha1"
    assert made["metadata"]["labels"] == {"team": "a"}
    assert made["metadata"]["annotations"] == {
        "autoscaling.keda.sh/paused": "true",
        "httpscaledobject.keda.sh/copied-annotations": "autoscaling.keda.sh/paused",
    }
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["apiVersion"], owner["kind"], owner["uid"], owner["controller"]) == (
        "http.keda.sh/v1alpha1",
        "HTTPScaledObject",
        "uid-web",
        True,
    )
    assert made["spec"] == {
        "scaleTargetRef": {"name": "web", "apiVersion": "apps/v1", "kind": "StatefulSet"},
        "pollingInterval": 15,
        "cooldownPeriod": 60,
        "initialCooldownPeriod": 5,
        "minReplicaCount": 1,
        "maxReplicaCount": 9,
        "advanced": {"restoreToOriginalReplicaCount": True},
        "triggers": [{"type": "external-push", "metadata": {"scalerAddress": SCALER.address, "httpScaledObject": "web"}}],
    }


def test_labels_of_kedas_own_are_left_to_it() -> None:
    """KEDA finds a ScaledObject by a label with its name, and restores that label if it is changed."""
    resource = http(metadata={"labels": {"scaledobject.keda.sh/name": "other", "team": "shop"}})
    made = desired(resource, SCALER)
    assert made["metadata"]["labels"] == {"team": "shop"}
    kedas = scaled(made, labels={"team": "shop", "scaledobject.keda.sh/name": "web"})
    assert next_step(resource, kedas, SCALER) == Leave()


def test_nothing_is_said_that_was_not_asked_for() -> None:
    made = desired(http(), SCALER)["spec"]
    assert set(made) == {"scaleTargetRef", "pollingInterval", "advanced", "triggers"}
    assert made["scaleTargetRef"] == {"name": "web"}


def test_with_certificates_keda_never_dials_in_plain_text() -> None:
    (trigger,) = desired(http(), Scaler("a:1", "weir"))["spec"]["triggers"]
    assert trigger["metadata"]["enableTLS"] == "true"
    assert trigger["authenticationRef"] == {"name": "weir", "kind": "ClusterTriggerAuthentication"}


def test_the_workload_must_have_a_name() -> None:
    with pytest.raises(Problem, match=r"spec\.scaleTargetRef\.name"):
        next_step(http(scaleTargetRef={"service": "web", "port": 80}), None, SCALER)


@pytest.mark.parametrize(
    "resource", [http(), http(replicas={"max": 3}, metadata={"labels": {"a": "b"}, "annotations": {"c": "d"}})]
)
def test_created_once_then_left(resource: Resource) -> None:
    step = next_step(resource, None, SCALER)
    assert isinstance(step, Create)
    assert next_step(resource, scaled(step.manifest), SCALER) == Leave()


def test_what_is_not_the_controllers_stays() -> None:
    resource = http(replicas={"max": 3})
    made = desired(resource, SCALER)
    made["spec"] |= {"fallback": {"replicas": 1}, "idleReplicaCount": 0}
    made["spec"]["advanced"]["horizontalPodAutoscalerConfig"] = {"name": "mine"}
    made["metadata"]["annotations"] = {"autoscaling.keda.sh/paused": "true"}
    made["spec"]["triggers"][0]["useCachedMetrics"] = False
    assert next_step(resource, scaled(made), SCALER) == Leave()


@given(
    st.dictionaries(
        st.sampled_from(
            ["pollingInterval", "minReplicaCount", "maxReplicaCount", "cooldownPeriod", "triggers", "scaleTargetRef", "advanced"]
        ),
        st.sampled_from([None, 1, [], [{"type": "cpu"}], {}, {"name": "other"}]),
    ),
    st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["", "x"])),
    st.booleans(),
)
def test_one_repair_is_enough(changes: dict[str, Any], annotations: dict[str, str], orphaned: bool) -> None:
    resource = http(replicas={"max": 3}, metadata={"labels": {"team": "a"}, "annotations": {"a": "x"}})
    made = desired(resource, SCALER)
    made["spec"] = {name: value for name, value in (made["spec"] | changes).items() if value is not None}
    made["metadata"]["annotations"] = annotations
    if orphaned:
        # After a restore from a backup the owner reference has an old uid.
        made["metadata"]["ownerReferences"][0]["uid"] = "earlier"
    actual = scaled(made)
    step = next_step(resource, actual, SCALER)
    if isinstance(step, Patch):
        actual = patched(actual, step.patch)
    assert next_step(resource, actual, SCALER) == Leave()
    assert actual.owned_by(resource)


def test_annotations_that_the_owner_loses_go() -> None:
    before = http(metadata={"annotations": {"autoscaling.keda.sh/paused": "true"}})
    actual = scaled(desired(before, SCALER))
    step = next_step(http(), actual, SCALER)
    assert isinstance(step, Patch)
    assert patched(actual, step.patch).meta.annotations == {}


def test_a_foreign_scaled_object_is_never_changed() -> None:
    made = desired(http(), SCALER)
    made["metadata"]["ownerReferences"][0] |= {"kind": "Other", "uid": "another"}
    assert isinstance(next_step(http(), scaled(made), SCALER), Foreign)
    by_hand = desired(http(), SCALER)
    del by_hand["metadata"]["ownerReferences"]
    by_hand["spec"]["triggers"] = [{"type": "cron"}]
    assert isinstance(next_step(http(), scaled(by_hand), SCALER), Foreign)


def test_one_that_scales_by_this_application_is_taken_over() -> None:
    made = desired(http(), SCALER)
    del made["metadata"]["ownerReferences"]
    actual = scaled(made)
    step = next_step(http(), actual, SCALER)
    assert isinstance(step, Patch)
    assert patched(actual, step.patch).owned_by(http())


def test_skip() -> None:
    skipped = http(metadata={"annotations": {SKIP: "true"}})
    assert next_step(skipped, None, SCALER) == Leave(managed=False)
    assert next_step(skipped, scaled(desired(http(), SCALER)), SCALER) == Delete("uid-scaled")
    by_hand = desired(http(), SCALER)
    del by_hand["metadata"]["ownerReferences"]
    assert next_step(skipped, scaled(by_hand), SCALER) == Leave(managed=False)


def test_an_orphan_is_let_go_and_left_alone() -> None:
    orphaning = http(metadata={"annotations": {ORPHAN: "true"}}, replicas={"max": 99})
    actual = scaled(desired(http(), SCALER))
    step = next_step(orphaning, actual, SCALER)
    assert isinstance(step, Patch)
    free = patched(actual, step.patch)
    assert not free.meta.owner_references
    assert next_step(orphaning, free, SCALER) == Leave(managed=False)
    created = next_step(orphaning, None, SCALER)
    assert isinstance(created, Create)
    assert "ownerReferences" not in created.manifest["metadata"]


def test_what_goes_is_let_go() -> None:
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert next_step(http(metadata=going), None, SCALER) == Leave(managed=False)
    assert next_step(http(), scaled(desired(http(), SCALER), **going), SCALER) == Leave()


def test_which_applications_a_scaled_object_names() -> None:
    triggers = [
        {"type": "external-push", "metadata": {"interceptorRoute": "a"}},
        {"type": "external-push", "metadata": {"app": "shop/b"}},
        {"type": "cron"},
    ]
    made = {"metadata": {"name": "x", "namespace": "shop"}, "spec": {"triggers": triggers}}
    assert parse_scaled_object(json.dumps(made).encode()).apps == {"shop/a", "shop/b"}
    broken = made | {"spec": {"triggers": "none"}}
    assert parse_scaled_object(json.dumps(broken).encode()).apps == frozenset()


@pytest.mark.parametrize("number", [1 << 31, -(1 << 31) - 1, (1 << 63) - 1])
def test_numbers_that_keda_cannot_read_stay_out_of_its_object(number: int) -> None:
    """The API server would accept them, but then KEDA could not read any ScaledObject of the cluster."""
    numbers: dict[str, Any] = {
        "scaledownPeriod": number,
        "initialCooldownPeriod": number,
        "replicas": {"min": number, "max": number},
    }
    resource = http(**numbers, pollingInterval=abs(number))
    made = desired(resource, Scaler("a:1"))["spec"]
    assert {"cooldownPeriod", "initialCooldownPeriod", "minReplicaCount", "maxReplicaCount"}.isdisjoint(made)
    assert made["pollingInterval"] == 15
    assert [problem.field for problem in resource.ignored] == [
        "spec.replicas.min",
        "spec.replicas.max",
        "spec.scaledownPeriod",
        "spec.initialCooldownPeriod",
        "spec.pollingInterval",
    ]


def test_negative_numbers_are_kedas_affair_as_in_the_addon() -> None:
    made = desired(http(scaledownPeriod=-1, replicas={"min": -1}), Scaler("a:1"))["spec"]
    assert (made["cooldownPeriod"], made["minReplicaCount"]) == (-1, -1)


def test_an_app_that_may_have_no_scaled_object_loses_the_one_that_was_made() -> None:
    actual = scaled(desired(http(), SCALER))
    assert next_step(http(), None, SCALER, withheld=True) == Leave()
    assert next_step(http(), actual, SCALER, withheld=True) == Delete("uid-scaled")
    by_hand = desired(http(), SCALER)
    del by_hand["metadata"]["ownerReferences"]
    assert next_step(http(), scaled(by_hand), SCALER, withheld=True) == Leave(), "what a user has made is never removed"


def test_it_is_made_when_the_scaler_can_know_the_route_and_repaired_always() -> None:
    assert next_step(http(), None, SCALER, served=False) == Leave()
    actual = scaled(desired(http(), SCALER))
    assert isinstance(next_step(http(replicas={"max": 3}), actual, SCALER, served=False), Patch)


RENAMED = http(scaleTargetRef={"name": "new", "service": "web", "port": 80}, replicas={"min": 0, "max": 3})


def moved(actual: ScaledObject, **other: Any) -> ScaledObject:
    """After one step towards another workload."""
    step = next_step(RENAMED, actual, SCALER, shared=False)
    assert isinstance(step, Patch)
    metadata = as_sent(actual)["metadata"]
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    whole = merged(as_sent(actual), step.patch) | {"status": ready | other}
    assert parse_scaled_object(json.dumps(whole).encode()).meta.uid == metadata["uid"]
    return parse_scaled_object(json.dumps(whole).encode())


def test_the_old_workload_is_let_go_before_another_is_scaled() -> None:
    before = scaled(desired(http(), SCALER))
    paused = moved(before)
    assert (paused.workload.name, paused.letting_go, paused.pause) == ("web", True, f"{PAUSED_REPLICAS}=0")
    assert next_step(RENAMED, paused, SCALER, shared=False) == Leave(), "until KEDA has scaled it"
    after = moved(msgspec.structs.replace(paused, paused_count=0))
    assert (after.workload.name, after.letting_go, after.pause) == ("new", False, "")
    assert next_step(RENAMED, after, SCALER, shared=False) == Leave()


def test_a_change_that_is_taken_back_leaves_no_pause() -> None:
    paused = moved(scaled(desired(http(), SCALER)))
    step = next_step(http(), paused, SCALER, shared=False)
    assert isinstance(step, Patch)
    assert patched(paused, step.patch).pause == ""


def test_a_pause_of_the_owner_is_there_afterwards() -> None:
    owner = msgspec.structs.replace(
        RENAMED, meta=msgspec.structs.replace(RENAMED.meta, annotations={PAUSED_REPLICAS: "2"}, generation=2)
    )
    paused = msgspec.structs.replace(moved(scaled(desired(http(), SCALER))), paused_count=0)
    step = next_step(owner, paused, SCALER, shared=False)
    assert isinstance(step, Patch)
    assert patched(paused, step.patch).pause == f"{PAUSED_REPLICAS}=2"


@pytest.mark.parametrize("why", ["shared", "complaint", "paused", "complaint while it is let go"])
def test_what_is_not_safe_to_scale_down_is_left_as_it_is(why: str) -> None:
    made = desired(http(), SCALER)
    if why == "paused":
        made["metadata"]["annotations"] = {"autoscaling.keda.sh/paused": "true"}
    actual = scaled(made, ready="False" if why == "complaint" else "True")
    if why == "complaint while it is let go":
        actual = msgspec.structs.replace(moved(actual), ready="False")
    step = next_step(RENAMED, actual, SCALER, shared=why == "shared")
    assert isinstance(step, Patch)
    assert patched(actual, step.patch).workload.name == "new"
