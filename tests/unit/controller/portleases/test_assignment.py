"""Which ports objects get, by their numbers and by leases."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.portleases.assignment import PortView
from controller.portleases.lease import PortLease
from controller.resources import Key, Resource
from controller.table import Assembly, Lost, assemble
from fleet.routing.port import TCP, UDP
from fleet.routing.port_index import PortKey
from tests.unit.controller.objects import http, route

ENTRIES = ("weir-system/east", "weir-system/weir-interceptor")
REDIS, OTHER = Key("HTTPScaledObject", "shop", "redis"), Key("HTTPScaledObject", "shop", "other")


def app(name: str, *ports: dict[str, Any], second: int = 0, **fields: Any) -> Resource:
    return http(name, hosts=None, ports=ports, metadata={"creationTimestamp": f"2026-01-01T00:00:{second:02}Z"}, **fields)


def lease(port: int, name: str = "redis", holder: Key | None = REDIS, protocol: str = TCP, **fields: Any) -> PortLease:
    uid = f"uid-{holder.name}" if holder is not None else ""
    return PortLease(PortKey(protocol, port), fields.pop("namespace", "shop"), name, holder, uid, ENTRIES[0], **fields)


def made(resources: list[Resource], *leases: PortLease, most: int = 250, of_namespace: int = 250) -> Assembly:
    return assemble(resources, ports=PortView.of(most, {each.port: each for each in leases}, ENTRIES, of_namespace))


def ports(assembly: Assembly, name: str) -> list[int]:
    return [port.port for port in assembly.table.apps[f"shop/{name}"].ports]


def test_a_lease_says_the_number() -> None:
    assembly = made([app("redis", {"lease": "redis", "idle": "5m"}, {"port": 6379})], lease(20_005))
    assert ports(assembly, "redis") == [20_005, 6379]
    assert assembly.table.apps["shop/redis"].ports[0].idle == 300
    assert assembly.entries == {PortKey(TCP, 20_005): frozenset({ENTRIES[0]}), PortKey(TCP, 6379): frozenset({""})}
    assert (assembly.waits, assembly.lost) == ({}, {})


@pytest.mark.parametrize(
    ("leases", "why"),
    [
        ([], "lease redis: no port was leased yet"),
        ([lease(20_005, holder=None)], "lease redis: its lease was not bound to this object yet"),
        ([lease(20_005, protocol=UDP)], "lease redis is of UDP port 20005"),
        ([lease(20_005, namespace="other")], "lease redis: no port was leased yet"),
        ([msgspec.structs.replace(lease(20_005), holder_uid="of one before")], "lease redis: its lease was not bound"),
    ],
)
def test_without_its_lease_it_waits(leases: list[PortLease], why: str) -> None:
    assembly = made([app("redis", {"lease": "redis"})], *leases)
    assert ports(assembly, "redis") == []
    assert assembly.waits[REDIS][0].startswith(why)
    assert not assembly.unserved, "it is about to get one"


def test_a_leased_port_is_nobody_elses() -> None:
    """Also not an older object's that names its number."""
    older, redis = app("other", {"port": 20_005}, second=1), app("redis", {"lease": "redis"}, second=2)
    assembly = made([older, redis], lease(20_005))
    assert (ports(assembly, "redis"), ports(assembly, "other")) == ([20_005], [])
    assert assembly.lost == {OTHER: (Lost("TCP port 20005", REDIS),)}
    assert assembly.unserved == {OTHER}
    assembly = made([older], lease(20_005, "mine", None, namespace="elsewhere"))
    assert assembly.lost == {OTHER: (Lost("TCP port 20005", Key("Lease", "elsewhere", "mine")),)}
    with_hosts = http("other", ports=[{"port": 20_005}])
    assert made([with_hosts], lease(20_005)).unserved == frozenset(), "it still gets requests"


def test_two_objects_that_name_one_lease() -> None:
    assembly = made([app("other", {"lease": "redis"}), app("redis", {"lease": "redis"})], lease(20_005))
    assert (ports(assembly, "redis"), ports(assembly, "other")) == ([20_005], [])
    assert assembly.lost == {OTHER: (Lost("TCP port 20005", REDIS),)}


def test_a_number_that_is_leased_to_the_object_itself() -> None:
    assert ports(made([app("redis", {"port": 20_005})], lease(20_005)), "redis") == [20_005]
    assembly = made([app("redis", {"port": 20_005})], lease(20_005, holder=None))
    assert (ports(assembly, "redis"), assembly.lost) == ([], {})
    assert "not bound" in assembly.waits[REDIS][0]


def test_entries_of_numbers() -> None:
    assembly = made([app("redis", {"port": 6379, "entry": "east"}, {"port": 6380, "entry": "west"})])
    assert assembly.entries == {PortKey(TCP, 6379): frozenset({"weir-system/east"})}
    assert assembly.waits[REDIS] == ("TCP port 6380: there is no entry west",)


