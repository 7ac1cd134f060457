"""Hosts and ports joined and split, in one place for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.runtime.address import AddressError, join_address, near_host, split_address


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
