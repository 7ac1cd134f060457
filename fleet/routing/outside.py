"""Targets outside of discovery: a DNS name with a port, or a fixed list of addresses. How they are written, and their keys.
Pure: nothing is looked up here, and what an address may be used for is not decided here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from fleet.defaults import PORT_LIMIT
from fleet.routing.declare import Kind
from fleet.routing.faults import Fail

__all__ = [
    "ADDRESS",
    "ADDRESS_PATTERN",
    "DNS_NAME",
    "DNS_NAME_PATTERN",
    "MAX_ADDRESSES",
    "OutsideKey",
    "dns_key",
    "fixed_key",
    "is_dns_name",
    "is_outside",
    "outside_key",
    "split_place",
]

MAX_ADDRESSES: Final = 64
"""Addresses in one fixed list. Each has connections and probes of its own at every interceptor."""
MAX_DNS_NAME: Final = 253
"""Characters, without the dot at the end (RFC 1035 section 2.3.4, in text form)."""

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
DNS_NAME_PATTERN: Final = rf"^{_LABEL}(?:\.{_LABEL})*\.?$"
ADDRESS_PATTERN: Final = r"^(?:\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?|[0-9.]+(?::[0-9]{1,5})?|[0-9A-Fa-f:.]+)$"
_DNS_NAME: Final = re.compile(DNS_NAME_PATTERN.removesuffix("$"))
_DIGITS: Final = re.compile(r"(?:.*\.)?[0-9]+\.?")
"""The last label of a name is never only digits (RFC 1123 section 2.1), so this is an address, or meant as one."""
_PLACE: Final = re.compile(
    r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::(?P<six_port>[0-9]{1,5}))?|(?P<four>[0-9.]+)(?::(?P<four_port>[0-9]{1,5}))?"
)
_DNS_KEY: Final = re.compile(r"dns:(?P<name>[^:]+):(?P<port>[0-9]+)")
_FIXED_KEY: Final = "fixed:"


class OutsideKey:
    """The parts of a key."""

    __slots__ = ("name", "places", "port")

    def __init__(self, name: str, port: int, places: tuple[tuple[str, int], ...]) -> None:
        self.name, self.port = name, port
        """Of a DNS name; "" for a fixed list."""
        self.places = places
        """Addresses and ports of a fixed list."""


def is_dns_name(name: str) -> bool:
    """Whether a target may have this name. With a dot at its end it is looked up as it is, otherwise also in the search list."""
    fits = _DNS_NAME.fullmatch(name) is not None and _DIGITS.fullmatch(name) is None
    return fits and len(name.removesuffix(".")) <= MAX_DNS_NAME


def split_place(text: str) -> tuple[str, int | None]:
    """An IP address in its shortest form, and its port if there is one. Raises ValueError."""
    found = _PLACE.fullmatch(text)
    if found is None:
        return ipaddress.ip_address(text).compressed if "%" not in text else "", None
    address = found["six"] or found["four"]
    port = found["six_port"] or found["four_port"]
    if port is not None and not 1 <= int(port) <= PORT_LIMIT:
        raise ValueError(f"{port} is not between 1 and {PORT_LIMIT}")
    parsed = ipaddress.IPv6Address(address) if found["six"] else ipaddress.IPv4Address(address)
    return parsed.compressed, None if port is None else int(port)


def dns_key(name: str, port: int | str | None) -> str:
    """ "dns:NAME:PORT". No key of a Service is like it: there the first colon stands behind a slash."""
    return f"dns:{name.lower()}:{port}"


def fixed_key(addresses: Iterable[str], port: int | str | None) -> str:
    """ "fixed:" and each address with its port."""
    return _FIXED_KEY + ",".join(_written(address, port) for address in addresses)


def is_outside(key: str) -> bool:
    """Whether a target's key is that of one outside of discovery."""
    return key.startswith(("dns:", _FIXED_KEY))


def outside_key(key: str) -> OutsideKey | None:
    """The parts of a key; None for that of a Service."""
    name = _DNS_KEY.fullmatch(key)
    if name is not None:
        return OutsideKey(name["name"], int(name["port"]), ())
    if not key.startswith(_FIXED_KEY):
        return None
    places = (split_place(place) for place in key.removeprefix(_FIXED_KEY).split(","))
    return OutsideKey("", 0, tuple((address, port or 0) for address, port in places))


def _written(text: str, usual: int | str | None) -> str:
    address, port = split_place(text)
    whole = usual if port is None else port
    return f"[{address}]:{whole}" if ":" in address else f"{address}:{whole}"


def _dns_name(name: str, field: str, fail: Fail) -> None:
    if not name.isascii():
        raise fail(field, f"{name!r} is not ASCII; write the form with xn--")
    if _is_address(name):
        raise fail(field, f"{name!r} is an address; write it in addresses")
    if not is_dns_name(name):
        raise fail(field, f"{name[:100]!r} is not a DNS name")


def _address(text: str, field: str, fail: Fail) -> None:
    try:
        address, _ = split_place(text)
    except ValueError:
        address = ""
    if not address:
        raise fail(
            field, f'{text[:100]!r} is not an IP address, nor one with a port, such as "192.0.2.1:80" or "[2001:db8::1]:80"'
        )


def _is_address(text: str) -> bool:
    try:
        return bool(split_place(text)[0])
    except ValueError:
        return False


DNS_NAME: Final = Kind(_dns_name, max_length=MAX_DNS_NAME + 1, pattern=DNS_NAME_PATTERN)
ADDRESS: Final = Kind(_address, max_length=64, pattern=ADDRESS_PATTERN)
