from typing import Any

import pytest

from controller.problem import Problem
from fleet.routing.route import (
    ColdStart,
    HeaderMatch,
    RateTarget,
    Rewrite,
    Route,
    Rule,
    Scaling,
    Target,
    Timeouts,
    WeightedTarget,
)
from tests.unit.controller.objects import http, route

CREATED = 1767225600.0


def test_every_field_of_an_http_scaled_object() -> None:
    resource = http(
        hosts=["a.example.com", "*.b.example.com"],
        pathPrefixes=["/api", "v2", ""],
        headers=[{"name": "X-A", "value": "1"}, {"name": "X-B"}],
        methods=["GET", "POST"],
        scaleTargetRef={"service": "svc", "portName": "http", "name": "web"},
        scalingMetric={"requestRate": {"targetValue": 7, "window": "90s", "granularity": "500ms"}},
        timeouts={"conditionWait": "20s", "responseHeader": "0s", "request": "1m", "connect": "1s", "idle": "2m"},
        activityPeriod="5s",
    )
    headers = (HeaderMatch("X-A", "1"), HeaderMatch("X-B"))
    assert resource.route == Route(
        app="shop/web",
        target=Target("shop/svc", "http"),
        rules=(Rule(("a.example.com", "*.b.example.com"), ("/api", "/v2", "/"), headers, ("GET", "POST")),),
        scaling=Scaling(None, RateTarget(7.0, 90.0, 0.5), 5.0),
        timeouts=Timeouts(20.0, 1.0, 0.0, 60.0, 120.0),
        created=CREATED,
    )
    assert resource.problem is None


def test_every_field_of_an_interceptor_route() -> None:
    resource = route(
        target={"service": "svc", "port": 8080},
        rules=[{"hosts": ["a"], "paths": [{"value": "/x"}], "headers": [{"name": "k", "value": "v"}], "methods": ["PUT"]}, {}],
        scalingMetric={"concurrency": {"targetValue": 3}, "requestRate": {"targetValue": 4}},
        timeouts={"readiness": "1s", "request": "2s", "responseHeader": "3s", "connect": "4s", "idle": "5s"},
    )
    assert resource.route == Route(
        app="shop/web",
        target=Target("shop/svc", 8080),
        rules=(Rule(("a",), ("/x",), (HeaderMatch("k", "v"),), ("PUT",)), Rule()),
        scaling=Scaling(3.0, RateTarget(4.0, 60.0, 1.0)),
        timeouts=Timeouts(1.0, 4.0, 3.0, 2.0, 5.0),
        created=CREATED,
    )


@pytest.mark.parametrize(
    ("spec", "concurrency"),
    [
        ({}, 100.0),
        ({"targetPendingRequests": 7}, 7.0),
        ({"scalingMetric": {}}, 100.0),
        ({"scalingMetric": {"concurrency": {}}}, 100.0),
        ({"targetPendingRequests": 7, "scalingMetric": {"concurrency": {"targetValue": 9}}}, 9.0),
    ],
)
def test_targets_that_are_not_said(spec: dict[str, Any], concurrency: float) -> None:
    made = http(**spec).route
    assert made is not None
    assert made.scaling == Scaling(concurrency)


def test_all_requests_or_none() -> None:
    everything = http(hosts=None).route
    assert everything is not None
    assert everything.rules == (Rule(),)
    nothing = route(rules=None).route
    assert nothing is not None
    assert nothing.rules == ()


