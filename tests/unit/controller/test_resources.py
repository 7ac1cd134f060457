"""Parsing an object gives a route or a problem, never an exception, whatever the object contains."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.autoscalers import parse_scaled_object
from controller.resources import parse_http_scaled_object, parse_interceptor_route
from fleet.routing.check import check_route
from tests.unit.controller.objects import http, raw, route, scaled

_texts = st.one_of(
    st.text(max_size=8), st.sampled_from(["/a", "*.b", "a.example.com", "1m", "0", "-1s", "1Mi", "Always", "Reject", "Browsers"])
)
_leaves = st.one_of(st.none(), st.booleans(), st.integers(-5, 2**63), st.floats(allow_nan=False, allow_infinity=False), _texts)
_FIELDS = """hosts pathPrefixes headers name value scaleTargetRef service port portName replicas min max scalingMetric concurrency
requestRate targetValue window granularity timeouts conditionWait target rules paths coldStart fallback placeholder response
staticRoutes activityPeriod maxBusy audience overflow maxPendingRequests maxPendingBytes userAgents response responseMode body
bodyFromConfigMap key affinity cookie header maxAge backendConcurrency maxRequests readinessPath serverTiming answerHalfClosed
statusCode cors allowOrigins allowMethods allowHeaders exposeHeaders allowCredentials"""
_names = st.sampled_from(_FIELDS.split())
_specs = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=5), max_leaves=20
)
_near = st.dictionaries(_names, _specs, max_size=4)


@given(_specs, _near, st.booleans())
def test_whatever_a_spec_holds(spec: Any, changes: dict[str, Any], near: bool) -> None:
    whole = {
        "target": {"service": "web", "port": 80},
        "scaleTargetRef": {"service": "web", "port": 80},
        "scalingMetric": {"concurrency": {}},
    }
    data = json.dumps(raw(spec=whole | changes if near else spec, status=spec)).encode()
    for parse in (parse_http_scaled_object, parse_interceptor_route):
        resource = parse(data)
        assert (resource.route is None) != (resource.problem is None)
        if resource.route is not None:
            check_route(resource.route)
        else:
            assert str(resource.problem).startswith("spec")


@given(_specs)
def test_whatever_a_scaled_object_holds(spec: Any) -> None:
    if isinstance(spec, dict):
        parsed = parse_scaled_object(json.dumps(raw(spec=spec)).encode())
        assert parsed.apps == frozenset()


def test_what_keda_changes_all_the_time_is_no_change() -> None:
    made = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"triggers": []}}
    assert scaled(made, resourceVersion="1", generation=1) == scaled(made, resourceVersion="2", generation=7)


def test_an_object_compares_by_what_it_says() -> None:
    assert http() == http(metadata={"resourceVersion": "9"})
    assert http() != http(hosts=["other"])
    assert route() != route(metadata={"generation": 2})
