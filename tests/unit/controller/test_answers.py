"""Fields of custom resources about local answers, translated to a route."""

from __future__ import annotations

from typing import Any

import pytest

from controller.answers import MAINTENANCE, MAINTENANCE_BODY, Reference
from controller.resources import Resource
from fleet.routing.check_answers import MAX_ANSWER_BYTES
from fleet.routing.cors import Cors
from fleet.routing.route import (
    Affinity,
    ColdStart,
    HeaderMatch,
    Placeholder,
    Protection,
    Route,
    Rule,
    StaticResponse,
    StaticRoute,
    Target,
)
from tests.unit.controller.objects import http, route

TEXT, HTML = ("Content-Type", "text/plain; charset=utf-8"), ("Content-Type", "text/html; charset=utf-8")
KINDS = pytest.mark.parametrize("make", [http, route])
SORRY = {"fallback": {"service": {"name": "sorry", "portName": "http"}}}


def made(resource: Resource) -> Route:
    assert resource.route is not None, resource.problem
    return resource.route


def cold(make: Any = route, **fields: Any) -> ColdStart:
    return made(make(coldStart=fields)).cold_start


def placeholder(**fields: Any) -> Placeholder:
    found = cold(placeholder=fields).placeholder
    assert found is not None
    return found


def maintained(**annotations: str) -> Resource:
    names = {"on": MAINTENANCE, "body": MAINTENANCE_BODY}
    return http(metadata={"annotations": {names[name]: value for name, value in annotations.items()}})


@KINDS
def test_a_cold_start_whole(make: Any) -> None:
    response = {"statusCode": 202, "body": "<p>soon", "headers": {"Refresh": "5", "Cache-Control": "no-store"}}
    whole = {**SORRY, "placeholder": {"response": response}, "maxPendingRequests": 5, "overflow": "Placeholder"}
    answer = StaticResponse(202, (("Cache-Control", "no-store"), ("Refresh", "5"), HTML), b"<p>soon")
    assert cold(make, **whole, maxPendingBytes="1Mi") == ColdStart(
        Placeholder(answer), Target("shop/sorry", "http"), 5, 1 << 20, overflow_placeholder=True
    )


def test_a_placeholder_of_the_addon_is_for_everyone_and_empty_where_nothing_is_said() -> None:
    assert placeholder(response={}) == Placeholder(StaticResponse(body=b""))
    assert placeholder(response={"body": "soon"}) == Placeholder(StaticResponse(None, (TEXT,), b"soon"))
    assert placeholder(response={"body": "{}", "headers": {"content-type": "application/json"}}).response.headers == (
        ("content-type", "application/json"),
    )


def test_a_placeholder_without_a_response_is_the_built_in_page() -> None:
    assert placeholder(audience="Browsers") == Placeholder(StaticResponse(), browsers_only=True)
    assert placeholder(audience="Everyone") == Placeholder(StaticResponse())
    assert placeholder(audience="Browsers", response={"body": "x"}).browsers_only


@pytest.mark.parametrize(
    ("fields", "overflows"),
    [
        ({"overflow": "Placeholder", "maxPendingRequests": 5}, True),
        ({"overflow": "Placeholder"}, False),
        ({"overflow": "Reject", "maxPendingRequests": 5}, False),
        ({"maxPendingRequests": 5}, False),
    ],
)
def test_requests_wait_beside_a_placeholder_only_where_their_number_is_given(fields: dict[str, Any], overflows: bool) -> None:
    assert cold(placeholder={"response": {"body": "soon"}}, **fields).overflow_placeholder == overflows


@pytest.mark.parametrize(
    ("timeouts", "fallback", "readiness"),
    [(None, True, None), ("0s", True, 30.0), ("0s", False, 0.0), ("5s", True, 5.0)],
)
def test_a_fallback_needs_a_limit_to_the_wait(timeouts: str | None, fallback: bool, readiness: float | None) -> None:
    spec: dict[str, Any] = {"coldStart": SORRY} if fallback else {}
    for make, field in ((http, "conditionWait"), (route, "readiness")):
        assert made(make(**spec, timeouts={field: timeouts} if timeouts else None)).timeouts.readiness == readiness