@pytest.mark.parametrize(
    ("seconds", "readiness"),
    [({}, 30.0), ({"timeoutSeconds": 45}, 45.0), ({"timeoutSeconds": 0}, 30.0)],
)
def test_a_failover_says_how_long_a_request_waits(seconds: dict[str, int], readiness: float) -> None:
    failover = {"service": "sorry", "port": 80, **seconds}
    resource = http(coldStartTimeoutFailoverRef=failover, timeouts={"conditionWait": "5s"})
    assert resource.route is not None
    assert resource.route.timeouts.readiness == readiness
    assert resource.route.cold_start == ColdStart(fallback=Target("shop/sorry", 80))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"hosts": ["ok", "not ok"]}, "spec.hosts[1]"),
        ({"pathPrefixes": ["/a\x00"]}, "spec.pathPrefixes[0]"),
        ({"headers": [{"name": "a b"}]}, "spec.headers[0].name"),
        ({"scaleTargetRef": {"service": "Svc", "port": 80}}, "spec.scaleTargetRef.service"),
        ({"scaleTargetRef": {"service": "svc"}}, "spec.scaleTargetRef"),
        ({"scaleTargetRef": {"service": "svc", "port": 0}}, "spec.scaleTargetRef.port"),
        ({"scaleTargetRef": None}, "spec.scaleTargetRef"),
        ({"hosts": "web.example.com"}, "spec.hosts"),
        ({"methods": ["GET", "head"]}, "spec.methods[1]"),
        ({"activityPeriod": "soon"}, "spec.activityPeriod"),
        ({"timeouts": {"idle": "-1s"}}, "spec.timeouts.idle"),
    ],
)
def test_what_is_wrong_is_named_as_its_author_wrote_it(spec: dict[str, Any], field: str) -> None:
    resource = http(**spec)
    assert resource.route is None
    assert isinstance(resource.problem, Problem)
    assert resource.problem.field == field


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"rules": [{"hosts": ["a"]}, {"paths": [{"value": "/"}, {"value": "\x01"}]}]}, "spec.rules[1].paths[1].value"),
        ({"target": {"service": "a", "port": 1, "portName": "b"}}, "spec.target"),
        ({"scalingMetric": {}}, "spec.scalingMetric"),
        ({"rules": [{"methods": ["head"]}]}, "spec.rules[0].methods[0]"),
        ({"coldStart": {}}, "spec.coldStart"),
        ({"staticRoutes": [{"rules": [], "response": {}}]}, "spec.staticRoutes[0]"),
    ],
)
def test_what_is_wrong_with_a_route(spec: dict[str, Any], field: str) -> None:
    resource = route(**spec)
    assert resource.problem is not None
    assert resource.problem.field == field
    assert resource.route is None


def rate(**given: Any) -> dict[str, Any]:
    return {"scalingMetric": {"requestRate": given}}


@pytest.mark.parametrize(
    ("spec", "scaling", "field"),
    [
        ({"targetPendingRequests": -1}, Scaling(100.0), "targetPendingRequests"),
        ({"targetPendingRequests": 0}, Scaling(100.0), "targetPendingRequests"),
        (
            {"scalingMetric": {"concurrency": {"targetValue": -7}}},
            Scaling(100.0),
            "scalingMetric.concurrency.targetValue",
        ),
        (rate(targetValue=0), Scaling(None, RateTarget(100.0)), "scalingMetric.requestRate.targetValue"),
        (rate(targetValue=9, window="soon"), Scaling(None, RateTarget(9.0)), "scalingMetric.requestRate.window"),
        (rate(window="0s"), Scaling(None, RateTarget(100.0)), "scalingMetric.requestRate.window"),
        (rate(window="-1m"), Scaling(None, RateTarget(100.0)), "scalingMetric.requestRate.window"),
        (
            rate(window="1s", granularity="2s"),
            Scaling(None, RateTarget(100.0, 1.0, 1.0)),
            "scalingMetric.requestRate.granularity",
        ),
        (rate(granularity="-1s"), Scaling(None, RateTarget(100.0, 60.0, 0.001)), "scalingMetric.requestRate.granularity"),
        (rate(granularity=""), Scaling(None, RateTarget(100.0)), "scalingMetric.requestRate.granularity"),
    ],
)
def test_targets_that_mean_nothing_are_left_out_and_noted(spec: dict[str, Any], scaling: Scaling, field: str) -> None:
    resource = http(**spec)
    assert resource.route is not None
    assert resource.route.scaling == scaling
    assert [problem.field for problem in resource.ignored] == [f"spec.{field}"]


