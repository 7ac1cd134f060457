"""The interceptors of the fleet, from EndpointSlices of their Service."""

from __future__ import annotations

from typing import Any

from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.discovery.kubernetes.members import KubernetesMembers, members_of
from fleet.discovery.kubernetes.objects import Endpoint, EndpointSlice, SlicePort
from fleet.discovery.sources import Member
from tests.support.apiserver import ApiServer
from tests.support.waiting import until

QUICK = Timing(resync=3600, first_pause=0.01, longest_pause=0.05, silence=3600)
SLICES = "/apis/discovery.k8s.io/v1/namespaces/weir-system/endpointslices"


def put(server: ApiServer, name: str, *pods: tuple[str, str], service: str = "rpc", **conditions: bool) -> None:
    endpoints: list[Any] = [
        {"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "name": pod}} for pod, address in pods
    ]
    labels = {"kubernetes.io/service-name": service}
    ports = [{"name": "rpc", "port": 9090}]
    server.put(f"{SLICES}/{name}", metadata={"labels": labels}, addressType="IPv4", ports=ports, endpoints=endpoints)


def test_ready_and_draining_pods_are_members_and_others_are_not() -> None:
    def one(pod: str, ready: bool, serving: bool, terminating: bool) -> Endpoint:
        return Endpoint("10.0.0.1", pod, ready, serving, terminating)

    endpoints = (
        one("ready", ready=True, serving=True, terminating=False),
        one("draining", ready=False, serving=True, terminating=True),
        one("drains-unready", ready=False, serving=False, terminating=True),
        one("starting", ready=False, serving=False, terminating=False),
    )
    found = members_of([EndpointSlice("weir-system/rpc", False, (SlicePort("rpc", 9090),), endpoints)], "rpc")
    assert [member.name for member in found] == ["draining", "drains-unready", "ready"]
    assert members_of([EndpointSlice("weir-system/rpc", False, (SlicePort("http", 80),), endpoints)], "rpc") == ()


def test_a_pod_with_two_addresses_is_one_member_and_one_without_name_is_called_by_its_address() -> None:
    ports = (SlicePort("rpc", 9090),)
    six = Endpoint("fd00::1", "a", ready=True, serving=True, terminating=False)
    four = Endpoint("10.0.0.1", "a", ready=True, serving=True, terminating=False)
    nobody = Endpoint("fd00::2", "", ready=True, serving=True, terminating=False)
    slices = [EndpointSlice("w/rpc", True, ports, (six, nobody)), EndpointSlice("w/rpc", False, ports, (four,))]
    assert members_of(slices, "rpc") == (Member("[fd00::2]:9090", "[fd00::2]:9090"), Member("a", "10.0.0.1:9090"))


async def test_they_are_followed_and_no_others(server: ApiServer, api: Api) -> None:
    put(server, "rpc-1", ("a", "10.0.0.1"))
    put(server, "proxy-1", ("a", "10.0.0.1"), service="proxy")
    members = KubernetesMembers(api, "weir-system", "rpc", "rpc", timing=QUICK)
    told: list[tuple[Member, ...]] = []
    members.subscribe(told.append)
    assert members.current is None
    await members.start()
    assert members.current == (Member("a", "10.0.0.1:9090"),)
    await until(lambda: server.watches)
    put(server, "rpc-2", ("b", "10.0.0.2"), ("a", "10.0.0.1"))
    server.delete(f"{SLICES}/rpc-1")
    await until(lambda: members.current == (Member("a", "10.0.0.1:9090"), Member("b", "10.0.0.2:9090")))
    assert all(Member("a", "10.0.0.1:9090") in one for one in told), "a pod that moved between slices was always there"
    await server.down()
    assert len(told[-1]) == 2
    await server.up()
    server.delete(f"{SLICES}/rpc-2")
    await until(lambda: members.current == ())
    await members.close()


async def test_nobody_is_another_thing_than_not_known(server: ApiServer, api: Api) -> None:
    await server.down()
    members = KubernetesMembers(api, "weir-system", "rpc", "rpc", timing=QUICK)
    await members.start()
    assert members.current is None
    await server.up()
    await until(lambda: members.current == ())
    await members.close()
