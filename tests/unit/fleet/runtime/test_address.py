"""Hosts and ports joined and split, in one place for all."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.runtime.address import AddressError, join_address, near_host, split_address

ROOT = Path(__file__).parents[4]
PACKAGES = ("fleet", "interceptor", "scaler", "controller", "weir")


@given(st.one_of(st.ip_addresses().map(str), st.sampled_from(["localhost", "a.b-c.example"])), st.integers(1, 65535))
def test_what_was_joined_is_split(host: str, port: int) -> None:
    assert split_address(join_address(host, port)) == (host, port)


def test_an_ipv6_address_is_joined_in_brackets() -> None:
    assert join_address("::1", 80) == "[::1]:80"
    assert join_address("127.0.0.1", 80) == "127.0.0.1:80"


@pytest.mark.parametrize("address", ["::1:9090", "fe80::1:80", ":::80"])
def test_an_ipv6_address_without_brackets_is_refused_with_what_to_write(address: str) -> None:
    with pytest.raises(AddressError, match=r"is not \"host:port\"; write '\[.*\]:\d+' for an IPv6 address"):
        split_address(address)


@pytest.mark.parametrize(
    "address",
    ["", "a", "a:", ":80", "[]:80", "[a]:80", "[127.0.0.1]:80", "a:0", "a:65536", "a:080000", "a:٣", "a: 80", "a b:80", "http://a:80",
     "[::1:80", "::1]:80", "[[::1]]:80", "[::1]", "[::1]80", "a/b:80", "u@a:80"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AddressError, match='is not "host:port"'):
        split_address(address)


@pytest.mark.parametrize(
    ("host", "near"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("0:0:0:0:0:0:0:0", "::1"), ("::1", "::1"), ("10.0.0.7", "10.0.0.7"), ("a", "a")],
)
def test_what_listens_everywhere_is_near(host: str, near: str) -> None:
    assert near_host(host) == near


NOT_AN_ADDRESS = {
    "controller/status.py": "a service and the name of its port",
    "controller/wiring.py": "a trigger's scalerAddress, which may be any text",
    "controller/server.py": "service:NAMESPACE/NAME:PORTNAME, whose port is a name",
    "fleet/discovery/kubernetes/backends.py": "a target's key, namespace/service:PORT",
    "fleet/routing/route.py": "a target's key, namespace/service:PORT",
    "fleet/routing/tryout.py": "a Host field, which may have no port",
    "interceptor/app/applist.py": "a Host field, which may have no port",
    "scaler/members.py": "a reason in gRPC's words",
    "weir/engine/listening.py": "hexadecimal, in a table of the kernel",
    "weir/explain.py": "a header, name:value",
}
"""Where something else than an address is put together, or taken apart, at a colon."""
_CUTS = {"split", "rsplit", "partition", "rpartition"}


def _by_hand(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from _joined_port(node)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and ("%s:%d" in node.value or "{}:{}" in node.value)
        ) or (isinstance(node, ast.Call) and _cuts_at_colon(node)):
            yield node


def _cuts_at_colon(call: ast.Call) -> bool:
    colons = [one for one in call.args if isinstance(one, ast.Constant) and one.value == ":"]
    return isinstance(call.func, ast.Attribute) and call.func.attr in _CUTS and bool(colons)


def _joined_port(text: ast.JoinedStr) -> Iterator[ast.AST]:
    """What looks like {anything}:{something.port}, or [{anything}]:{…}."""
    for before, colon, port in zip(text.values, text.values[1:], text.values[2:], strict=False):
        is_colon = isinstance(colon, ast.Constant) and colon.value in (":", "]:")
        if is_colon and isinstance(before, ast.FormattedValue) and "port" in ast.unparse(port).lower():
            yield text


def test_addresses_are_joined_and_split_nowhere_else() -> None:
    found: Counter[str] = Counter()
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        name = path.relative_to(ROOT).as_posix()
        if name != "fleet/runtime/address.py":
            found.update({name: len(list(_by_hand(ast.parse(path.read_text()))))})
    assert set(+found) == set(NOT_AN_ADDRESS), "use fleet.runtime.address, or say what it is instead"


@pytest.mark.parametrize(
    "source",
    [
        'f"{host}:{port}"',
        'f"http://{a.host}:{b.proxy_port}/x"',
        'f"[{host}]:{port}"',
        'x.rpartition(":")',
        'x.rsplit(":", 1)',
        '"%s:%d"',
    ],
)
def test_the_look_for_it_finds(source: str) -> None:
    assert list(_by_hand(ast.parse(source)))