def test_a_default_granularity_follows_a_short_window() -> None:
    resource = http(**rate(window="100ms"))
    assert resource.route is not None
    assert resource.route.scaling.rate == RateTarget(100.0, 0.1, 0.1)


def test_a_window_of_more_parts_than_are_kept() -> None:
    resource = http(**rate(window="9999999h"))
    assert resource.route is not None
    assert resource.route.scaling.rate is not None
    assert [problem.field for problem in resource.ignored] == ["spec.scalingMetric.requestRate.granularity"]


@pytest.mark.parametrize(
    ("text", "limit", "noted"),
    [("soon", None, True), ("", None, True), ("1", None, True), ("--1s", None, True), ("-3s", 0.0, True), ("+3s", 3.0, False),
     ("-0s", 0.0, False), ("9" * 65 + "s", None, True), ("1h" * 33, None, True)],
)  # fmt: skip
def test_time_limits_that_mean_nothing_are_left_out_and_noted(text: str, limit: float | None, noted: bool) -> None:
    """A value below 0 means none, as in the add-on."""
    resource = route(timeouts={"readiness": text, "request": text, "responseHeader": text})
    old = http(timeouts={"conditionWait": text, "responseHeader": text})
    assert resource.route is not None
    assert old.route is not None
    assert resource.route.timeouts == Timeouts(readiness=limit, request=limit, response_header=limit)
    assert old.route.timeouts == Timeouts(readiness=limit, response_header=limit)
    fields = ["readiness", "responseHeader", "request"]
    assert [problem.field for problem in resource.ignored] == ([f"spec.timeouts.{name}" for name in fields] if noted else [])
    assert all(len(str(problem)) < 200 for problem in resource.ignored)


def test_a_negative_patience_with_a_failover() -> None:
    resource = http(coldStartTimeoutFailoverRef={"service": "sorry", "port": 80, "timeoutSeconds": -1})
    assert resource.route is not None
    assert resource.route.timeouts.readiness == 30.0
    assert [problem.field for problem in resource.ignored] == ["spec.coldStartTimeoutFailoverRef.timeoutSeconds"]


@pytest.mark.parametrize(
    ("said", "mark"), [({}, ""), ({"directPodRouting": True}, "@pods"), ({"directPodRouting": False}, "@service")]
)
def test_pods_or_their_service(said: dict[str, Any], mark: str) -> None:
    """Also for the fallback."""
    cold = {"fallback": {"service": {"name": "sorry", "port": 81}}}
    for resource in (http(coldStart=cold, **said), route(coldStart=cold, **said)):
        assert resource.route is not None
        assert resource.route.target.key == f"shop/web:80{mark}"
        assert resource.route.cold_start.fallback is not None
        assert resource.route.cold_start.fallback.key == f"shop/sorry:81{mark}"


@pytest.mark.parametrize(("prefix", "words"), [("/*", "a *"), ("/api/*", "a *"), ("/a?x=1", "a ?"), ("/a#b", "a ? or a #")])
def test_prefixes_that_mean_less_than_they_seem_to_are_noted(prefix: str, words: str) -> None:
    by_path = (http(pathPrefixes=["/ok", prefix]), route(rules=[{}, {"paths": [{"value": "/ok"}, {"value": prefix}]}]))
    fields = ("spec.pathPrefixes[1]", "spec.rules[1].paths[1]")
    for resource, field in zip(by_path, fields, strict=True):
        (note,) = resource.ignored
        assert (note.field, resource.problem) == (field, None)
        assert words in note.reason
    assert http(pathPrefixes=["/ok", "/a%3Fb", ""]).ignored == ()


@pytest.mark.parametrize("name", ["other/web", "Web", "http://web"])
def test_what_is_no_name_of_a_service_is_reported_as_it_was_written(name: str) -> None:
    target = {"name": "web", "service": name, "port": 80}
    fallback = {"fallback": {"service": {"name": name, "port": 80}}}
    for resource, field in (
        (http(scaleTargetRef=target), "spec.scaleTargetRef.service"),
        (http(coldStart=fallback), "spec.coldStart.fallback.service.name"),
        (route(target={"service": name, "port": 80}), "spec.target.service"),
    ):
        assert resource.problem is not None
        assert resource.problem.field == field
        assert resource.problem.reason == f"{name!r} is no name of a Service; it would be in the namespace of this object"


