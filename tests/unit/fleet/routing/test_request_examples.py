"""Example addresses and commands for a route's claim: the claim itself matches each of them."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

import pytest

from fleet.routing.claims import claims_of
from fleet.routing.request_examples import address_of, command_for, is_local_name
from fleet.routing.route import HeaderMatch, Route, Rule, Target
from fleet.routing.table import RoutingTable

HOSTS = ("a.localhost", "*.shop.localhost", "localhost", "*", "shop.example.com", "*.example.com", "[::1]", "127.0.0.1")
PATHS = ("", "/api", "/with blank/ü[x]'$(id)")
HEADERS = ((), (HeaderMatch("X-Team"), HeaderMatch("x-kind", "it's; $HOME")))
PLACES = ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost", "192.168.1.5:8080", "other.localhost:8080")


def _claim(host: str, path: str, headers: tuple[HeaderMatch, ...]) -> tuple[Rule, RoutingTable]:
    rule = Rule(hosts=(host,), paths=(path,) if path else (), headers=headers)
    return rule, RoutingTable([Route(app="n/a", target=Target("n/a"), rules=(rule,))])


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("headers", HEADERS, ids=["plain", "headers"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", HOSTS)
def test_what_is_tried_is_what_the_claim_takes(host: str, path: str, headers: tuple[HeaderMatch, ...], at: str) -> None:
    rule, table = _claim(host, path, headers)
    (claim,) = claims_of([rule])
    words = shlex.split(command_for(claim, at))
    assert words[0] == "curl"
    assert words[1:-1:2] == ["-H"] * ((len(words) - 2) // 2)
    fields = [tuple(field.split(": ", 1)) for field in words[2:-1:2]]
    url = urlsplit(words[-1])
    sent = {name.lower(): value for name, value in fields}
    asked = sent.pop("host", url.netloc).encode()
    assert url.scheme == "http"
    assert table.match(asked, url.path.encode(), [(name.encode(), value.encode()) for name, value in sent.items()]) is not None
    address = address_of(claim, at)
    if address is not None:
        assert [words[0], words[-1]] == ["curl", address] == words
    port = urlsplit(f"//{at}").port
    assert url.port == port


@pytest.mark.parametrize(
    ("host", "at", "address"),
    [
        ("a.localhost", "localhost:8080", "http://a.localhost:8080/"),
        ("a.localhost", "[::1]:8080", "http://a.localhost:8080/"),
        ("*.a.localhost", "127.0.0.1:80", "http://any.a.localhost:80/"),
        ("*", "192.168.1.5:8080", "http://192.168.1.5:8080/"),
        ("a.localhost", "192.168.1.5:8080", None),  # there localhost is the visitor's own machine
        ("a.example.com", "localhost:8080", None),  # would resolve to another machine
    ],
)
def test_addresses_are_given_only_where_opening_one_is_enough(host: str, at: str, address: str | None) -> None:
    (claim,) = claims_of([Rule(hosts=(host,))])
    assert address_of(claim, at) == address


@pytest.mark.parametrize(
    ("host", "address", "command"),
    [
        ("a.localhost", "https://a.localhost:8443/b", "curl https://a.localhost:8443/b"),
        ("*", "https://localhost:8443/b", "curl https://localhost:8443/b"),
        ("a.test", None, "curl -H 'Host: a.test' https://localhost:8443/b"),
    ],
)
def test_whoever_comes_by_https_is_told_of_https(host: str, address: str | None, command: str) -> None:
    (claim,) = claims_of([Rule(hosts=(host,), paths=("/b",))])
    assert address_of(claim, "localhost:8443", scheme="https") == address
    assert command_for(claim, "localhost:8443", scheme="https") == command


def test_names_that_mean_this_machine() -> None:
    assert [is_local_name(name) for name in ("localhost", "a.localhost", "notlocalhost", "localhost.example.com")] == [
        True, True, False, False,
    ]  # fmt: skip
