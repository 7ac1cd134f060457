"""What is made for a Preview, from the objects of its base."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import msgspec
import pytest

from controller.preview.maker import paths_of
from controller.preview.manifests import (
    after_job_of,
    is_after_job,
    job_of,
    labels_of_pods,
    owner_of,
    scaled_object_of,
    service_of,
    workload_of,
)
from controller.preview.resource import Preview, parse_preview
from controller.problem import Problem
from controller.resources import parse_http_scaled_object
from controller.schema.preview import Hook
from controller.table import assemble
from tests.unit.controller.objects import http, raw

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u",
        "labels": {"team": "a", "app.kubernetes.io/instance": "shop", "helm.sh/chart": "web-1"},
        "annotations": {"meta.helm.sh/release-name": "shop"},
    },
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "Recreate"},
        "template": {
            "metadata": {
                "labels": {"app": "web", "tier": "front", "free": "x", "app.kubernetes.io/instance": "shop"},
                "annotations": {"a": "b"},
            },
            "spec": {
                "serviceAccountName": "web",
                "containers": [
                    {
                        "name": "web",
                        "image": "web:1",
                        "env": [
                            {"name": "A", "value": "1"},
                            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                        ],
                        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
                    },
                    {"name": "side", "image": "side:1"},
                ],
            },
        },
    },
    "status": {"replicas": 3},
}
SERVICE: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "type": "LoadBalancer",
        "clusterIP": "10.0.0.1",
        "selector": {"app": "web", "tier": "front"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30000, "protocol": "TCP"}],
    },
}


SELECTORS: tuple[dict[str, str], ...] = (SERVICE["spec"]["selector"], {"app": "another"}, {})


def preview(called: str = "f1", **spec: Any) -> Preview:
    return parse_preview(json.dumps(raw(called, spec={"base": "web", **spec})).encode())


def test_pods_of_the_copy_are_found_by_neither_the_service_nor_the_workload_of_the_base() -> None:
    made = workload_of(preview(), DEPLOYMENT, SELECTORS)
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels == {
        "app": "web--f1", "tier": "front--f1", "free": "x", "weir.dev/preview": "f1", "weir.dev/preview-of": "web",
    }  # fmt: skip
    assert made["spec"]["selector"] == {"matchLabels": {"app": "web--f1", "weir.dev/preview": "f1", "weir.dev/preview-of": "web"}}
    selector = service_of(preview(), SERVICE, DEPLOYMENT, SELECTORS)["spec"]["selector"]
    assert selector.items() <= labels.items()
    base = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= base.items()
    assert not SERVICE["spec"]["selector"].items() <= labels.items()
    another = labels_of_pods(preview(), DEPLOYMENT, (*SELECTORS, {"free": "x"}))
    assert another["free"] == "x--f1"


def test_the_workload() -> None:
    before = deepcopy(DEPLOYMENT)
    made = workload_of(preview(), DEPLOYMENT, SELECTORS)
    assert before == DEPLOYMENT
    assert (made["kind"], made["apiVersion"], "status" in made) == ("Deployment", "apps/v1", False)
    assert made["metadata"] == {
        "name": "web--f1",
        "namespace": "shop",
        "labels": {"team": "a", "weir.dev/preview": "f1", "weir.dev/preview-of": "web"},
        "ownerReferences": [owner_of(preview())],
    }
    assert "replicas" not in made["spec"]
    assert made["spec"]["strategy"] == {"type": "Recreate"}
    assert made["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
    assert made["spec"]["template"]["spec"] == DEPLOYMENT["spec"]["template"]["spec"]


def test_overrides() -> None:
    overrides = {"image": "web:2", "env": {"B": "2", "C": "3"}, "resources": {"requests": {"cpu": "100m"}}}
    web, side = workload_of(preview(overrides=overrides), DEPLOYMENT, SELECTORS)["spec"]["template"]["spec"]["containers"]
    assert (web["image"], side) == ("web:2", {"name": "side", "image": "side:1"})
    assert web["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]
    assert web["resources"] == {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}
    other = preview(overrides={"container": "side", "image": "side:2"})
    web, side = workload_of(other, DEPLOYMENT, SELECTORS)["spec"]["template"]["spec"]["containers"]
    assert (web["image"], side["image"]) == ("web:1", "side:2")
    with pytest.raises(Problem, match=r"spec\.overrides\.container: there is no container x in the base: web, side"):
        workload_of(preview(overrides={"container": "x"}), DEPLOYMENT, SELECTORS)


def test_a_stateful_set_has_volumes_of_its_own_which_go_with_it() -> None:
    base = deepcopy(DEPLOYMENT) | {"kind": "StatefulSet"}
    base["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    made = workload_of(preview(), base, SELECTORS)["spec"]
    assert (made["serviceName"], made["volumeClaimTemplates"]) == ("web--f1", [{"metadata": {"name": "data"}}])
    assert made["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"


def test_the_service() -> None:
    made = service_of(preview(), SERVICE, DEPLOYMENT, SELECTORS)
    assert made["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    assert not {"type", "clusterIP"} & made["spec"].keys()
    headless = deepcopy(SERVICE)
    headless["spec"]["clusterIP"] = "None"
    assert service_of(preview(), headless, DEPLOYMENT, SELECTORS)["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda workload, service: workload.update(kind="Rollout"), "is a Rollout"),
        (lambda workload, service: workload["spec"]["selector"].update(matchExpressions=[{}]), "has matchExpressions"),
        (lambda workload, service: service["spec"].update(selector=None), "has no selector"),
        (lambda workload, service: service["spec"].update(selector={"no": "x"}), "does not select the pods"),
        (lambda workload, service: workload["spec"]["template"]["spec"].update(containers=[]), "has no containers"),
    ],
)
def test_what_cannot_be_copied(change: Any, why: str) -> None:
    workload, service = deepcopy(DEPLOYMENT), deepcopy(SERVICE)
    change(workload, service)

    def made() -> None:
        service_of(preview(), service, workload, SELECTORS)
        workload_of(preview(), workload, SELECTORS)

    with pytest.raises(Problem, match=why):
        made()


def test_the_scaled_object_sleeps_at_zero_and_is_read_as_a_preview() -> None:
    base = http("web", replicas={"min": 2, "max": 9}, scaledownPeriod=60, timeouts={"request": "5s"}, hosts=["a.b"])
    made = scaled_object_of(preview(), base)
    assert made["spec"] == {
        "scaledownPeriod": 60,
        "previewOf": {"base": "web", "name": "f1"},
        "scaleTargetRef": {"name": "web--f1", "service": "web--f1", "port": 80},
        "replicas": {"min": 0, "max": 9},
    }
    assert scaled_object_of(preview(overrides={"replicas": {"min": 1, "max": 2}}), base)["spec"]["replicas"] == {
        "min": 1,
        "max": 2,
    }
    read = parse_http_scaled_object(json.dumps(made | {"metadata": made["metadata"] | {"uid": "u"}}).encode())
    assert (read.problem, read.ignored) == (None, ())


def test_the_copy_is_reached_past_its_service_if_the_base_is() -> None:
    assert scaled_object_of(preview(), http("web", directPodRouting=True))["spec"]["directPodRouting"] is True
    assert scaled_object_of(preview(), http("web", directPodRouting=False))["spec"]["directPodRouting"] is False
    for of_base, own, found in ((True, None, True), (None, True, True), (False, None, False), (True, False, False)):
        base = http("web", directPodRouting=of_base)
        target = {"name": "other", "service": "other", "port": 80}
        copy = http("other", hosts=None, previewOf={"base": "web", "name": "f1"}, scaleTargetRef=target, directPodRouting=own)
        previews = assemble([base, copy]).table.apps["shop/web"].previews
        assert previews is not None
        assert [one.target and one.target.direct for one in previews.copies] == [found]


def test_long_names_stay_values_of_labels() -> None:
    base = deepcopy(DEPLOYMENT)
    base["spec"]["template"]["metadata"]["labels"]["app"] = base["spec"]["selector"]["matchLabels"]["app"] = "w" * 63
    service = deepcopy(SERVICE)
    service["spec"]["selector"]["app"] = "w" * 63
    labels = workload_of(preview("f" * 40), base, [service["spec"]["selector"]])["spec"]["template"]["metadata"]["labels"]
    assert all(len(value) <= 63 for value in labels.values())
    assert labels["app"] != "w" * 63


@pytest.mark.parametrize(
    ("name", "spec", "field"),
    [
        ("f.1", {}, "metadata.name"),
        ("a--b", {}, "metadata.name"),
        ("x", {"name": "xn"}, "spec.name"),
        ("x", {"name": "f" * 60}, "spec.name"),
        ("x", {"ttl": "soon"}, "spec.ttl"),
        ("x", {"base": 7}, "spec.base"),
        ("x", {"afterTimeout": "0"}, "spec.afterTimeout"),
        ("x", {"afterTimeout": "25h"}, "spec.afterTimeout"),
        ("x", {"afterTimeout": "soon"}, "spec.afterTimeout"),
        ("x", {"overrides": {"env": {"A": 1}}}, "spec.overrides.env[...]"),
    ],
)
def test_invalid_previews_have_a_problem(name: str, spec: dict[str, Any], field: str) -> None:
    found = preview(name, **spec).problem
    assert found is not None
    assert found.field == field


@pytest.mark.parametrize(
    ("pod", "what"),
    [
        ({"serviceAccountName": "admin"}, "another serviceAccountName"),
        ({"serviceAccount": "admin"}, "another serviceAccount"),
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"nodeName": "n1"}, "nodeName"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, "volumes of the machine"),
        ({"containers": [{"name": "a", "securityContext": {"privileged": True}}]}, "more privileges"),
        ({"initContainers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]}, "more privileges"),
        ({"containers": [5]}, "containers that are none"),
        ({"containers": [{"env": 5}]}, "containers that are none"),
        ({"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 443}]}]}, "ports of the machine"),
        ({"initContainers": [{"name": "a", "ports": 443}]}, "ports of the machine"),
        ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "sysctls"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "not confined"),
        ({"containers": [{"name": "a", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}}]}, "not confined"),
        ({"containers": [{"name": "a", "securityContext": {"seLinuxOptions": {"type": "spc_t"}}}]}, "not confined"),
        ({"securityContext": {"seLinuxOptions": {"role": "system_r"}}}, "not confined"),
        ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "more privileges"),
        ({"securityContext": 5}, "more privileges"),
        ({"priorityClassName": "system-node-critical"}, "a priorityClassName of the system"),
    ],
)
def test_a_hook_can_do_no_more_than_a_pod_of_the_base(pod: dict[str, Any], what: str) -> None:
    with pytest.raises(Problem, match=what):
        job_of(preview(), Hook("db", {"template": {"spec": {"containers": [{"name": "a"}], **pod}}}), "web")


def test_a_hook_that_is_confined_as_others_are() -> None:
    context = {"runAsNonRoot": True, "seLinuxOptions": {"level": "s0:c1", "type": "container_t"}, "fsGroup": 5}
    context |= {"seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "Localhost", "localhostProfile": "a"}}
    containers = [{"name": "a", "ports": [{"containerPort": 80}], "securityContext": {"capabilities": {"drop": ["ALL"]}}}]
    template = {"spec": {"securityContext": context, "priorityClassName": "low", "containers": containers}}
    kept = "container.apparmor.security.beta.kubernetes.io/a"
    made = job_of(preview(), Hook("db", {"template": template | {"metadata": {"annotations": {kept: "runtime/default"}}}}), "web")
    assert made["spec"]["template"]["spec"]["securityContext"] == context
    with pytest.raises(Problem, match=f"hook db may not have {kept}"):
        job_of(preview(), Hook("db", {"template": template | {"metadata": {"annotations": {kept: "unconfined"}}}}), "web")


def test_the_job_of_a_hook() -> None:
    pod = {"serviceAccountName": "web", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}
    template = {"metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}}, "spec": pod}
    made = job_of(preview(), Hook("db", {"ttlSecondsAfterFinished": 0, "template": template}), "web")
    assert "ttlSecondsAfterFinished" not in made["spec"], "it would run again and again"
    metadata = made["spec"]["template"]["metadata"]
    assert metadata["annotations"] == {"a": "b"}
    assert set(metadata["labels"]) == {"weir.dev/preview", "weir.dev/preview-of"}, "no Service finds its pods"
    given = made["spec"]["template"]["spec"]
    assert all({"name": "WEIR_PREVIEW_OF", "value": "web"} in one["env"] for one in given["initContainers"] + given["containers"])


def test_the_job_of_a_hook_after() -> None:
    pod = {"serviceAccountName": "web", "containers": [{"name": "a"}]}
    given = Hook("db", {"ttlSecondsAfterFinished": 0, "activeDeadlineSeconds": 30, "template": {"spec": pod}})
    made = after_job_of(preview(afterTimeout="90500ms"), given, "web")
    assert (made["spec"]["ttlSecondsAfterFinished"], made["spec"]["activeDeadlineSeconds"]) == (91, 30)
    assert "ownerReferences" not in made["metadata"]
    assert is_after_job(made, preview())
    before = job_of(preview(), given, "web")
    assert not is_after_job(before, preview())
    assert made["metadata"]["name"].startswith(before["metadata"]["name"] + "-"), "a hook before may have the same name"
    own = preview()
    other = msgspec.structs.replace(own, meta=msgspec.structs.replace(own.meta, uid="another"))
    assert after_job_of(other, given, "web")["metadata"]["name"] != made["metadata"]["name"]
    assert not is_after_job(made, other)
    long = preview("feature-with-a-rather-long-name-that-is-nearly-at-the-bound")
    assert len(after_job_of(long, given, "web")["metadata"]["name"]) <= 63
    with pytest.raises(Problem, match=r"spec\.after: hook db may not have another serviceAccountName"):
        after_job_of(preview(), given, "other")


def test_a_name_with_which_pods_of_a_stateful_set_cannot_start() -> None:
    base = DEPLOYMENT | {"kind": "StatefulSet"}
    for length, good in ((52, True), (53, False)):
        named = preview("f" * (length - len("web--")))
        if good:
            assert len(workload_of(named, base, SELECTORS)["metadata"]["name"]) == length
        else:
            with pytest.raises(Problem, match="is longer than 52 characters"):
                workload_of(named, base, SELECTORS)


@pytest.mark.parametrize(
    "target",
    [
        {"name": "../../victim/deployments/db", "service": "web"},
        {"name": "..", "service": "web"},
        {"name": "web?watch=true", "service": "web"},
        {"name": "web", "service": "../../victim/services/db"},
    ],
)
def test_a_base_that_leads_out_of_its_namespace_is_not_copied(target: dict[str, str]) -> None:
    with pytest.raises(Problem, match=r"spec\.base"):
        paths_of(http("web", scaleTargetRef={"port": 80, **target}))


def test_long_names_of_jobs_stay_different() -> None:
    job = {"template": {"spec": {"containers": [{"name": "a"}]}}}
    long = preview("feature-with-a-rather-long-name-that-is-nearly-at-the-bound")
    names = [job_of(long, Hook(name, job))["metadata"]["name"] for name in ("data-base", "data-queue")]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 63


def test_a_time_to_live_that_no_date_can_say() -> None:
    found = preview("f1", ttl="999999999h").problem
    assert found is not None
    assert str(found) == "spec.ttl: is longer than 3650 days"


def test_a_spec_of_any_size_takes_bounded_memory_and_is_told() -> None:
    """All Previews are in memory, of everybody."""
    nested: list[Any] = [[] for _ in range(40_000)]
    found = preview("f1", namespace="qa", before=[{"name": "x", "job": {"template": nested}}])
    assert str(found.problem) == "spec: is larger than 64 KiB"
    assert found.spec is None
    assert found.place == "qa", "what was made there is deleted all the same"
    assert preview("f1", before=[{"name": "x", "job": {"template": nested[:10_000]}}]).problem is None


@pytest.mark.parametrize("job", [{}, {"template": 1}, {"template": {"spec": {}}}, {"template": {"spec": {"containers": "a"}}}])
def test_hooks_that_are_no_jobs(job: dict[str, Any]) -> None:
    with pytest.raises(Problem, match="hook db has no template with containers"):
        job_of(preview(), Hook("db", job))
