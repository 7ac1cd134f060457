"""Targets outside of discovery: what they may be, and their keys."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.routing.check import RouteError, check_route
from fleet.routing.outside import is_dns_name, is_outside, outside_key
from fleet.routing.route import ColdStart, Route, Rule, Target, WeightedTarget


@pytest.mark.parametrize(
    ("target", "key"),
    [
        (Target("n/web"), "n/web"),
        (Target("n/web", "http", True), "n/web:http@pods"),
        (Target(host="API.example.com", port=443), "dns:api.example.com:443"),
        (Target(host="db.", port=5432), "dns:db.:5432"),
        (Target(addresses=("192.0.2.1", "192.0.2.2:81"), port=80), "fixed:192.0.2.1:80,192.0.2.2:81"),
        (Target(addresses=("[2001:DB8:0::1]:8080",)), "fixed:[2001:db8::1]:8080"),
        (Target(addresses=("2001:db8::1", "[2001:db8::2]"), port=80), "fixed:[2001:db8::1]:80,[2001:db8::2]:80"),
    ],
)
def test_keys(target: Target, key: str) -> None:
    check_route(Route("n/a", target))
    assert target.key == key
    assert target.is_outside == is_outside(key) == (outside_key(key) is not None) == (not target.service)


def test_a_key_is_taken_apart() -> None:
    name, fixed = outside_key("dns:api.example.com:443"), outside_key("fixed:192.0.2.1:80,[2001:db8::1]:8080")
    assert name is not None
    assert fixed is not None
    assert (name.name, name.port, name.places) == ("api.example.com", 443, ())
    assert fixed.places == (("192.0.2.1", 80), ("2001:db8::1", 8080))
    assert outside_key("dns/web:80") is outside_key("n/web") is None


@pytest.mark.parametrize(
    ("target", "field", "reason"),
    [
        ({}, "target.service", "is empty: a service, a host or addresses"),
        ({"service": "n/web", "host": "a.test", "port": 1}, "target.host", "there is service and host"),
        ({"host": "a.test", "addresses": ("192.0.2.1",), "port": 1}, "target.addresses", "there is host and addresses"),
        ({"host": "a.test"}, "target.port", "is missing"),
        ({"host": "a.test", "port": "http"}, "target.port", "name of a Service's port"),
        ({"host": "a.test", "port": 70000}, "target.port", "not between"),
        ({"host": "a.test", "port": 80, "direct": False}, "target.direct", "is for a Service"),
        ({"addresses": ("192.0.2.1:80", "192.0.2.1")}, "target.port", "is missing"),
        ({"addresses": ("192.0.2.1:0",)}, "target.addresses[0]", "not an IP address"),
        ({"addresses": ("192.0.2.1", "a.test"), "port": 80}, "target.addresses[1]", "not an IP address"),
        ({"addresses": ("fe80::1%eth0",), "port": 80}, "target.addresses[0]", "not an IP address"),
        ({"addresses": ("0177.0.0.1",), "port": 80}, "target.addresses[0]", "not an IP address"),
        ({"addresses": ("2130706433",), "port": 80}, "target.addresses[0]", "not an IP address"),
        ({"addresses": ("192.0.2.1",) * 65, "port": 80}, "target.addresses", "65 addresses, at most 64"),
        ({"host": "192.0.2.1", "port": 80}, "target.host", "write it in addresses"),
        ({"host": "::1", "port": 80}, "target.host", "write it in addresses"),
        ({"host": "127.1", "port": 80}, "target.host", "not a DNS name"),
        ({"host": "a..b", "port": 80}, "target.host", "not a DNS name"),
        ({"host": "-a", "port": 80}, "target.host", "not a DNS name"),
        ({"host": "a.test:80", "port": 80}, "target.host", "not a DNS name"),
        ({"host": "*.test", "port": 80}, "target.host", "not a DNS name"),
        ({"host": "bücher.test", "port": 80}, "target.host", "not ASCII"),
        ({"host": "a\n.test", "port": 80}, "target.host", "not a DNS name"),
        ({"host": "a.test\n", "port": 80}, "target.host", "not a DNS name"),
        ({"host": "a" * 64, "port": 80}, "target.host", "not a DNS name"),
        ({"host": ".".join(["a" * 63] * 4), "port": 80}, "target.host", "not a DNS name"),
        ({"host": "", "port": 80}, "target.host", "not a DNS name"),
    ],
)
def test_what_is_no_target(target: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(RouteError, match="n/a") as caught:
        check_route(Route("n/a", Target(**target)))
    assert caught.value.field == field
    assert reason in caught.value.reason


def test_backends_of_rules_and_fallbacks_are_checked_the_same() -> None:
    def refused(**fields: Any) -> str:
        with pytest.raises(RouteError) as caught:
            check_route(Route("n/a", Target("n/a"), **fields))
        return caught.value.field

    assert refused(rules=(Rule(backends=(WeightedTarget(host="a.test"),)),)) == "rules[0].backends[0].port"
    assert refused(cold_start=ColdStart(fallback=Target(host="1.2.3.4", port=1))) == "cold_start.fallback.host"
    same = WeightedTarget(host="a.test", port=1), WeightedTarget(host="A.test", port=1, weight=2)
    assert refused(rules=(Rule(backends=same),)) == "rules[0].backends[1]"


def test_the_plain_target_is_without_its_weight() -> None:
    assert WeightedTarget(host="a.test", port=1, weight=3).plain == Target(host="a.test", port=1)


@pytest.mark.parametrize("name", ["a", "a.", "_http._tcp.example.com", "xn--bcher-kva.example", "0x7f000001", "1.example"])
def test_names(name: str) -> None:
    assert is_dns_name(name)


@pytest.mark.parametrize("name", ["", ".", "1", "1.2", "a.1", "a.1.", "a b", "a/b", "a:1"])
def test_no_names(name: str) -> None:
    assert not is_dns_name(name)
