import json
from typing import Any

import pytest

from controller.autoscalers import Workload, parse_autoscaler, parse_scaled_object, workload_of
from tests.unit.controller.objects import http, route


def written(annotations: dict[str, str] | None = None, **spec: Any) -> bytes:
    metadata = {"name": "so", "namespace": "shop", "annotations": annotations or {}}
    return json.dumps({"metadata": metadata, "spec": spec}).encode()


@pytest.mark.parametrize(
    ("annotations", "pause"),
    [
        ({}, ""),
        ({"autoscaling.keda.sh/paused": "true"}, "autoscaling.keda.sh/paused=true"),
        ({"autoscaling.keda.sh/paused": "yes"}, "autoscaling.keda.sh/paused=yes"),
        ({"autoscaling.keda.sh/paused": "false"}, ""),
        ({"autoscaling.keda.sh/paused": "0"}, ""),
        ({"autoscaling.keda.sh/paused-replicas": "0"}, "autoscaling.keda.sh/paused-replicas=0"),
        ({"autoscaling.keda.sh/paused-scale-out": "true"}, "autoscaling.keda.sh/paused-scale-out=true"),
        ({"autoscaling.keda.sh/paused-scale-in": "true"}, "autoscaling.keda.sh/paused-scale-in=true"),
    ],
)
def test_what_keda_takes_for_a_pause(annotations: dict[str, str], pause: str) -> None:
    assert parse_scaled_object(written(annotations)).pause == pause


@pytest.mark.parametrize(
    ("target", "workload"),
    [
        ({"name": "web"}, Workload("shop", "apps", "Deployment", "web")),
        ({"name": "web", "apiVersion": "apps/v1", "kind": "Deployment"}, Workload("shop", "apps", "Deployment", "web")),
        (
            {"name": "web", "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"},
            Workload("shop", "argoproj.io", "Rollout", "web"),
        ),
    ],
)
def test_the_same_workload_however_it_is_written(target: dict[str, str], workload: Workload) -> None:
    assert parse_scaled_object(written(scaleTargetRef=target)).workload == workload
    assert parse_autoscaler(written(scaleTargetRef=target)).workload == workload
    assert workload_of(http(scaleTargetRef={**target, "service": "web", "port": 80})) == workload


def test_kedas_kinds_have_no_case() -> None:
    made = [
        http(scaleTargetRef={"name": "web", "service": "web", "port": 80, "kind": kind}) for kind in ("deployment", "Deployment")
    ]
    assert workload_of(made[0]) == workload_of(made[1])


def test_an_autoscaler_that_names_no_workload_has_none() -> None:
    assert workload_of(route()) is None
    assert workload_of(http(scaleTargetRef={"service": "web", "port": 80})) is None
    assert parse_scaled_object(written(scaleTargetRef="none")).workload.name == ""


def test_what_the_hpa_says_is_kept_while_it_is_not_active() -> None:
    for status, message, inactive in (
        ("False", "ambiguous", "ambiguous"),
        ("False", "", "KEDA gives no reason"),
        ("True", "x", ""),
    ):
        condition = {"type": "HPAActive", "status": status, "message": message}
        whole = json.loads(written()) | {"status": {"conditions": [condition]}}
        assert parse_scaled_object(json.dumps(whole).encode()).inactive == inactive