def test_digits_are_the_number_of_a_port() -> None:
    made = http(scaleTargetRef={"name": "web", "service": "web", "portName": "80"})
    assert made.route is not None
    assert made.route.target.port == 80
    assert http(scaleTargetRef={"name": "web", "service": "web", "portName": "999999"}).problem is None
    assert http(scaleTargetRef={"name": "web", "service": "web", "portName": "70000"}).problem is not None


# -- what happens to the requests of a rule -----------------------------------------------------------------------

_SHARED: list[dict[str, Any]] = [{"service": "v1", "port": 80, "weight": 9}, {"service": "v2", "portName": "http"}]


def test_what_an_http_scaled_object_says_of_its_requests() -> None:
    made = http(pathPrefixes=["/grpc"], rewrite={"prefix": "/"}, backends=_SHARED, directPodRouting=False).route
    assert made is not None
    backends = (WeightedTarget("shop/v1", 80, False, weight=9), WeightedTarget("shop/v2", "http", False))
    assert made.rules == (Rule(("web.example.com",), ("/grpc",), rewrite=Rewrite("/"), backends=backends),)


def test_an_http_scaled_object_with_several_rules() -> None:
    rules = [{"hosts": ["a"], "paths": [{"value": "grpc"}], "rewrite": {"prefix": "/"}}, {"hosts": ["a"], "backends": _SHARED}]
    resource, same = http(hosts=None, rules=rules), route(rules=rules)
    assert resource.route is not None
    assert same.route is not None
    assert resource.route.rules == same.route.rules
    assert resource.route.rules[0] == Rule(("a",), ("/grpc",), rewrite=Rewrite("/"))


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"rules": [{"hosts": ["a"]}]}, "spec", "'rules' excludes 'hosts'"),
        ({"rewrite": {"prefix": "a"}}, "spec.rewrite.prefix", "Expected `str` matching"),
        ({"rewrite": {"prefix": "/a?b"}}, "spec.rewrite.prefix", "Expected `str` matching"),
        ({"rewrite": {"prefix": "/a/../b"}}, "spec.rewrite.prefix", "'/a/../b' has empty segments"),
        ({"backends": [{"service": "v1"}]}, "spec.backends[0]", "exactly one of"),
        ({"backends": [{"service": "v1", "port": 0}]}, "spec.backends[0].port", "Expected `int` >= 1"),
        ({"backends": [{"service": "v.1_", "port": 1}]}, "spec.backends[0].service", "'v.1_' is no name of a Service"),
        ({"backends": [*_SHARED, _SHARED[0]]}, "spec.backends[2]", "shop/v1:80 is there twice"),
        ({"backends": [{**_SHARED[0], "weight": 0}]}, "spec.backends", "every weight is 0"),
        ({"backends": [_SHARED[0]] * 17}, "spec.backends", "Expected `array` of length <= 16"),
        ({"hosts": None, "rules": [{}, {"backends": [*_SHARED, _SHARED[1]]}]}, "spec.rules[1].backends[2]", "is there twice"),
        ({"hosts": None, "rules": [{"rewrite": {"prefix": "/./"}}]}, "spec.rules[0].rewrite.prefix", "has empty segments"),
    ],
)
def test_broken_rules_are_told_by_their_field(spec: dict[str, Any], field: str, reason: str) -> None:
    problem = http(**spec).problem
    assert problem is not None
    assert problem.field == field
    assert reason in problem.reason


def test_paths_of_rules_that_look_like_patterns_are_noted() -> None:
    resource = http(hosts=None, rules=[{"paths": [{"value": "/a*"}]}])
    assert [each.field for each in resource.ignored] == ["spec.rules[0].paths[0]"]
