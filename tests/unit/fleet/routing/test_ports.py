"""Ports of routes: what they may say, who gets them, and which connection belongs to whom."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.routing.codec import decode_json, decode_yaml, encode_json, encode_yaml
from fleet.routing.faults import RouteError
from fleet.routing.port import UDP, ListenPort, PortTarget, Uncounted
from fleet.routing.port_index import PortKey
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable


def route(app: str, *ports: ListenPort, created: float = 0.0, target: Target | None = None) -> Route:
    return Route(f"n/{app}", target or Target(f"n/{app}", 80), created=created, ports=ports)


def tls(*names: str, alpn: tuple[str, ...] = (), port: int = 5000, **more: Any) -> ListenPort:
    return ListenPort(port, server_names=names, alpn=alpn, **more)


def owner(table: RoutingTable, name: str = "", alpn: tuple[str, ...] = (), port: int = 5000, protocol: str = "TCP") -> str | None:
    found = table.ports[PortKey(protocol, port)].find(name, alpn)
    return None if found is None else found.app.removeprefix("n/")


def test_a_plain_port_belongs_to_one_app() -> None:
    table = RoutingTable([route("old", ListenPort(5000), created=1.0), route("new", ListenPort(5000), created=2.0)])
    assert owner(table) == owner(table, "any.test", ("h2",)) == "old"
    ((conflict),) = table.conflicts
    assert (conflict.app, str(conflict.claim), conflict.winner) == ("n/new", "TCP port 5000", "n/old")


def test_tcp_and_udp_are_different_ports() -> None:
    table = RoutingTable([route("a", ListenPort(5000)), route("b", ListenPort(5000, UDP))])
    assert not table.conflicts
    assert owner(table) == "a"
    assert owner(table, protocol="UDP") == "b"


def test_server_names_exact_before_wildcards_before_any() -> None:
    table = RoutingTable([
        route("any", tls("*")),
        route("short", tls("*.test")),
        route("long", tls("*.b.test")),
        route("exact", tls("A.B.Test.")),
    ])  # fmt: skip
    assert owner(table, "a.b.test") == "exact"
    assert owner(table, "x.b.test") == "long"
    assert owner(table, "b.test") == "short"
    assert owner(table, "elsewhere") == owner(table, "") == "any"
    assert not table.conflicts


def test_without_a_default_nobody_gets_what_is_unknown() -> None:
    table = RoutingTable([route("a", tls("a.test"))])
    assert owner(table, "") is None
    assert owner(table, "b.test") is None


def test_alpn_is_a_further_key_in_the_order_of_the_client() -> None:
    table = RoutingTable([
        route("mqtt", tls("a.test", alpn=("mqtt",))),
        route("h2", tls("a.test", alpn=("h2",))),
        route("rest", tls("a.test")),
        route("default", tls(alpn=("acme-tls/1",))),
    ])  # fmt: skip
    assert owner(table, "a.test", ("mqtt", "h2")) == "mqtt"
    assert owner(table, "a.test", ("h2", "mqtt")) == "h2"
    assert owner(table, "a.test", ("x",)) == owner(table, "a.test") == "rest"
    assert owner(table, "b.test", ("acme-tls/1",)) == "default"
    assert owner(table, "b.test", ("h2",)) is None


def test_the_first_claim_says_whether_a_port_is_shared() -> None:
    plain, shared = route("plain", ListenPort(5000), created=1.0), route("shared", tls("a.test"), created=2.0)
    table = RoutingTable([plain, shared])
    assert owner(table, "a.test") == "plain"
    assert [str(each.claim) for each in table.conflicts] == ["TCP port 5000 [a.test]"]
    younger = route("plain", ListenPort(5000), created=3.0)
    table = RoutingTable([younger, shared])
    assert owner(table, "a.test") == "shared"
    assert owner(table, "b.test") is None
    assert [each.app for each in table.conflicts] == ["n/plain"]


def test_conflicts_of_ports_stand_beside_those_of_hosts() -> None:
    rule = Rule(("a.test",))
    routes = [
        Route("n/a", Target("n/a", 80), (rule,), created=1.0, ports=(ListenPort(5000),)),
        Route("n/b", Target("n/b", 80), (rule,), created=2.0, ports=(ListenPort(5001),)),
        Route("n/c", Target("n/c", 80), (rule,), created=3.0, ports=(ListenPort(5000),)),
    ]
    # Grouped by app, as those who read them expect.
    assert [each.app for each in RoutingTable(routes).conflicts] == ["n/b", "n/c", "n/c"]


def test_what_is_written_is_read() -> None:
    port = ListenPort(
        5000,
        service_port="db",
        server_names=("a.test",),
        alpn=("x",),
        proxy_protocol="v2",
        idle=5.0,
        uncounted=Uncounted(2.0, ("10.0.0.0/8",), (r"PING\r\n",)),
    )
    table = RoutingTable([route("a", port, ListenPort(53, UDP))])
    for again in (decode_json(encode_json(table)), decode_yaml(encode_yaml(table))):
        assert (again.routes, again.version) == (table.routes, table.version)


def test_a_table_without_ports_is_encoded_as_before() -> None:
    assert b"ports" not in encode_json(RoutingTable([route("a")]))


@pytest.mark.parametrize(
    ("ports", "field"),
    [
        ((ListenPort(0),), "ports[0].port"),
        ((ListenPort(65536),), "ports[0].port"),
        ((ListenPort(1, "SCTP"),), "ports[0].protocol"),
        ((ListenPort(1), ListenPort(1)), "ports[1].port"),
        ((ListenPort(1), tls("a", port=1)), "ports[1].port"),
        ((tls("a", port=1), ListenPort(1)), "ports[1].port"),
        ((tls("a", port=1), tls("b", "A.", port=1)), "ports[1].server_names"),
        ((tls(port=1, alpn=("x",)), tls("*", port=1, alpn=("x",))), "ports[1].server_names"),
        ((tls("a b", port=1),), "ports[0].server_names[0]"),
        ((tls(port=1, alpn=("a b",)),), "ports[0].alpn[0]"),
        ((ListenPort(1, UDP, server_names=("a",)),), "ports[0].server_names"),
        ((ListenPort(1, UDP, proxy_protocol="v2"),), "ports[0].proxy_protocol"),
        ((ListenPort(1, replies=1),), "ports[0].replies"),
        ((ListenPort(1, UDP, replies=0),), "ports[0].replies"),
        ((ListenPort(1, proxy_protocol="v3"),), "ports[0].proxy_protocol"),
        ((ListenPort(1, idle=0.0),), "ports[0].idle"),
        ((ListenPort(1, uncounted=Uncounted(networks=("10.0.0.1/8",))),), "ports[0].uncounted.networks[0]"),
        ((ListenPort(1, uncounted=Uncounted(first_bytes=("*",))),), "ports[0].uncounted.first_bytes[0]"),
        (tuple(ListenPort(number) for number in range(1, 66)), "ports"),
    ],
)
def test_what_a_route_may_not_say(ports: tuple[ListenPort, ...], field: str) -> None:
    with pytest.raises(RouteError) as caught:
        RoutingTable([route("a", *ports)])
    assert caught.value.field == field


def test_targets_of_ports_are_spoken_to_in_their_own_way() -> None:
    made = route("a", ListenPort(1), ListenPort(2, service_port="db"), ListenPort(3, UDP, service_port=53))
    assert [target.key for target in made.targets] == ["n/a:80", "n/a:80", "n/a:db", "n/a:53/udp"]
    assert len({target.pool for target in made.targets}) == 4
    direct = route("a", ListenPort(3, UDP), target=Target("n/a", 80, direct=False))
    assert direct.targets[-1].key == "n/a:80/udp@service"
    # An app of a file has its own port, by whatever protocol.
    assert route("a", ListenPort(3, UDP), target=Target("n/a")).targets[-1].key == "n/a"
    assert str(PortTarget.of(Target("n/a"), ListenPort(1)).connects.spoken("h2c")) == "a stream"
