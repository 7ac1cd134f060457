"""The definitions, compared with the structs they are generated from and with the rules for structural schemas."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES, definitions
from controller.schema.common import DURATION_PATTERN

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
HTTP, ROUTE, PREVIEW = definitions().values()


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    (version,) = definition["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def paths(definition: dict[str, Any]) -> set[str]:
    return {path.removeprefix(".spec.") for path, _ in nodes(schema_of(definition)) if path.startswith(".spec.")}


def test_every_field_of_the_addon_is_there() -> None:
    assert paths(HTTP) >= {
        "hosts", "pathPrefixes", "headers[].name", "headers[].value", "scaleTargetRef.name", "scaleTargetRef.apiVersion",
        "scaleTargetRef.kind", "scaleTargetRef.service", "scaleTargetRef.port", "scaleTargetRef.portName",
        "coldStartTimeoutFailoverRef.service", "coldStartTimeoutFailoverRef.port", "coldStartTimeoutFailoverRef.portName",
        "coldStartTimeoutFailoverRef.timeoutSeconds", "replicas.min", "replicas.max", "targetPendingRequests", "scaledownPeriod",
        "initialCooldownPeriod", "scalingMetric.concurrency.targetValue", "scalingMetric.requestRate.targetValue",
        "scalingMetric.requestRate.window", "scalingMetric.requestRate.granularity", "timeouts.conditionWait",
        "timeouts.responseHeader",
    }  # fmt: skip
    response = {"statusCode", "body", "bodyFromConfigMap.name", "bodyFromConfigMap.key", "headers"}
    assert paths(ROUTE) >= {
        "target.service", "target.port", "target.portName", "rules[].hosts", "rules[].paths[].value", "rules[].headers[].name",
        "rules[].headers[].value", "scalingMetric.concurrency.targetValue", "scalingMetric.requestRate.targetValue",
        "scalingMetric.requestRate.window", "scalingMetric.requestRate.granularity", "coldStart.fallback.service.name",
        "coldStart.fallback.service.port", "coldStart.fallback.service.portName", "coldStart.maxPendingRequests",
        "coldStart.overflow",
        "timeouts.readiness", "timeouts.request", "timeouts.responseHeader", "staticRoutes[].rules[].hosts",
        "staticRoutes[].responseMode",
        *(f"staticRoutes[].response.{field}" for field in response),
        *(f"coldStart.placeholder.response.{field}" for field in response),
    }  # fmt: skip


@pytest.mark.parametrize("definition", [HTTP, ROUTE, PREVIEW])
def test_the_schema_is_structural(definition: dict[str, Any]) -> None:
    for path, node in nodes(schema_of(definition)):
        either = node.get("x-kubernetes-int-or-string") and node["anyOf"] == [{"type": "integer"}, {"type": "string"}]
        either = either or node.get("x-kubernetes-preserve-unknown-fields")
        assert either or node["type"] in ("object", "array", "string", "integer", "boolean"), path
        assert "$ref" not in json.dumps(node)
        assert set(node.get("required", ())) <= set(node.get("properties", ())), path
        if node.get("x-kubernetes-list-type") == "map":
            for key in node["x-kubernetes-list-map-keys"]:
                assert key in node["items"]["required"], path
        if path.startswith(".spec.") and not path.endswith("[]"):
            assert node.get("description"), path


@pytest.mark.parametrize(("definition", "kind"), [(HTTP, HTTP_SCALED_OBJECTS), (ROUTE, INTERCEPTOR_ROUTES)])
def test_names_and_the_story_that_kubectl_tells(definition: dict[str, Any], kind: Any) -> None:
    assert definition["metadata"]["name"] == f"{kind.plural}.http.keda.sh"
    (version,) = definition["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert {"Ready", "Reason", "Propagated", "Age", "TargetService"} <= set(columns)


def test_rules_that_the_api_server_checks() -> None:
    rules = {
        path.removeprefix(".spec.")
        for definition in (HTTP, ROUTE)
        for path, node in nodes(schema_of(definition))
        if "x-kubernetes-validations" in node
    }
    assert rules == {
        ".spec", "scaleTargetRef", "coldStartTimeoutFailoverRef", "target", "scalingMetric", "coldStart",
        "coldStart.fallback", "coldStart.fallback.service",
        "coldStart.placeholder", "coldStart.placeholder.response", "staticRoutes[]", "staticRoutes[].response", "affinity",
        "ports[]",
    }  # fmt: skip


def test_defaults() -> None:
    found = {path: node["default"] for path, node in nodes(schema_of(ROUTE)) if "default" in node}
    assert found == {
        ".spec.scalingMetric.concurrency.targetValue": 100,
        ".spec.scalingMetric.requestRate.targetValue": 100,
        ".spec.scalingMetric.requestRate.window": "1m",
        ".spec.scalingMetric.requestRate.granularity": "1s",
        ".spec.staticRoutes[].responseMode": "WhenUnavailable",
        ".spec.rules[].backends[].weight": 1,
        ".spec.rules[].redirect.statusCode": 302,
        ".spec.schedule[].replicas": 1,
        ".spec.ports[].protocol": "TCP",
        ".spec.previews.header": "uber-ctx-key",
        ".spec.previews.hosts": ("{name}.{baseHost}",),
        ".spec.previews.unknown": "base",
    }


def test_the_pattern_of_durations_is_one_that_go_knows() -> None:
    assert re.fullmatch(DURATION_PATTERN, "1m30s")
    assert not {"(?", "\\d", "\\Z"} & {DURATION_PATTERN[at : at + 2] for at in range(len(DURATION_PATTERN))}


def test_what_is_written_is_what_is_said() -> None:
    assert {path.name for path in CRDS.glob("*_*.yaml")} == set(definitions())
