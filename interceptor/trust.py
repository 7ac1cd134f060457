"""Trusted proxies: peers whose forwarding fields are kept. Pure.

Backends use X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and Forwarded for access decisions, but any client can send
them. They are only reliable if a known proxy wrote them; proxies are recognised by their addresses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Final, Self

__all__ = ["CACHED_ADDRESSES", "LONGEST_ADDRESS", "MAX_ENTRIES", "TrustedProxies", "plain_address"]

CACHED_ADDRESSES: Final = 4096
"""Cached results. Proxies are few and open many connections, so they stay in the cache; direct clients evict each other, and a
new look-up takes microseconds. About 1 MB when full."""
LONGEST_ADDRESS: Final = 64
"""Characters: 45 for an IPv6 address that ends like an IPv4 one, 16 for the name of an interface, and "%" between them."""
MAX_ENTRIES: Final = 1000
"""Maximum entries of one list; the published lists of large content delivery networks have some hundred."""

_PRIVATE: Final = (
    "127.0.0.0/8", "::1/128",  # loopback
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
    "100.64.0.0/10",  # RFC 6598, also used by clouds and Kubernetes for nodes and pods
    "169.254.0.0/16", "fe80::/10",  # link-local
    "fc00::/7",  # unique local, RFC 4193
)  # fmt: skip
_MAPPED_BITS: Final = 96
"""Prefix length of ::ffff:0:0/96, the IPv4-mapped IPv6 addresses."""

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network
_Ranges = tuple[tuple[int, ...], tuple[int, ...]]
"""First and last addresses of disjoint networks, sorted."""


class TrustedProxies:
    """The trusted proxies. Results are cached, so a look-up per connection is cheap."""

    __slots__ = ("_everybody", "_find", "_nobody")

    def __init__(self, networks: Iterable[_Network] = (), *, everybody: bool = False) -> None:
        found = list(networks)
        v4 = _ranges(collapse_addresses(network for network in found if isinstance(network, IPv4Network)))
        v6 = _ranges(collapse_addresses(network for network in found if isinstance(network, IPv6Network)))
        self._everybody = everybody
        self._nobody = not found and not everybody
        self._find = lru_cache(CACHED_ADDRESSES)(partial(_within, v4, v6))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse networks (10.0.0.0/8), addresses and the word "private", separated by commas; or "all" or "none" alone.

        Raises ValueError with a message of one line. An IPv6 network contains no IPv4 addresses, unless it is one of mapped
        addresses.
        """
        entries = [entry for part in text.split(",") if (entry := part.strip())]
        if not entries:
            raise ValueError("nobody is named; 'none' trusts nobody")
        if len(entries) > MAX_ENTRIES:
            raise ValueError(f"{len(entries)} entries, at most {MAX_ENTRIES} are possible")
        words = [entry.lower() for entry in entries]
        for word in ("none", "all"):
            if word in words:
                if len(words) > 1:
                    raise ValueError(f"{word!r} stands alone, beside nothing else")
                return cls(everybody=word == "all")
        return cls(network for entry in entries for network in _networks(entry))

    def __bool__(self) -> bool:
        """Whether anybody is trusted."""
        return not self._nobody

    @property
    def cached(self) -> int:
        """Number of cached results."""
        return self._find.cache_info().currsize

    def trusts(self, address: str) -> bool:
        """Whether a peer with this address is trusted. Invalid addresses are trusted only if all peers are."""
        return self._everybody or (len(address) <= LONGEST_ADDRESS and self._find(address))

    __contains__ = trusts


def plain_address(address: str) -> str:
    """The address in its usual form: without an IPv6 zone, which has a meaning on this machine only, and as IPv4 if it is mapped
    (::ffff:10.0.0.1). Anything else is returned unchanged."""
    return address if ":" not in address or len(address) > LONGEST_ADDRESS else _plain_v6(address)


@lru_cache(CACHED_ADDRESSES)
def _plain_v6(address: str) -> str:
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return address.partition("%")[0] if mapped is None else str(mapped)


def _within(v4: _Ranges, v6: _Ranges, text: str) -> bool:
    try:
        address = _unmapped(ip_address(text))
    except ValueError:
        return False
    firsts, lasts = v4 if isinstance(address, IPv4Address) else v6
    number = int(address)
    place = bisect_right(firsts, number) - 1
    return place >= 0 and number <= lasts[place]


def _unmapped(address: _Address) -> _Address:
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def _ranges(collapsed: Iterable[_Network]) -> _Ranges:
    networks = list(collapsed)  # sorted, and disjoint
    return tuple(int(each.network_address) for each in networks), tuple(int(each.broadcast_address) for each in networks)


def _networks(entry: str) -> Iterable[_Network]:
    if entry.lower() == "private":
        return map(ip_network, _PRIVATE)
    text, slash, length = entry.partition("/")
    try:
        # A mask instead of a length (10.0.0.0/255.0.0.0) is ambiguous: ipaddress reads 0.0.0.255 as /24.
        # A zone (fe80::1%eth0) would be ignored, so the address would be trusted on every interface.
        if "%" in entry or (slash and not (length.isascii() and length.isdigit())):
            raise ValueError(entry)
        network = ip_network(entry, strict=False)
    except ValueError:
        shown = entry if len(entry) <= LONGEST_ADDRESS else entry[:LONGEST_ADDRESS] + "…"
        raise ValueError(f"{shown!r} is neither an address nor a network, nor private, all or none") from None
    if network.network_address != ip_address(text):
        raise ValueError(f"{entry!r} has more bits than its prefix: the network is {network}")
    return (_unmapped_network(network),)


def _unmapped_network(network: _Network) -> _Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
