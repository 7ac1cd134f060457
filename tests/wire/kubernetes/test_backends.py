"""Backends of the targets that are wanted: known at once, followed, and the only ones that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

import msgspec
import pytest

from fleet.discovery.kubernetes.backends import KubernetesBackends
from fleet.discovery.kubernetes.client import FETCHED_ALONE, Api
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.discovery.sources import Alias, Backend
from fleet.routing.port import ListenPort, PortTarget
from fleet.routing.route import Target
from tests.support.apiserver import ApiServer
from tests.support.waiting import until

QUICK = Timing(resync=3600, first_pause=0.01, longest_pause=0.05, silence=3600)
A, B = Backend("10.0.0.1", 8080), Backend("10.0.0.2", 8080)


def slice_path(name: str, namespace: str = "default") -> str:
    return f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}"


def put_service(server: ApiServer, name: str, *ports: tuple[str, int], namespace: str = "default", address: str = "") -> None:
    listed = [{"name": name, "port": port, "targetPort": "any"} for name, port in ports]
    spec: dict[str, Any] = {"ports": listed} | ({"clusterIP": address} if address else {})
    server.put(f"/api/v1/namespaces/{namespace}/services/{name}", spec=spec)


def put_slice(
    server: ApiServer, service: str, *addresses: str, number: int = 1, namespace: str = "default", port: str = "http"
) -> None:
    endpoints: list[dict[str, Any]] = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    server.put(
        slice_path(f"{service}-{number}", namespace),
        metadata={"labels": {"kubernetes.io/service-name": service}},
        addressType="IPv4",
        ports=[{"name": port, "port": 8080}],
        endpoints=endpoints,
    )


def put_app(server: ApiServer, name: str, *addresses: str, namespace: str = "default") -> None:
    put_service(server, name, ("http", 80), namespace=namespace)
    put_slice(server, name, *addresses, namespace=namespace)


@asynccontextmanager
async def following(
    server: ApiServer, api: Api, *keys: str, namespaces: tuple[str, ...] = (), direct: bool = True
) -> AsyncIterator[KubernetesBackends]:
    backends = KubernetesBackends(api, namespaces, timing=QUICK, direct=direct)
    await backends.start()
    try:
        assert not backends.synced
        assert server.requests == [], "nothing is asked for before something is wanted"
        backends.want(keys)
        await until(lambda: backends.synced and len(server.watches) == 2 * max(1, len(namespaces)))
        yield backends
    finally:
        await backends.close()


async def test_they_are_known_when_synced_and_followed(server: ApiServer, api: Api) -> None:
    put_app(server, "web", "10.0.0.1")
    put_app(server, "other", "10.0.0.9")
    async with following(server, api, "default/web:80", "default/web:http") as backends:
        told: list[str] = []
        backends.subscribe(told.append)
        assert backends.get("default/web:80") == backends.get("default/web:http") == (A,)
        assert backends.get("default/other:80") == ()
        put_slice(server, "other", "10.0.0.8")
        put_slice(server, "web", "10.0.0.1", "10.0.0.2")
        await until(lambda: told)
        assert sorted(told) == ["default/web:80", "default/web:http"]
        assert backends.get("default/web:80") == (A, B)
        server.delete(slice_path("web-1"))
        await until(lambda: backends.get("default/web:80") == ())


async def test_a_name_that_no_service_can_have_keeps_nobody_elses_backends_away(server: ApiServer, api: Api) -> None:
    """A tenant may name any, and an API server refuses to look for one that is too long."""
    names = [f"web{number}" for number in range(6)]
    for name in names:
        put_app(server, name, "10.0.0.1")
    async with following(server, api, "default/first:80") as backends:
        long = [f"theirs/{'x' * 64}{name}:80" for name in names]
        backends.want(["default/first:80", *long, *(f"default/{name}:80" for name in names)])
        await until(lambda: all(backends.get(f"default/{name}:80") == (A,) for name in names))
        await until(lambda: all(backends.missing(key) is not None for key in long))
        assert all(reason == "service_not_found" for key in long for reason, _ in [backends.missing(key) or ("", "")])


def through(*pods: str) -> tuple[Backend, ...]:
    return tuple(Backend("10.96.0.1", 80, behind=f"{pod} 8080") for pod in pods)


@pytest.mark.parametrize("direct", [True, False])
async def test_a_service_instead_of_its_pods(server: ApiServer, api: Api, direct: bool) -> None:
    """Its address, as often as pods are ready: none is ready, none is listed."""
    put_service(server, "web", ("http", 80), address="10.96.0.1")
    put_slice(server, "web", "10.0.0.1")
    keys = ["default/web:80", "default/web:80@service", "default/web:http@service", "default/web@service", "default/web:80@pods"]
    async with following(server, api, *keys, direct=direct) as backends:
        usual, *by_service, by_pods = keys
        assert {key: backends.get(key) for key in by_service} == dict.fromkeys(by_service, through("10.0.0.1"))
        assert backends.get(by_pods) == (A,)
        assert backends.get(usual) == ((A,) if direct else through("10.0.0.1"))
        put_slice(server, "web", "10.0.0.1", "10.0.0.2")
        await until(lambda: backends.get(by_pods) == (A, B))
        assert {key: backends.get(key) for key in by_service} == dict.fromkeys(by_service, through("10.0.0.1", "10.0.0.2"))
        server.delete(slice_path("web-1"))
        await until(lambda: not any(backends.get(key) for key in keys))
        backends.want([by_pods])
        assert len(backends._services) == 1
        backends.want([])
        assert len(backends._services) == 0


async def test_a_service_without_an_address_has_those_of_its_pods(server: ApiServer, api: Api) -> None:
    put_service(server, "web", ("http", 80), address="None")
    put_slice(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:80@service") as backends:
        assert backends.get("default/web:80@service") == (A,)


async def test_a_service_that_is_not_known_yet_is_not_gone_around(server: ApiServer, api: Api) -> None:
    """The pods may not be reached but through it."""
    put_slice(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:http@service", "default/web:http") as backends:
        assert backends.get("default/web:http") == (A,)
        assert backends.get("default/web:http@service") == ()
        put_service(server, "web", ("http", 80), address="10.96.0.1")
        await until(lambda: backends.get("default/web:http@service") == through("10.0.0.1"))


async def test_no_more_is_kept_than_is_wanted(server: ApiServer, api: Api) -> None:
    for number in range(20):
        put_app(server, f"app-{number}", "10.0.0.1")
    async with following(server, api, "default/app-3:80", "default/app-4:80") as backends:
        put_app(server, "app-5", "10.0.0.2")
        put_app(server, "app-3", "10.0.0.2")
        await until(lambda: backends.get("default/app-3:80") == (B,))
        assert len(backends._slices) == len(backends._services) == 2
        backends.want(["default/app-4:80"])
        assert len(backends._slices) == len(backends._services) == 1
        assert backends.get("default/app-3:80") == ()
        assert backends.get("default/app-4:80") == (A,)


@pytest.mark.parametrize("count", [1, FETCHED_ALONE + 1])
async def test_a_target_that_is_new_is_fetched(server: ApiServer, api: Api, count: int) -> None:
    for number in range(count):
        put_app(server, f"app-{number}", "10.0.0.1")
    put_app(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:80") as backends:
        before = len(server.lists())
        keys = [f"default/app-{number}:80" for number in range(count)]
        backends.want(["default/web:80", *keys])
        await until(lambda: all(backends.get(key) == (A,) for key in keys))
        # Watches do not count: a whole list that tells of what was not kept until now begins them anew, sooner or later.
        assert len(server.lists()) == before + 2, "one more list of everything, or of the one target, of either kind"
        put_slice(server, "app-0", "10.0.0.2")
        await until(lambda: backends.get("default/app-0:80") == (B,))


async def test_what_is_wanted_again_is_known_again(server: ApiServer, api: Api) -> None:
    put_app(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:80") as backends:
        for _ in range(3):
            backends.want([])
            assert backends.get("default/web:80") == ()
            backends.want(["default/web:80"])
            await until(lambda: backends.get("default/web:80") == (A,))


async def test_what_a_list_under_way_has_kept_is_taken_up(server: ApiServer, api: Api) -> None:
    put_app(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:80") as backends:
        server.list_gate.clear()
        relisting = asyncio.gather(backends._slices.relist(), backends._services.relist())
        await until(lambda: len(server.lists()) == 4)
        server.list_gate.set()
        backends.want([])
        backends.want(["default/web:80"])
        await relisting
        await until(lambda: backends.get("default/web:80") == (A,))


async def test_another_port_of_a_service_that_is_followed_is_known_at_once(server: ApiServer, api: Api) -> None:
    put_service(server, "web", ("http", 80), ("also", 81))
    put_slice(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:80") as backends:
        before = len(server.requests)
        backends.want(["default/web:80", "default/web:http", "default/web:81"])
        assert backends.get("default/web:http") == (A,)
        assert backends.get("default/web:81") == (), "no slice has that port"
        backends.want(["default/web:http"])
        assert backends.get("default/web:80") == ()
        assert len(server.requests) == before


async def test_the_port_may_change_and_the_service_come_last(server: ApiServer, api: Api) -> None:
    put_slice(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:80") as backends:
        assert backends.get("default/web:80") == (), "what port 80 is, only the Service says"
        put_service(server, "web", ("http", 80))
        await until(lambda: backends.get("default/web:80") == (A,))
        put_service(server, "web", ("other", 80))
        await until(lambda: backends.get("default/web:80") == ())
        put_slice(server, "web", "10.0.0.2", port="other")
        await until(lambda: backends.get("default/web:80") == (B,))


async def test_several_slices_make_one_service(server: ApiServer, api: Api) -> None:
    put_app(server, "web", "10.0.0.1")
    put_slice(server, "web", "10.0.0.2", number=2)
    async with following(server, api, "default/web:80") as backends:
        assert backends.get("default/web:80") == (A, B)
        server.delete(slice_path("web-1"))
        await until(lambda: backends.get("default/web:80") == (B,))


async def test_only_the_namespaces_of_the_setting_are_followed(
    server: ApiServer, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    for namespace in ("one", "two"):
        put_app(server, "web", "10.0.0.1", namespace=namespace)
    async with following(server, api, "one/web:80", "two/web:80", namespaces=("one",)) as backends:
        assert backends.get("one/web:80") == (A,)
        assert backends.get("two/web:80") == ()
        assert "backends of two/web are not looked for" in caplog.text
        assert all("/namespaces/one/" in request.path for request in server.requests)


async def test_a_fetch_that_fails_is_tried_again(server: ApiServer, api: Api) -> None:
    put_app(server, "web", "10.0.0.1")
    async with following(server, api) as backends:
        server.fail(503, times=3)
        backends.want(["default/web:80"])
        await until(lambda: backends.get("default/web:80") == (A,))


async def test_a_server_that_is_away_takes_no_backend_away(server: ApiServer, api: Api) -> None:
    put_app(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:80") as backends:
        await server.down()
        await asyncio.sleep(0.1)  # some attempts fail meanwhile; a server that is not there cannot count them
        assert backends.get("default/web:80") == (A,)
        put_slice(server, "web", "10.0.0.2")
        await server.up()
        await until(lambda: backends.get("default/web:80") == (B,))


@pytest.mark.parametrize("direct", [None, True, False])
async def test_what_is_missing_does_not_depend_on_whose_addresses_are_wanted(
    server: ApiServer, api: Api, *, direct: bool | None
) -> None:
    put_service(server, "web", ("http", 80))
    put_service(server, "two", ("http", 80), ("", 81))
    there = [Target("default/web"), Target("default/web", 80), Target("default/web", "http")]
    wrong = [Target("default/web", 81), Target("default/web", "grpc"), Target("default/two")]
    gone = Target("default/none", 80)
    keys = [[msgspec.structs.replace(target, direct=direct).key for target in targets] for targets in (there, wrong, [gone])]
    async with following(server, api, *chain.from_iterable(keys)) as backends:
        assert [backends.missing(key) for key in keys[0]] == [None] * 3
        assert [backends.missing(key) for key in keys[1]] == [
            ("port_not_found", "Service default/web has no TCP port 81; it has 80 (http)"),
            ("port_not_found", "Service default/web has no TCP port grpc; it has 80 (http)"),
            ("port_not_found", "Service default/two has no only TCP port; it has 80 (http), 81"),
        ]
        assert backends.missing(keys[2][0]) == ("service_not_found", "there is no Service default/none")


async def test_a_service_or_a_port_that_is_missing_is_known_once_it_was_looked_for(server: ApiServer, api: Api) -> None:
    put_service(server, "web", ("http", 80), ("", 81))
    keys = ("default/web:80", "default/web:http", "default/web:82", "default/web:grpc", "default/web", "default/none:80")
    async with following(server, api, *keys) as backends:
        assert [backends.missing(key) for key in keys[:2]] == [None, None]
        there = "it has 80 (http), 81"
        assert backends.missing(keys[2]) == ("port_not_found", f"Service default/web has no TCP port 82; {there}")
        assert backends.missing(keys[3]) == ("port_not_found", f"Service default/web has no TCP port grpc; {there}")
        assert backends.missing(keys[4]) == ("port_not_found", f"Service default/web has no only TCP port; {there}")
        assert backends.missing(keys[5]) == ("service_not_found", "there is no Service default/none")
        assert backends.missing("default/unasked:80") is None
        for how in ("@pods", "@service"):
            assert [backends.missing(f"default/web{port}{how}") for port in (":80", ":http")] == [None, None]
            assert backends.missing(f"default/web:82{how}") == backends.missing("default/web:82")
            assert backends.missing(f"default/none:80{how}") == backends.missing("default/none:80")
        backends.want((*keys, "default/new:80"))
        assert backends.missing("default/new:80") is None  # on its way
        await until(lambda: backends.missing("default/new:80") is not None)
        put_service(server, "new", ("http", 80))
        await until(lambda: backends.missing("default/new:80") is None)
        server.delete("/api/v1/namespaces/default/services/web")
        await until(lambda: backends.missing("default/web:80") == ("service_not_found", "there is no Service default/web"))


async def test_a_port_of_udp_is_another_one_than_that_of_tcp(server: ApiServer, api: Api) -> None:
    listed = [{"name": "tcp", "port": 53}, {"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "", "port": 80}]
    server.put("/api/v1/namespaces/default/services/dns", spec={"ports": listed, "clusterIP": "10.9.0.1"})
    server.put(
        slice_path("dns-1"),
        metadata={"labels": {"kubernetes.io/service-name": "dns"}},
        addressType="IPv4",
        ports=[{"name": "tcp", "port": 5300}, {"name": "udp", "port": 5353, "protocol": "UDP"}],
        endpoints=[{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    )
    target = Target("default/dns", 53)
    ports = [
        ListenPort(53, protocol, service_port=port) for protocol, port in (("TCP", 53), ("UDP", 53), ("UDP", "udp"), ("UDP", 80))
    ]
    keys = [PortTarget.of(target, port).key for port in ports]
    through = PortTarget.of(msgspec.structs.replace(target, direct=False), ports[1]).key
    async with following(server, api, *keys, through) as backends:
        tcp, udp, named, wrong = keys
        assert backends.get(tcp) == (Backend("10.0.0.1", 5300),)
        assert backends.get(udp) == backends.get(named) == (Backend("10.0.0.1", 5353),)
        (found,) = backends.get(through)
        assert (found.host, found.port) == ("10.9.0.1", 53)
        assert [backends.missing(key) for key in (tcp, udp, named, through)] == [None] * 4
        assert backends.missing(wrong) == ("port_not_found", "Service default/dns has no UDP port 80; it has 53 (udp)")


async def test_nothing_is_missing_where_nobody_looks(server: ApiServer, api: Api) -> None:
    async with following(server, api, "a/web:80", "b/web:80", namespaces=("a",)) as backends:
        assert backends.missing("a/web:80") is not None
        assert backends.missing("b/web:80") is None


def _put_external(server: ApiServer, name: str, external: str, *ports: dict[str, Any]) -> None:
    spec = {"type": "ExternalName", "externalName": external, "ports": [*ports]}
    server.put(f"/api/v1/namespaces/default/services/{name}", spec=spec)


async def test_a_service_of_type_external_name_is_another_name(server: ApiServer, api: Api) -> None:
    _put_external(server, "none", "Api.example.com")
    _put_external(server, "some", "api.example.com.", {"name": "grpc", "port": 443, "appProtocol": "kubernetes.io/h2c"})
    _put_external(server, "address", "192.0.2.1")
    keys = {
        "default/none:80": Alias("dns:api.example.com.:80"),
        "default/none:80@service": Alias("dns:api.example.com.:80"),
        "default/none": None,
        "default/none:http": None,
        "default/some:grpc": Alias("dns:api.example.com.:443", "kubernetes.io/h2c"),
        "default/some": Alias("dns:api.example.com.:443", "kubernetes.io/h2c"),
        "default/some:8443": Alias("dns:api.example.com.:8443"),
        "default/address:80": None,
    }
    async with following(server, api, *keys) as backends:
        assert {key: backends.alias(key) for key in keys} == keys
        assert all(backends.get(key) == () for key in keys)
        missing = {key: (backends.missing(key) or ("",))[0] for key in keys}
        assert missing == {
            **dict.fromkeys(keys, ""),
            "default/none": "port_not_found",
            "default/none:http": "port_not_found",
            "default/address:80": "external_name",
        }


async def test_a_service_may_become_another_name_and_have_pods_again(server: ApiServer, api: Api) -> None:
    put_app(server, "web", "10.0.0.1")
    async with following(server, api, "default/web:80") as backends:
        told: list[str] = []
        backends.subscribe(told.append)
        _put_external(server, "web", "a.example.com")
        await until(lambda: backends.alias("default/web:80") is not None)
        assert (backends.get("default/web:80"), told) == ((), ["default/web:80"])
        _put_external(server, "web", "b.example.com")
        await until(lambda: backends.alias("default/web:80") == Alias("dns:b.example.com.:80"))
        assert len(told) == 2
        put_service(server, "web", ("http", 80))
        await until(lambda: backends.alias("default/web:80") is None)
        assert (backends.get("default/web:80"), len(told)) == ((A,), 3)
        backends.want([])
        assert backends.alias("default/web:80") is None