@KINDS
def test_static_routes(make: Any) -> None:
    statics = [
        {"rules": [{"hosts": ["a"], "paths": [{"value": "x"}], "headers": [{"name": "k"}]}, {}], "response": {}},
        {"userAgents": ["kube-probe/*"], "response": {"statusCode": 204}, "responseMode": "Always"},
    ]
    assert made(make(staticRoutes=statics)).static_routes == (
        StaticRoute(StaticResponse(body=b""), (Rule(("a",), ("/x",), (HeaderMatch("k"),)), Rule())),
        StaticRoute(StaticResponse(204, body=b""), user_agents=("kube-probe/*",), always=True),
    )


@KINDS
def test_how_an_application_is_treated(make: Any) -> None:
    cookie = made(
        make(
            affinity={"cookie": "weir", "maxAge": "1h"},
            backendConcurrency=0,
            maxRequests=100,
            readinessPath="/healthz",
            serverTiming=True,
            answerHalfClosed=True,
        )
    )
    assert cookie.affinity == Affinity(cookie="weir", max_age=3600.0)
    assert cookie.protection == Protection(0, 100, "/healthz")
    assert cookie.server_timing
    assert cookie.answer_half_closed
    assert made(make(answerHalfClosed=False)).answer_half_closed is False
    assert made(make()).answer_half_closed is None
    assert made(make(affinity={"header": "X-Session"})).affinity == Affinity(header="X-Session")
    assert made(make(cors={"allowOrigins": ["*"]})).cors == Cors(("*",))
    lists = {"allowMethods": ["PUT"], "allowHeaders": ["x-a"], "exposeHeaders": ["x-b"]}
    cors = {"allowOrigins": ["https://a.test"], **lists, "maxAge": "1m", "allowCredentials": True}
    assert made(make(cors=cors)).cors == Cors(("https://a.test",), ("PUT",), ("x-a",), ("x-b",), 60.0, allow_credentials=True)


def test_bodies_that_config_maps_hold_are_asked_for() -> None:
    page = {"bodyFromConfigMap": {"name": "pages", "key": "a.html"}}
    files = {"bodyFromConfigMap": {"name": "files"}}
    resource = route(
        coldStart={"placeholder": {"response": page}},
        staticRoutes=[{"rules": [{}], "response": {}}, {"rules": [{}], "response": files}],
        metadata={"annotations": {MAINTENANCE: "true", MAINTENANCE_BODY: "down/index.html"}},
    )
    assert resource.references == (
        Reference("coldStart.placeholder.response", "shop/pages", "a.html"),
        Reference("staticRoutes[1].response", "shop/files", ""),
        Reference(MAINTENANCE, "shop/down", "index.html"),
    )


@pytest.mark.parametrize("text", ["", " ", "false", "False", "no", "Off", "0"])
def test_no_maintenance(text: str) -> None:
    assert made(maintained(on=text, body="page")).maintenance is None
    assert made(maintained(body="page")).maintenance is None


@pytest.mark.parametrize("text", ["true", " True ", "yes", "On", "1"])
def test_the_page_for_maintenance(text: str) -> None:
    assert made(maintained(on=text)).maintenance == StaticResponse()


def test_maintenance_in_words_of_ones_own() -> None:
    assert made(maintained(on="Back at 14:00")).maintenance == StaticResponse(None, (TEXT,), b"Back at 14:00")
    assert made(maintained(on="<h1>Back at 14:00</h1>")).maintenance == StaticResponse(None, (HTML,), b"<h1>Back at 14:00</h1>")
    assert maintained(on="soon", body="down").references == (Reference(MAINTENANCE, "shop/down", ""),)


@pytest.mark.parametrize(
    ("quantity", "found"),
    [(0, 0), (1500, 1500), ("1500", 1500), ("1k", 1000), ("1.5Ki", 1536), ("16Mi", 16 << 20), ("2G", 2 * 10**9)],
)
def test_quantities(quantity: int | str, found: int) -> None:
    assert cold(maxPendingBytes=quantity).max_held_bytes == found


