"""Cases about routing: hosts, paths, headers, ports, changed and deleted routes; and objects that the API server refuses."""

import asyncio
from collections.abc import Mapping

import pytest
from websockets.asyncio.client import connect

from tests.cluster.addon.case import Case, Run
from tests.cluster.addon.objects import PROXY, route
from tests.cluster.api import ApiError, namespaced
from tests.cluster.controlplane import until

__all__ = ["CASES"]


async def host_routing(case: Case) -> None:
    await case.routed("test-app", rules=[{"hosts": [case.host()]}])
    await case.reaches("test-app", case.host())
    await case.rejected(case.host("unknown"))


async def multiple_hosts_routing(case: Case) -> None:
    await case.routed("multi-host-app", rules=[{"hosts": [case.host("host-a"), case.host("host-b")]}])
    await case.reaches("multi-host-app", case.host("host-a"))
    await case.reaches("multi-host-app", case.host("host-b"))
    await case.rejected(case.host("host-c"))


async def wildcard_host_routing(case: Case) -> None:
    await case.routed("specific-app", of="exact", rules=[{"hosts": [case.host("specific")]}])
    await case.routed("wildcard-app", of="wildcard", rules=[{"hosts": [case.host("*")]}])
    await case.reaches("specific-app", case.host("specific"))
    await case.reaches("wildcard-app", case.host("anything"))
    await case.rejected("unmatched.other.test")


async def path_routing(case: Case) -> None:
    for letter in "ab":
        await case.routed(f"app-{letter}", rules=[{"hosts": [case.host()], "paths": [{"value": f"/svc-{letter}"}]}])
    await case.reaches("app-a", case.host(), "/svc-a")
    await case.rejected(case.host(), "/unknown")
    await case.reaches("app-b", case.host(), "/svc-b")


async def combined_routing(case: Case) -> None:
    for letter in "ab":
        await case.routed(f"app-{letter}", rules=[{"hosts": [case.host(f"host-{letter}")], "paths": [{"value": "/svc"}]}])
    await case.reaches("app-a", case.host("host-a"), "/svc")
    await case.reaches("app-b", case.host("host-b"), "/svc")
    await case.rejected(case.host("unknown"), "/svc")


async def header_routing(case: Case) -> None:
    """The routes match every host."""
    for value in ("foo", "bar"):
        await case.routed(f"app-{value}", rules=[{"headers": [{"name": "X-Route", "value": value}]}])
    await case.reaches("app-foo", case.host(), X_Route="foo")
    await case.reaches("app-bar", case.host(), X_Route="bar")
    await case.rejected(case.host())


async def header_presence_routing(case: Case) -> None:
    exact, present = {"name": "X-Debug", "value": "verbose"}, {"name": "X-Debug"}
    await case.routed("exact-app", of="exact-header", rules=[{"hosts": [case.host()], "headers": [exact]}])
    await case.routed("presence-app", of="presence-header", rules=[{"hosts": [case.host()], "headers": [present]}])
    await case.reaches("exact-app", case.host(), X_Debug="verbose")
    await case.reaches("presence-app", case.host(), X_Debug="minimal")


async def multiple_rules_to_same_backend(case: Case) -> None:
    """The app is not scaled: it has a pod already."""
    await case.app("shared-app", replicas=1)
    rules = [{"hosts": [case.host("host-only")]}, {"hosts": [case.host("with-path")], "paths": [{"value": "/svc"}]}]
    await case.route("ir-multi", "shared-app", rules=rules)
    await case.reaches("shared-app", case.host("host-only"))
    await case.reaches("shared-app", case.host("with-path"), "/svc")
    await case.rejected(case.host("with-path"), "/other")
    await case.rejected(case.host("unknown"))


async def port_name_routing(case: Case) -> None:
    await case.app("portname-app", port_name="http")
    target = {"service": "portname-app", "portName": "http"}
    await case.route("portname-ir", "portname-app", target=target, rules=[{"hosts": [case.host()]}])
    await case.scaled("portname-so", "portname-app", "portname-ir")
    await case.reaches("portname-app", case.host())


async def route_update(case: Case) -> None:
    await case.routed("app-a", of="update", rules=[{"hosts": [case.host()]}])
    await case.app("app-b", replicas=1)
    await case.reaches("app-a", case.host())
    await case.update_route("ir-update", target={"service": "app-b"})
    await case.reaches("app-b", case.host())


async def route_deletion(case: Case) -> None:
    for letter in "ab":
        await case.routed(f"app-{letter}", rules=[{"hosts": [case.host(f"app-{letter}")]}])
    for letter in "ab":
        await case.reaches(f"app-{letter}", case.host(f"app-{letter}"))
    await case.api.delete(namespaced("interceptorroutes", case.namespace, "ir-app-a"))

    async def gone() -> bool:
        answers = [await case.send(case.host("app-a")) for _ in range(10)]
        return {answer.status_code for answer in answers} == {404}

    await until(gone, "the deleted route is served by no interceptor")
    await case.reaches("app-b", case.host("app-b"))


async def websocket(case: Case) -> None:
    """A WebSocket starts the app, like any request."""
    await case.routed("ws-app", rules=[{"hosts": [case.host()]}])
    address, port = PROXY.split(":")
    async with connect(f"ws://{case.host()}/echo", host=address, port=int(port), proxy=None, open_timeout=120) as socket:
        await socket.send("hello from e2e")
        assert await socket.recv() == "hello from e2e"


