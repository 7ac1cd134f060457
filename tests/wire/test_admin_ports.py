"""Leases of ports by calls, and what becomes of them with their applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.portleases import part
from fleet.discovery.kubernetes.client import ApiError
from tests.support.apply_api import ApplyApi
from tests.support.port_leases import LEASES, SERVICE, entry, leased
from tests.support.waiting import until
from tests.wire.admin import AdminRig, admin, new_api, paths_of

PORTS = "/v1/namespaces/shop/ports"
HTTP = paths_of("redis")[0]
ROUTES = "/apis/http.keda.sh/v1beta1/namespaces/shop/interceptorroutes"
FLAGS = ["--admin-rate", "10000", "--admin-helm-namespace", "shop", "--admin-helm", "", "--ports"]


@pytest.fixture
def api() -> ApplyApi:
    api = new_api()
    entry(api, ip="192.0.2.1")
    return api


@pytest.fixture
async def rig(api: ApplyApi, tmp_path: Path) -> AsyncIterator[AdminRig]:
    async with admin(api, tmp_path / "routes.json", *FLAGS) as held:
        yield held


async def lease(rig: AdminRig, status: int = 201, path: str = PORTS, **body: Any) -> dict[str, Any]:
    answer = await rig.client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def services(api: ApplyApi) -> list[str]:
    return sorted(port["name"] for port in api.objects[SERVICE]["spec"]["ports"])


def app(api: ApplyApi, *ports: dict[str, Any], name: str = "redis") -> str:
    path = paths_of(name)[0]
    spec = {"scaleTargetRef": {"name": name, "service": name, "port": 6379}, "ports": list(ports)}
    api.put(path, kind="HTTPScaledObject", spec=spec)
    return path


def condition(api: ApplyApi, path: str = HTTP) -> tuple[str, str]:
    conditions = api.objects[path].get("status", {}).get("conditions", ())
    return next(((one["status"], one["reason"]) for one in conditions if one["type"] == "PortReady"), ("", ""))


async def test_a_lease_is_made_read_and_released(rig: AdminRig, api: ApplyApi) -> None:
    made = await rig.client.post(PORTS, json={"name": "redis", "ttl": "1h"})
    port = made.json()
    assert (port["name"], port["protocol"], port["entry"], port["address"]) == (
        "redis", "TCP", "weir-system/weir-interceptor", "192.0.2.1",
    )  # fmt: skip
    assert (20_000 <= port["port"] <= 30_000, port["id"], port["app"], port["leased_by"]) == (
        True, f"tcp-{port['port']}", None, "adam",
    )  # fmt: skip
    assert port["until"] is not None
    again = await lease(rig, 200, name="redis")
    assert again["id"] == port["id"]
    for name in ("redis", port["id"]):
        assert (await rig.client.get(f"{PORTS}/{name}")).json()["id"] == port["id"]
    assert [one["name"] for one in (await rig.client.get(PORTS)).json()["items"]] == ["redis"]
    assert (await rig.client.get("/v1/namespaces/other/ports")).json() == {"items": []}
    assert (await rig.client.delete(f"/v1/namespaces/other/ports/{port['id']}")).status_code == 404
    stale = await rig.client.delete(f"{PORTS}/redis", headers={"If-Match": made.headers["etag"]})
    assert stale.status_code == 412, "its time has begun anew"
    fresh = (await rig.client.get(f"{PORTS}/redis")).headers["etag"]
    assert (await rig.client.delete(f"{PORTS}/redis", headers={"If-Match": fresh})).status_code == 204
    assert (await rig.client.delete(f"{PORTS}/redis")).status_code == 404
    assert leased(api) == {}


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"port": 0}, 422, "/port"),
        ({"port": "20000"}, 422, "/port"),
        ({"name": "Not a name"}, 422, "/name"),
        ({"name": "tcp-20000"}, 422, "/name: looks like a port"),
        ({"protocol": "SCTP"}, 422, "/protocol"),
        ({"ttl": "8d"}, 422, "/ttl"),
        ({"ttl": "169h"}, 422, "/ttl: is not between"),
        ({"app": "nobody"}, 422, "/app: there is no HTTPScaledObject"),
        ({"entry": "west"}, 404, "no such entry; there are: weir-system/weir-interceptor"),
        ({"address": "192.0.2.2"}, 404, "no such entry"),
        ({"selector": "zone=east"}, 404, "no such entry"),
        ({"port": 8080}, 409, "TCP port 8080 is a port of the interceptors themselves"),
        ({"other": 1}, 422, "/other: is not a field"),
    ],
)
async def test_what_is_refused(rig: AdminRig, api: ApplyApi, body: dict[str, Any], status: int, detail: str) -> None:
    problem = await lease(rig, status, **body)
    assert problem["detail"].startswith(detail)
    assert leased(api) == {}


async def test_callers_without_a_permission(rig: AdminRig, api: ApplyApi) -> None:
    api.allowed = lambda spec: spec["resourceAttributes"]["verb"] != "create"
    assert "create httpscaledobjects" in (await lease(rig, 403))["detail"]
    api.allowed = lambda spec: spec["resourceAttributes"]["verb"] == "create"
    await lease(rig, name="redis")
    assert (await rig.client.get(PORTS)).status_code == 403
    assert (await rig.client.delete(f"{PORTS}/redis")).status_code == 403
    assert (await rig.client.post(PORTS, json={}, headers={"Authorization": ""})).status_code == 401


async def test_many_callers_of_two_controllers(api: ApplyApi, tmp_path: Path) -> None:
    flags = [*FLAGS, "--port-last", "20049"]
    async with admin(api, tmp_path / "a.json", *flags) as first, admin(api, tmp_path / "b.json", *flags) as second:
        found = await asyncio.gather(*(lease((first, second)[number % 2], name=f"app-{number}") for number in range(50)))
        assert len({port["port"] for port in found}) == 50
        full = await first.client.post(PORTS, json={})
        assert (full.status_code, "retry-after" in full.headers) == (503, True)
        assert full.json()["type"] == "urn:weir:problem:no-port"
        assert "namespace shop has 50 ports already" in full.json()["detail"]
        elsewhere = await lease(second, 503, "/v1/namespaces/other/ports")
        assert elsewhere["detail"] == "no TCP port between 20000 and 20049 is left"


async def test_an_app_gets_the_lease_of_its_name_and_frees_it(rig: AdminRig, api: ApplyApi) -> None:
    port = await lease(rig, name="redis")
    app(api, {"lease": "redis"})
    own = f"weir-tcp-{port['port']}"
    await until(lambda: services(api) == ["http", own])
    await until(lambda: api.objects[HTTP].get("status", {}).get("ports"))
    assert list(api.objects[HTTP]["status"]["ports"]) == [
        {
            "protocol": "TCP",
            "port": port["port"],
            "lease": "redis",
            "entry": "weir-system/weir-interceptor",
            "address": "192.0.2.1",
        }
    ]
    kept = await rig.client.delete(f"{PORTS}/redis")
    assert (kept.status_code, kept.json()["type"]) == (409, "urn:weir:problem:in-use")
    shown = (await rig.client.get(f"{PORTS}/redis")).json()
    assert (shown["app"], shown["until"]) == ("HTTPScaledObject/redis", None)
    api.drop(HTTP)
    await until(lambda: leased(api) == {})
    await until(lambda: services(api) == ["http"])


async def test_a_lease_is_made_for_an_app_that_names_none_there_is(rig: AdminRig, api: ApplyApi) -> None:
    app(api, {"lease": "redis"}, {"lease": "metrics"})
    await until(lambda: len(services(api)) == 3)
    assert sorted(leased(api).values()) == ["metrics", "redis"]
    app(api, {"lease": "redis"})
    await until(lambda: list(leased(api).values()) == ["redis"])
    await until(lambda: len(services(api)) == 2)


async def test_a_number_that_somebody_else_has(rig: AdminRig, api: ApplyApi) -> None:
    port = await lease(rig, path="/v1/namespaces/other/ports", name="mine")
    app(api, {"port": port["port"]})
    await until(lambda: condition(api) == ("False", "Taken"))
    messages = [one["message"] for one in api.objects[HTTP]["status"]["conditions"] if one["type"] == "PortReady"]
    assert messages == [f"TCP port {port['port']} belongs to Lease other/mine"]
    assert (await rig.client.delete(f"/v1/namespaces/other/ports/{port['id']}")).status_code == 204
    await until(lambda: f"weir-tcp-{port['port']}" in services(api))
    taken = await lease(rig, 409, port=port["port"], name="late")
    assert taken["detail"] == f"TCP port {port['port']} belongs to HTTPScaledObject shop/redis"


async def test_what_is_wrong_with_the_service_is_in_the_status(rig: AdminRig, api: ApplyApi) -> None:
    refusal = ApiError("PATCH services: 403 may not", status=403)
    api.refuse = lambda method, path: refusal if path == SERVICE and method == "PATCH" else None
    app(api, {"port": 6379})
    await until(lambda: condition(api) == ("False", "NotInService"))
    api.refuse = lambda method, path: None
    await until(lambda: "weir-tcp-6379" in services(api))
    await until(lambda: condition(api) != ("False", "NotInService"))


async def test_a_lease_for_an_app(rig: AdminRig, api: ApplyApi) -> None:
    """It is bound, although the app does not name it, and ends with the app, or by a call."""
    app(api, {"port": 6379})
    app(api, {"port": 6380}, name="other")
    port = await lease(rig, app="redis", name="extra")
    assert (port["app"], port["until"]) == ("HTTPScaledObject/redis", None)
    assert (await lease(rig, 200, app="redis", name="extra"))["id"] == port["id"]
    await lease(rig, 409, app="other", name="extra")
    assert (await rig.client.delete(f"{PORTS}/extra")).status_code == 204
    await lease(rig, app="redis", name="extra")
    api.drop(HTTP)
    await until(lambda: leased(api) == {})


async def test_the_paths_of_helm_web_api(rig: AdminRig, api: ApplyApi) -> None:
    places = [(await rig.client.get(path, params={"lbip": "192.0.2.1"})).json() for path in ("/getPort", "/getport")]
    assert {(place["public_ip"], place["release"]) for place in places} == {("192.0.2.1", "weir-interceptor")}
    first, second = (place["port"] for place in places)
    assert first != second, "each call has a port of its own"
    rule = {"serviceName": "redis", "servicePort": "6379", "loadBalancerIp": "192.0.2.1", "loadBalancerPort": str(first)}
    for answer in (await rig.client.post("/setrule", json=rule), await rig.client.post("/setrule", data=rule)):
        assert answer.json() == {"status": "success", "ip": "192.0.2.1", "port": first, "releaseName": "weir-interceptor"}
    route = api.objects[f"{ROUTES}/port-tcp-{first}"]
    assert route["spec"]["target"] == {"service": "redis", "port": 6379}
    await until(lambda: f"weir-tcp-{first}" in services(api))
    anew = (await rig.client.post("/setrule", json={"serviceName": "web", "servicePort": 80})).json()
    assert anew["port"] not in (first, second)
    api.drop(f"{ROUTES}/port-tcp-{first}")
    await until(lambda: f"weir-tcp-{first}" not in services(api) and f"weir-port-tcp-{first}" not in leased(api))
    assert f"weir-port-tcp-{second}" in leased(api), "until its time is over"


async def test_what_the_paths_of_helm_web_api_refuse(rig: AdminRig, api: ApplyApi) -> None:
    none = await rig.client.get("/getPort", params={"lbip": "192.0.2.9"})
    assert (none.status_code, list(none.json())) == (404, ["error"])
    app(api, {"port": 6379})
    await until(lambda: "weir-tcp-6379" in services(api))
    rule = {"serviceName": "redis", "servicePort": 6379}
    for body, status in (
        ({**rule, "loadBalancerPort": 6379}, 409),
        ({**rule, "loadBalancerPort": 8080}, 409),
        ({**rule, "servicePort": 0}, 422),
        ({**rule, "serviceName": "a/b"}, 422),
        ({**rule, "loadBalancerIp": "192.0.2.9"}, 404),
    ):
        answer = await rig.client.post("/setrule", json=body)
        assert (answer.status_code, answer.json()["status"]) == (status, "failed"), body
    api.allowed = lambda spec: False
    for method, path in (("GET", "/getPort"), ("POST", "/setrule")):
        assert (await rig.client.request(method, path, json=rule)).status_code == 403
    assert not [path for path in api.objects if path.startswith((ROUTES, f"{LEASES}/weir-port-"))]


async def test_a_rule_that_fails_leaves_no_lease(rig: AdminRig, api: ApplyApi) -> None:
    first = (await rig.client.get("/getPort")).json()["port"]
    before = leased(api)
    refusal = ApiError("PATCH interceptorroutes: 403 may not", status=403)
    api.refuse = lambda method, path: refusal if path.startswith(ROUTES) and method == "PATCH" else None
    rule = {"serviceName": "redis", "servicePort": 6379}
    for body in (rule, rule, {**rule, "loadBalancerPort": 25_000}, {**rule, "loadBalancerPort": first}):
        answer = await rig.client.post("/setrule", json=body)
        assert (answer.status_code >= 400, answer.json()["status"]) == (True, "failed")
        assert leased(api) == before, "what /getPort has given stays its caller's, and nothing else is left"


async def test_a_rule_whose_lease_the_leader_binds_first(rig: AdminRig, api: ApplyApi) -> None:
    """The leader sees the route before the answer to the call that has made it."""
    refused: list[str] = []

    def refuse(method: str, path: str) -> ApiError | None:
        if path.startswith(f"{LEASES}/weir-port-") and method == "PATCH" and not refused:
            refused.append(path)
            held = api.objects[path]
            route = api.objects[f"{ROUTES}/{path.rpartition('/')[2].removeprefix('weir-')}"]["metadata"]
            said = {
                "weir.dev/port-kind": "InterceptorRoute",
                "weir.dev/port-app": route["name"],
                "weir.dev/port-app-uid": route["uid"],
            }
            annotations = {**held["metadata"]["annotations"], **said}
            api.put(path, **(held | {"metadata": held["metadata"] | {"annotations": annotations}}))
            return ApiError("the object has been modified", status=409)
        return None

    api.refuse = refuse
    answer = await rig.client.post("/setrule", json={"serviceName": "redis", "servicePort": 6379})
    assert (answer.status_code, len(refused)) == (200, 1), answer.text


@pytest.fixture
async def two_entries(api: ApplyApi, tmp_path: Path) -> AsyncIterator[AdminRig]:
    entry(api, "east", ip="192.0.2.2", zone="east")
    async with admin(api, tmp_path / "routes.json", *FLAGS) as held:
        yield held


async def test_a_lease_that_is_there_is_at_one_entry(two_entries: AdminRig) -> None:
    """What is asked for besides fits that one, or is refused."""
    rig = two_entries
    made = await lease(rig, name="n1", entry="weir-interceptor")
    own = made["entry"]
    for fitting in ({}, {"entry": own}, {"entry": "weir-interceptor"}, {"address": "192.0.2.1"}, {"selector": "zone!=east"}):
        assert (await lease(rig, 200, name="n1", **fitting))["entry"] == own
    for other in ({"entry": "east"}, {"address": "192.0.2.2"}, {"selector": "zone=east"}):
        problem = await lease(rig, 409, name="n1", **other)
        assert problem["detail"] == f"TCP port {made['port']}, lease n1 of namespace shop, is at {own}"
    for nowhere in ({"entry": "nosuch"}, {"address": "198.51.100.77"}, {"selector": "a=b"}):
        assert (await lease(rig, 404, name="n1", **nowhere))["detail"].startswith("no such entry; there are: ")
    rule = {"serviceName": "redis", "servicePort": 6379, "loadBalancerPort": made["port"]}
    for body, status in (
        ({"loadBalancerIp": "192.0.2.2"}, 409),
        ({"release": "east"}, 409),
        ({"loadBalancerIp": "198.51.100.77"}, 404),
        ({"release": "nosuch"}, 404),
        ({"release": "x" * 200}, 422),
        ({"release": "weir-interceptor", "loadBalancerIp": "192.0.2.1"}, 200),
    ):
        answer = await rig.client.post("/setrule", json={**rule, **body})
        assert answer.status_code == status, (body, answer.text)
        assert status != 409 or own in answer.json()["reason"]


async def test_older_names_and_other_cases_of_the_paths_of_helm_web_api(rig: AdminRig, api: ApplyApi) -> None:
    for path in ("/GetPort", "/GETPORT", "/getPort"):
        place = (await rig.client.get(path, params={"lbip": ""})).json()
        assert place["public_ip"] == "192.0.2.1"
    port = place["port"]
    own = {"serviceName": "redis", "servicePort": "6379"}
    older = {**own, "specificlb": "192.0.2.1", "specificport": str(port), "specificrelease": "weir-interceptor"}
    for path in ("/SetRule", "/SETRULE"):
        assert (await rig.client.post(path, data=older)).json()["port"] == port
    assert (await rig.client.post("/setrule", json={**own, "specificlb": "192.0.2.9"})).status_code == 404
    assert (await rig.client.post("/setrule", json={**own, "specificport": 1, "loadBalancerPort": 2})).status_code == 422
    assert (await rig.client.post("/setrule", json={**own, "specificport": 0})).json()["reason"].startswith("/specificport: ")
    empty = {**own, "loadBalancerIp": "", "loadBalancerPort": "", "release": ""}
    assert (await rig.client.post("/setrule", data=empty)).json()["status"] == "success"
    missing = await rig.client.post("/setrule", data={**own, "serviceName": ""})
    assert (missing.status_code, missing.json()["reason"]) == (422, "/serviceName: is missing")


async def test_it_is_off_unless_switched_on(api: ApplyApi, tmp_path: Path) -> None:
    async with admin(api, tmp_path / "routes.json", "--admin-helm-namespace", "shop", "--admin-helm", "") as rig:
        off = await rig.client.get(PORTS)
        assert (off.status_code, off.json()["type"]) == (501, "urn:weir:problem:no-leases")
        assert (await rig.client.get("/getPort")).status_code == 404
        app(api, {"port": 6379}, {"lease": "redis"})
        await until(lambda: condition(api) == ("False", "NotLeased"))
        assert services(api) == ["http"]
    async with admin(api, tmp_path / "routes.json", "--ports") as rig:
        assert (await rig.client.get("/getPort")).status_code == 404


async def test_numbers_wait_for_leases_that_cannot_be_read_yet(
    api: ApplyApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else may come that would have the table made anew."""
    monkeypatch.setattr(part, "READ_SECONDS", 0.05)
    slow = api.slow[LEASES] = asyncio.Event()
    app(api, {"port": 6379})
    async with admin(api, tmp_path / "routes.json", *FLAGS):
        await until(lambda: condition(api) == ("False", "NotLeased"))
        assert services(api) == ["http"]
        slow.set()
        await until(lambda: services(api) == ["http", "weir-tcp-6379"])
