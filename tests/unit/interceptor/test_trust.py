"""Trusted proxies: the syntax of lists, and which addresses they contain."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.runtime.settings import SettingsError
from interceptor.settings import InterceptorSettings
from interceptor.trust import CACHED_ADDRESSES, LONGEST_ADDRESS, MAX_ENTRIES, TrustedProxies, _plain_v6, plain_address

PRIVATE = [
    "127.0.0.1", "127.255.255.255", "::1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "169.254.1.1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%eth0", "febf::1", "::ffff:10.1.2.3",
    "::ffff:127.0.0.1", "::FFFF:a01:203",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
    "100.63.255.255", "100.128.0.0", "169.253.255.255", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "::2", "fbff::1",
    "fec0::1", "::ffff:8.8.8.8", "::127.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "::fffe:10.0.0.1",
]  # fmt: skip
NO_ADDRESSES = [
    "", "unknown", "localhost", "10.0.0.1 ", " 10.0.0.1", "10.0.0.1:80", "[::1]", "10.0.0", "10.0.0.01", "0x7f.0.0.1",
    "2130706433", "127.1", "10.0.0.1, 8.8.8.8", "10.0.0.0/8", "::1/128", "fe80::1%", "fe80::1%a%b", "%eth0", "10.0.0.1%eth0",
    "10.0.0.1\x00", "10.0.0.1\n", "\u0661\u0660.0.0.1", "private", "all", "::ffff:10.0.0.1:80",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert TrustedProxies.parse("private").trusts(address)
    assert address in TrustedProxies.parse(" Private ,")


@pytest.mark.parametrize("address", PUBLIC + NO_ADDRESSES)
def test_addresses_that_are_not_private(address: str) -> None:
    assert not TrustedProxies.parse("private").trusts(address)


@pytest.mark.parametrize("address", PRIVATE + PUBLIC + NO_ADDRESSES)
def test_all_and_none(address: str) -> None:
    """`all` also trusts peers without an IP address, for example of a Unix socket."""
    assert TrustedProxies.parse("all").trusts(address)
    assert not TrustedProxies.parse("none").trusts(address)


def test_the_default_is_private() -> None:
    assert InterceptorSettings.load([]).trusted_proxies == "private"


def test_networks_and_addresses() -> None:
    trusted = TrustedProxies.parse("203.0.113.0/24, 2001:db8:1::/48,198.51.100.7 ,2001:DB8::9")
    for address in ("203.0.113.0", "203.0.113.255", "::ffff:203.0.113.9", "2001:db8:1:ffff::", "198.51.100.7", "2001:db8::9"):
        assert address in trusted
    for address in ("203.0.112.255", "203.0.114.0", "2001:db8:2::", "198.51.100.6", "198.51.100.8", "2001:db8::a", "10.0.0.1"):
        assert address not in trusted


def test_private_and_more() -> None:
    trusted = TrustedProxies.parse("203.0.113.0/24,private")
    assert [address in trusted for address in ("203.0.113.1", "10.0.0.1", "::1", "8.8.8.8")] == [True, True, True, False]


def test_networks_that_touch_and_overlap() -> None:
    trusted = TrustedProxies.parse("10.0.1.0/24,10.0.0.0/24,10.0.0.128/25,10.0.0.0/24,10.0.4.0/24")
    assert [f"10.0.{third}.255" in trusted for third in range(6)] == [True, True, False, False, True, False]


def test_networks_of_one_kind_say_nothing_of_the_other() -> None:
    assert "8.8.8.8" in TrustedProxies.parse("0.0.0.0/0")
    assert "::ffff:8.8.8.8" in TrustedProxies.parse("0.0.0.0/0")
    assert "2001:db8::1" not in TrustedProxies.parse("0.0.0.0/0")
    assert "2001:db8::1" in TrustedProxies.parse("::/0")
    assert "8.8.8.8" not in TrustedProxies.parse("::/0")
    assert "::ffff:8.8.8.8" not in TrustedProxies.parse("::/0")


def test_a_mapped_network_is_one_of_ipv4() -> None:
    trusted = TrustedProxies.parse("::ffff:203.0.113.0/120,::ffff:198.51.100.7")
    assert "203.0.113.255" in trusted
    assert "::ffff:203.0.113.255" in trusted
    assert "198.51.100.7" in trusted
    assert "203.0.114.0" not in trusted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nobody is named; 'none' trusts nobody"),
        (" , ,", "nobody is named; 'none' trusts nobody"),
        ("all,10.0.0.0/8", "'all' stands alone"),
        ("private,none", "'none' stands alone"),
        ("none,all", "'none' stands alone"),
        ("lan", "'lan' is neither an address nor a network, nor private, all or none"),
        ("10.0.0.0/8 192.168.0.0/16", "'10.0.0.0/8 192.168.0.0/16' is neither"),
        ("10.0.0.0/8;192.168.0.0/16", "is neither"),
        ("private,10.0.0.0/33", "'10.0.0.0/33' is neither"),
        ("10.0.0.0/", "'10.0.0.0/' is neither"),
        ("/8", "'/8' is neither"),
        ("10.0.0.0/-1", "is neither"),
        ("10.0.0.0/+8", "is neither"),
        ("10.0.0.0/8/8", "is neither"),
        ("10.0.0.0/\u0668", "is neither"),
        ("10.0.0.0/255.0.0.0", "is neither"),
        ("10.0.0.0/0.0.0.255", "is neither"),
        ("10.0.0.010", "is neither"),
        ("10.0.0", "is neither"),
        ("2130706433", "is neither"),
        ("2001:db8::/129", "is neither"),
        ("fe80::1%eth0", "'fe80::1%eth0' is neither"),
        ("fe80::%eth0/64", "is neither"),
        ("[2001:db8::1]", "is neither"),
        ("proxy.example.com", "is neither"),
        ("10.1.2.3/8", "'10.1.2.3/8' has more bits than its prefix: the network is 10.0.0.0/8"),
        ("2001:db8::1/32", "the network is 2001:db8::/32"),
        ("10.0.0.1\r\nX: y", r"'10.0.0.1\r\nX: y' is neither"),
        ("x" * 100_000, "'" + "x" * LONGEST_ADDRESS + "…' is neither"),
        (",".join(["10.0.0.1"] * (MAX_ENTRIES + 1)), f"{MAX_ENTRIES + 1} entries, at most {MAX_ENTRIES} are possible"),
    ],
)
def test_lists_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- its words are what is tested
        TrustedProxies.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_longest_list() -> None:
    entries = [f"{2 * number >> 8}.{2 * number & 255}.0.0/16" for number in range(1, MAX_ENTRIES + 1) if number < 128]
    trusted = TrustedProxies.parse(",".join(entries + ["203.0.113.1"] * (MAX_ENTRIES - len(entries))))
    assert "0.2.3.4" in trusted
    assert "0.3.3.4" not in trusted
    assert "203.0.113.1" in trusted


@pytest.mark.parametrize("text", ["lan", " ", "all,private", "10.1.2.3/8", "10.0.0.1\n::x"])
def test_a_wrong_setting_is_reported_in_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^--trusted-proxies: ") as caught:
        InterceptorSettings.load(["--trusted-proxies", text])
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("WEIR_TRUSTED_PROXIES", text)
    with pytest.raises(SettingsError, match=r"^WEIR_TRUSTED_PROXIES: "):
        InterceptorSettings.load([])


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:7f00:1", "127.0.0.1"),
        ("0:0:0:0:0:ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3%eth0", "10.1.2.3"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%2", "fe80::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8::1", "2001:DB8::1"),
        ("::1", "::1"),
        ("::127.0.0.1", "::127.0.0.1"),
        *((text, text) for text in NO_ADDRESSES),
        ("::" + "f" * 1_000_000, "::" + "f" * 1_000_000),
    ],
)
def test_plain_addresses(address: str, plain: str) -> None:
    assert plain_address(address) == plain


def test_memory_for_addresses_is_bounded() -> None:
    trusted = TrustedProxies.parse("private")
    for number in range(CACHED_ADDRESSES + 100):
        trusted.trusts(str(ipaddress.IPv4Address(0x0A000000 + number)))
    assert trusted.cached == CACHED_ADDRESSES


def test_what_is_too_long_for_an_address_is_not_kept() -> None:
    trusted = TrustedProxies.parse("private")
    assert not trusted.trusts("fe80::1%" + "x" * LONGEST_ADDRESS)
    assert not trusted.trusts("1" * 1_000_000)
    assert trusted.cached == 0


@given(st.text() | st.text("0123456789abcdef:.%/ ", max_size=50))
def test_any_text_is_an_address_or_trusted_by_nobody(text: str) -> None:
    private = TrustedProxies.parse("private")
    try:
        address = ipaddress.ip_address(plain_address(text))
    except ValueError:
        assert not private.trusts(text)
    else:
        assert private.trusts(text) is private.trusts(str(address))


@given(st.text() | st.text("0123456789abcdef:.%/, ", max_size=50))
def test_any_text_is_a_list_or_refused_with_a_value_error(text: str) -> None:
    try:
        trusted = TrustedProxies.parse(text)
    except ValueError:
        return
    assert not trusted.trusts("unknown") or text.strip(" ,").lower() == "all"


V4 = st.integers(0, (1 << 32) - 1)


def _network(address: int, length: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network((address, length), strict=False)


@given(st.lists(st.builds(_network, V4, st.integers(0, 32)), min_size=1, max_size=10), V4)
def test_the_same_as_one_network_after_the_other(networks: list[ipaddress.IPv4Network], address: int) -> None:
    trusted = TrustedProxies.parse(",".join(map(str, networks)))
    edges = [int(edge) for network in networks for edge in (network.network_address, network.broadcast_address)]
    numbers = {address, *edges, *(edge - 1 for edge in edges), *(edge + 1 for edge in edges)}
    for each in [ipaddress.IPv4Address(number) for number in numbers if 0 <= number < 1 << 32]:
        assert trusted.trusts(str(each)) is any(each in network for network in networks)


def test_memory_for_plain_addresses_is_bounded() -> None:
    """Text that does not look like an IPv6 address, or is too long, is not cached."""
    known = _plain_v6.cache_info()
    assert known.maxsize == CACHED_ADDRESSES
    for address in ("192.0.2.1", "unknown", "::" + "1" * LONGEST_ADDRESS):
        plain_address(address)
    assert _plain_v6.cache_info() == known
    plain_address("2001:db8:2::1")
    assert _plain_v6.cache_info().misses == known.misses + 1