async def invalid_route_is_rejected(case: Case) -> None:
    no_metric = route("invalid-no-metric", "some-service", scalingMetric={})
    both = route("invalid-both-ports", "some-service", target={"service": "some-service", "port": 8080, "portName": "http"})
    for made in (no_metric, both):
        with pytest.raises(ApiError, match='"reason":"Invalid"') as told:
            await case.api.create(namespaced("interceptorroutes", case.namespace), made)
        assert told.value.status == 422


async def placeholders(case: Case) -> None:
    """The placeholder of a route is answered instead of waiting, with all its fields; then the app answers."""
    response = {
        "statusCode": 503,
        "body": '{"status":"loading"}',
        "headers": {"Content-Type": "application/json"},
    }
    await case.routed(
        "placeholder-app",
        rules=[{"hosts": [case.host()]}],
        scalingMetric={"requestRate": {"targetValue": 1, "window": "10s"}},
        coldStart={"placeholder": {"response": response}},
    )
    answer = await case.send(case.host())
    told = (answer.status_code, answer.text, answer.headers["Content-Type"])
    assert told == (503, '{"status":"loading"}', "application/json")

    async def awake() -> bool:
        return (await case.send(case.host())).status_code == 200

    await until(awake, "the placeholder has woken it")
    await case.reaches("placeholder-app", case.host())


async def placeholder_with_fallback(case: Case) -> None:
    await case.app("fallback-app", replicas=1)
    await case.app("main-app")
    await case.route(
        "placeholder-fallback-ir",
        "main-app",
        rules=[{"hosts": [case.host()]}],
        coldStart={
            "placeholder": {"response": {"statusCode": 418}},
            "fallback": {"service": {"name": "fallback-app", "port": 8080}},
        },
        timeouts={"readiness": "1s"},
    )
    await case.status(case.host(), "", 418)


async def static_route(case: Case) -> None:
    """A static route answers while the app is at zero, and does not start it."""
    answered = {"statusCode": 200, "body": "healthy", "headers": {"X-Static": "true"}}
    await case.routed(
        "static-app",
        rules=[{"hosts": [case.host()]}],
        scalingMetric={"requestRate": {"targetValue": 1, "window": "10s"}},
        staticRoutes=[{"rules": [{"paths": [{"value": "/healthz"}]}], "response": answered}],
    )
    answer = await case.send(case.host(), "/healthz")
    assert (answer.status_code, answer.text, answer.headers["X-Static"]) == (200, "healthy", "true")
    await case.stable("static-app", 0, 10)
    assert not case.cluster.events("started", namespace=case.namespace)
    await case.reaches("static-app", case.host())
    await case.reaches("static-app", case.host(), "/healthz")


async def response_header_timeout(case: Case) -> None:
    await asyncio.gather(
        _timed(case, "default", {}, "/?wait=100ms", 200),
        _timed(case, "short", {"responseHeader": "200ms"}, "/?wait=5s", 504),
        _timed(case, "generous", {"responseHeader": "10s"}, "/?wait=2s", 200),
    )


async def request_timeout(case: Case) -> None:
    await asyncio.gather(
        _timed(case, "ok", {"request": "10s"}, "/?wait=100ms", 200),
        _timed(case, "exceed", {"request": "500ms"}, "/?wait=5s", 504),
    )


async def _timed(case: Case, name: str, timeouts: Mapping[str, str], path: str, expected: int) -> None:
    """Check a timeout of an app that has a pod."""
    await case.app(f"{name}-app", replicas=1)
    await case.route(f"{name}-ir", f"{name}-app", rules=[{"hosts": [case.host(name)]}], timeouts=timeouts)
    await case.status(case.host(name), path, expected)


async def readiness_timeout(case: Case) -> None:
    await case.routed("generous-app", rules=[{"hosts": [case.host()]}])
    await case.routed("short-app", rules=[{"hosts": [case.host("short")]}], timeouts={"readiness": "1ms"})
    await case.status(case.host(), "", 200)
    await case.status(case.host("short"), "", 504)


async def cold_start_fallback(case: Case) -> None:
    """The app is not scaled, so it never becomes ready."""
    await case.app("fallback-app", replicas=1)
    await case.app("main-app")
    await case.route(
        "fallback-ir",
        "main-app",
        rules=[{"hosts": [case.host()]}],
        coldStart={"fallback": {"service": {"name": "fallback-app", "port": 8080}}},
        timeouts={
            "readiness": "5s"
        },  # the add-on waits for one, and two before it; meanwhile the interceptors hear of the fallback
    )
    await case.reaches("fallback-app", case.host())


CASES: Mapping[str, Run] = {
    "TestHostRouting": host_routing,
    "TestMultipleHostsRouting": multiple_hosts_routing,
    "TestWildcardHostRouting": wildcard_host_routing,
    "TestPathRouting": path_routing,
    "TestCombinedRouting": combined_routing,
    "TestHeaderRouting": header_routing,
    "TestHeaderPresenceRouting": header_presence_routing,
    "TestMultipleRulesToSameBackend": multiple_rules_to_same_backend,
    "TestPortNameRouting": port_name_routing,
    "TestRouteUpdate": route_update,
    "TestRouteDeletion": route_deletion,
    "TestWebSocket": websocket,
    "TestInvalidInterceptorRouteRejected": invalid_route_is_rejected,
    "TestColdStartPlaceholder": placeholders,
    "TestColdStartPlaceholderWithFallback": placeholder_with_fallback,
    "TestColdStartFallback": cold_start_fallback,
    "TestStaticRoute": static_route,
    "TestResponseHeaderTimeout": response_header_timeout,
    "TestRequestTimeout": request_timeout,
    "TestReadinessTimeout": readiness_timeout,
}