ANSWER = {"body": "soon"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"coldStart": {}}, "spec.coldStart"),
        ({"coldStart": {"placeholder": {}}}, "spec.coldStart.placeholder"),
        ({"coldStart": {"placeholder": {"audience": "Nobody"}}}, "spec.coldStart.placeholder.audience"),
        ({"coldStart": {"maxPendingRequests": 5, "overflow": "Placeholder"}}, "spec.coldStart"),
        ({"coldStart": {"maxPendingRequests": 0}}, "spec.coldStart.maxPendingRequests"),
        ({"coldStart": {"maxPendingBytes": "lots"}}, "spec.coldStart.maxPendingBytes"),
        ({"coldStart": {"maxPendingBytes": -1}}, "spec.coldStart.maxPendingBytes"),
        ({"coldStart": {"fallback": {"service": {"name": "a"}}}}, "spec.coldStart.fallback.service"),
        ({"coldStart": {"fallback": {"service": {"name": "A", "port": 80}}}}, "spec.coldStart.fallback.service.name"),
        ({"coldStart": {"fallback": {"service": {"name": "a", "portName": "A"}}}}, "spec.coldStart.fallback.service.port"),
        ({"coldStart": {"fallback": {"service": {"name": "web", "port": 80}}}}, "spec.coldStart.fallback"),
        (
            {"coldStart": {"placeholder": {"response": {"statusCode": 100}}}},
            "spec.coldStart.placeholder.response.statusCode",
        ),
        (
            {"coldStart": {"placeholder": {"response": {"headers": {"A": "b", "Connection": "close"}}}}},
            "spec.coldStart.placeholder.response.headers",
        ),
        (
            {"coldStart": {"placeholder": {"response": ANSWER | {"bodyFromConfigMap": {"name": "a"}}}}},
            "spec.coldStart.placeholder.response",
        ),
        ({"staticRoutes": [{"response": ANSWER}]}, "spec.staticRoutes[0]"),
        ({"staticRoutes": [{"rules": [], "userAgents": [], "response": ANSWER}]}, "spec.staticRoutes[0]"),
        ({"staticRoutes": [{"rules": [{"hosts": ["a b"]}], "response": ANSWER}]}, "spec.staticRoutes[0].rules[0].hosts[0]"),
        (
            {"staticRoutes": [{"rules": [{"paths": [{"value": "\x01"}]}], "response": ANSWER}]},
            "spec.staticRoutes[0].rules[0].paths[0].value",
        ),
        ({"staticRoutes": [{"userAgents": ["a\n"], "response": ANSWER}]}, "spec.staticRoutes[0].userAgents[0]"),
        ({"staticRoutes": [{"rules": [{}], "response": ANSWER}] * 101}, "spec.staticRoutes"),
        (
            {"staticRoutes": [{"rules": [{}], "response": {"body": "x" * 32768}}] * (MAX_ANSWER_BYTES // 32768 + 1)},
            "spec.staticRoutes",
        ),
        ({"affinity": {}}, "spec.affinity"),
        ({"affinity": {"cookie": "a", "header": "b"}}, "spec.affinity"),
        ({"affinity": {"header": "b", "maxAge": "1h"}}, "spec.affinity"),
        ({"affinity": {"cookie": "a b"}}, "spec.affinity.cookie"),
        ({"affinity": {"cookie": "a", "maxAge": "soon"}}, "spec.affinity.maxAge"),
        ({"cors": {}}, "spec.cors"),
        ({"cors": {"allowOrigins": ["a.test"]}}, "spec.cors.allowOrigins[0]"),
        ({"cors": {"allowOrigins": ["*"], "allowMethods": ["put"]}}, "spec.cors.allowMethods[0]"),
        ({"cors": {"allowOrigins": ["*"], "allowCredentials": True}}, "spec.cors.allowOrigins"),
        ({"cors": {"allowOrigins": ["*"], "maxAge": "soon"}}, "spec.cors.maxAge"),
        ({"backendConcurrency": -1}, "spec.backendConcurrency"),
        ({"maxRequests": 0}, "spec.maxRequests"),
        ({"readinessPath": "healthz"}, "spec.readinessPath"),
        ({"serverTiming": "yes"}, "spec.serverTiming"),
        ({"answerHalfClosed": "no"}, "spec.answerHalfClosed"),
    ],
)
@KINDS
def test_what_is_wrong_is_named_as_its_author_wrote_it(make: Any, spec: dict[str, Any], field: str) -> None:
    resource = make(**spec)
    assert resource.problem is not None
    assert resource.problem.field == field
    assert resource.route is None


def test_what_is_wrong_with_a_failover() -> None:
    both = http(coldStartTimeoutFailoverRef={"service": "sorry", "port": 80}, coldStart=SORRY)
    assert both.problem is not None
    assert "exclude each other" in both.problem.reason
    itself = http(coldStartTimeoutFailoverRef={"service": "web", "port": 80})
    assert itself.problem is not None
    assert itself.problem.field == "spec.coldStartTimeoutFailoverRef"


def test_a_maintenance_page_that_is_too_large() -> None:
    problem = maintained(on="x" * (MAX_ANSWER_BYTES + 1)).problem
    assert problem is not None
    assert problem.field == f"metadata.annotations[{MAINTENANCE}]"