def test_a_shared_port_is_in_the_entries_of_all_its_owners_and_of_nobody_else() -> None:
    first = app("redis", {"port": 443, "serverNames": ["a.test"], "entry": "east"}, second=1)
    second = app("other", {"port": 443, "serverNames": ["b.test"], "entry": "weir-interceptor"}, second=2)
    third = app("third", {"port": 443, "serverNames": ["a.test"]}, second=3)
    assert made([first, second, third]).entries == {PortKey(TCP, 443): frozenset(ENTRIES)}


def test_the_bound_is_of_all_objects_and_the_older_ones_keep_theirs() -> None:
    old = app("redis", {"port": 1}, {"port": 2}, second=1)
    new = app("other", {"port": 2, "protocol": "UDP"}, {"port": 3}, second=2)
    shared = app("third", {"port": 1, "serverNames": ["a.test"]}, second=3)
    assembly = made([new, old, shared], most=3)
    assert (ports(assembly, "redis"), ports(assembly, "other")) == ([1, 2], [2])
    assert assembly.waits == {OTHER: ("TCP port 3: the interceptors have 3 ports of older objects, and that is the most",)}


def test_no_namespace_has_more_than_its_bound_and_others_keep_theirs() -> None:
    """Of its numbers and its leases, used or not; a number that two of its applications share counts once."""
    old = app("redis", {"port": 1}, {"port": 443, "serverNames": ["a.test"]}, second=1)
    shared = app("other", {"port": 443, "serverNames": ["b.test"]}, {"port": 3}, {"port": 3, "protocol": "UDP"}, second=2)
    elsewhere = route("db", namespace="bank", ports=[{"port": 3}], metadata={"creationTimestamp": "2026-01-01T00:00:09Z"})
    unused = (lease(20_005, "unused", None), lease(20_006, "theirs", None, namespace="bank"))
    assembly = made([shared, old, elsewhere], *unused, of_namespace=4)
    assert (ports(assembly, "redis"), ports(assembly, "other")) == ([1, 443], [443, 3])
    assert assembly.waits == {OTHER: ("UDP port 3: namespace shop has 4 ports already, and that is the most",)}
    assembly = made([shared, old, elsewhere], *unused, of_namespace=3)
    assert [port.port for port in assembly.table.apps["bank/db"].ports] == [3], "what shop does not get is others'"
    off = assemble([shared, old], ports=PortView(9, is_on=False, most_of_namespace=1))
    assert (ports(off, "redis"), ports(off, "other")) == ([1], [])
    leased = made([app("redis", {"port": 20_005})], lease(20_005), of_namespace=1)
    assert ports(leased, "redis") == [20_005]


def test_numbers_of_older_objects_leave_leased_ports_theirs() -> None:
    older = app("other", *({"port": number} for number in range(1, 4)))
    assembly = made([older, app("redis", {"lease": "redis"}, second=1)], lease(20_005), most=3)
    assert (ports(assembly, "redis"), ports(assembly, "other")) == ([20_005], [1, 2])


def test_one_port_of_an_object_at_two_entries() -> None:
    names = {"east": "a.test", "weir-interceptor": "b.test"}
    assembly = made([app("redis", *({"port": 8883, "serverNames": [name], "entry": entry} for entry, name in names.items()))])
    assert assembly.entries == {PortKey(TCP, 8883): frozenset(ENTRIES)}


def test_leases_that_were_not_read_and_leases_that_are_off() -> None:
    redis = app("redis", {"lease": "redis"}, {"port": 6379})
    for view, why, given in (
        (PortView.of(9, None, ()), "the leases were not read yet", []),
        (PortView(9, is_on=False), "gives no leases", [6379]),
    ):
        assembly = assemble([redis], ports=view)
        assert ports(assembly, "redis") == given
        assert why in assembly.waits[REDIS][0]


def test_without_leases_what_is_served_stays_and_nobody_gets_more() -> None:
    """A new leader that cannot read them yet must not give a leased number to another object that names it."""
    redis, other = app("redis", {"lease": "redis"}, second=1), app("other", {"port": 20_005}, {"port": 6379})
    before = made([redis, other], lease(20_005)).table
    less = app("other", {"port": 20_005})
    for objects, kept in (([redis, other], [6379]), ([redis, less], [])):
        assembly = assemble(objects, before=before, ports=PortView.of(250, None, ()))
        assert (ports(assembly, "redis"), ports(assembly, "other")) == ([20_005], kept)
    assert REDIS not in assembly.waits


def test_what_is_wrong_with_a_leased_port_is_told_where_it_is_written() -> None:
    wrong = route("db", ports=[{"port": 1}, {"lease": "db", "protocol": "UDP", "serverNames": ["a.test"]}])
    assert str(wrong.problem) == "spec.ports[1].serverNames: is for TCP"
    for fields in ({}, {"port": 1, "lease": "a"}):
        assert "a port has either a number (port) or a lease" in str(route("db", ports=[fields]).problem)
    assert "spec.ports[0].lease" in str(route("db", ports=[{"lease": "Not a name"}]).problem)
    many = route("db", ports=[{"lease": "a"}, {"lease": "b"}, {"port": 65_535}])
    assert many.problem is None
    assert many.route is not None
    assert [port.port for port in many.route.ports] == [65_535]
