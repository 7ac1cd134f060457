"""Which addresses may be backends outside of discovery. Pure.

Whoever may create a route names the target, and whoever owns a DNS name says where it leads, also to this machine, to the
metadata of a cloud, or to a Service of somebody else. So each address is checked, whether it was written or looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

from fleet.routing.outside import is_dns_name

__all__ = ["DEFAULT", "LOCAL", "MAX_ENTRIES", "AddressPolicy"]

DEFAULT: Final = "public"
LOCAL: Final = "public,private,loopback"
"""For one machine, where everything belongs to its user."""
MAX_ENTRIES: Final = 1000

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(ip_network(text) for text in texts)


_LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")
_PRIVATE: Final = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_SPECIAL: Final = _networks(
    # Metadata and agents of clouds at addresses that look like others; first, because some lie within ranges that are allowed.
    "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::/32",
    "127.0.0.0/8", "::1/128",  # loopback
    "0.0.0.0/8", "::/128",  # unspecified: on Linux this machine
    "169.254.0.0/16", "fe80::/10",  # link-local, with the metadata of most clouds
    "224.0.0.0/4", "ff00::/8",  # multicast
    "240.0.0.0/4",  # reserved, with the broadcast
    "::/8", "fec0::/10", "2001::/32",  # IPv4-compatible, site-local and Teredo: obsolete, and ways around the others
)  # fmt: skip
"""Allowed only by an entry that lies within one of them: a wide network such as 0.0.0.0/0 does not mean these."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_WORDS: Final = {"private": _PRIVATE, "loopback": _LOOPBACK}


class AddressPolicy:
    """What is allowed."""

    __slots__ = ("_names", "_networks", "_public", "_suffixes", "is_off")

    def __init__(self, entries: tuple[str, ...]) -> None:
        """Raises ValueError with a message of one line."""
        self.is_off = not entries
        """Whether nothing is allowed, so that nothing needs to be looked up."""
        self._public = "public" in entries
        self._networks: tuple[_Network, ...] = tuple(network for entry in entries for network in _of(entry))
        names = [entry for entry in entries if not (entry == "public" or _of(entry))]
        self._names = frozenset(name.removesuffix(".") for name in names if not name.startswith("*."))
        self._suffixes = tuple(name.removesuffix(".")[1:] for name in names if name.startswith("*."))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Words (public, private, loopback), networks, addresses and DNS names ("*.example.com" for all below it), separated by
        commas; or none. Raises ValueError."""
        entries = tuple(entry for part in text.split(",") if (entry := part.strip().lower()))
        if not entries:
            raise ValueError("nothing is named; 'none' allows nothing")
        if len(entries) > MAX_ENTRIES:
            raise ValueError(f"{len(entries)} entries, at most {MAX_ENTRIES} are possible")
        if "none" in entries or "off" in entries:
            if len(entries) > 1:
                raise ValueError("'none' stands alone, beside nothing else")
            return cls(())
        for entry in entries:
            if entry != "public" and not _of(entry) and not is_dns_name(entry.removeprefix("*.")):
                raise ValueError(f"{entry[:100]!r} is none of public, private, loopback, a network, an address or a DNS name")
        return cls(entries)

    def allows(self, text: str, name: str = "") -> bool:
        """Whether an address may be a backend. `name` is the whole DNS name at which it was found, "" for a written one."""
        return all(self._allows(one, name) for one in _meant(ip_address(text)))

    def _allows(self, address: _Address, name: str) -> bool:
        special = next((network for network in _SPECIAL if address in network), None)
        if special is not None:
            return any(address in network and _is_part(network, special) for network in self._networks)
        if any(address in network for network in self._networks):
            return True
        return (self._public and address.is_global) or (bool(name) and self._names_it(name))

    def _names_it(self, name: str) -> bool:
        whole = name.lower().removesuffix(".")
        return whole in self._names or any(whole.endswith(suffix) for suffix in self._suffixes)


def _of(entry: str) -> tuple[_Network, ...]:
    if entry in _WORDS:
        return _WORDS[entry]
    try:
        return (ip_network(entry),)
    except ValueError:
        if "/" in entry:
            raise ValueError(f"{entry[:100]!r} is not a network") from None
        return ()


def _is_part(network: _Network, other: _Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network.subnet_of(other)


def _meant(address: _Address) -> Iterator[_Address]:
    """The address to which packets go: of a mapped or translated one the IPv4 address, of one of 6to4 both."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour
