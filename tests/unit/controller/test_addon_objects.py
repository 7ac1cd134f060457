"""Every object that the add-on accepts is accepted: a corpus over the fields and bounds of its schemas."""

import copy
import json
from typing import Any

import pytest

from controller.crds import definitions
from controller.resources import parse_http_scaled_object, parse_interceptor_route
from tests.support.addon import HTTP_SCALED_OBJECT, INTERCEPTOR_ROUTE
from tests.support.corpus import corpus
from tests.support.full import FULL
from tests.support.structural import faults
from tests.unit.controller.objects import raw

OURS = [definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for definition in definitions().values()]
KINDS = [
    pytest.param(HTTP_SCALED_OBJECT, OURS[0], parse_http_scaled_object, id="HTTPScaledObject"),
    pytest.param(INTERCEPTOR_ROUTE, OURS[1], parse_interceptor_route, id="InterceptorRoute"),
]

STEP = 1 if FULL else 4
"""One of this many objects is tested, unless at full size."""
HARMLESS = ("timeouts", "scalingMetric", "targetPendingRequests", "replicas", "scaledownPeriod", "initialCooldownPeriod")
"""Fields without effect on routing: whatever they contain, requests are routed."""


@pytest.mark.parametrize(("theirs", "ours", "parse"), KINDS)
def test_what_the_addon_accepts_is_accepted_and_told_of(theirs: Any, ours: Any, parse: Any) -> None:
    accepted, refused, served = 0, 0, 0
    for tried, made in corpus(theirs, step=STEP):
        if list(faults(theirs, made)):
            refused += 1
            continue
        accepted += 1
        assert list(faults(ours, made)) == [], tried
        resource = parse(json.dumps(raw(**_stored(ours, copy.deepcopy(made)))).encode())
        if resource.problem is None:
            assert resource.route is not None, tried
            served += 1
            continue
        assert not resource.problem.field.removeprefix("spec.").startswith(HARMLESS), f"{tried}: {resource.problem}"
    # Both results are frequent; otherwise the corpus would miss the bounds.
    assert accepted > 300 // STEP
    assert refused > 300 // STEP
    assert served > accepted / 2


def _stored(schema: Any, value: Any) -> Any:
    """As the API server returns it: without nulls, and with defaults for absent fields."""
    if isinstance(value, list):
        return [_stored(schema["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    for name, inner in properties.items():
        if "default" in inner and value.get(name) is None:
            value[name] = inner["default"]
    value = {name: inner for name, inner in value.items() if inner is not None}
    known = {name: properties.get(name) or schema["additionalProperties"] for name in value}
    return {name: _stored(known[name], inner) for name, inner in value.items()}


@pytest.mark.parametrize(("theirs", "ours", "parse"), KINDS)
def test_lists_are_merged_by_the_same_keys(theirs: Any, ours: Any, parse: Any) -> None:
    """Otherwise one of two writers using server-side apply would remove the other's items."""
    listed = ("x-kubernetes-list-type", "x-kubernetes-list-map-keys")
    for path, node in _lists(theirs):
        other = ours
        for name in path:
            other = other["items"] if name == "[]" else other["properties"][name]
        assert {key: node.get(key) for key in listed} == {key: other.get(key) for key in listed}, path


def _lists(schema: Any, path: tuple[str, ...] = ()) -> Any:
    if schema["type"] == "array":
        yield path, schema
        yield from _lists(schema["items"], (*path, "[]"))
    for name, inner in schema.get("properties", {}).items():
        yield from _lists(inner, (*path, name))
