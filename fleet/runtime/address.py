"""Network addresses in text form. The only place that joins and splits host and port. Pure.

An IPv6 address contains colons, so with a port it is written in brackets (RFC 3986 3.2.2): "[::1]:9090".
"""

from __future__ import annotations

import ipaddress
from typing import Final

from fleet.defaults import PORT_LIMIT

__all__ = ["LOOPBACK", "LOOPBACKS", "AddressError", "join_address", "listening_host", "near_host", "no_address", "split_address"]

LOOPBACK: Final = "127.0.0.1"
LOOPBACKS: Final = (LOOPBACK, "::1")
"""The loopback addresses: a server that listens on "localhost" may use only one of them."""
_NO_HOST: Final = frozenset("[]/@?#\\ \t\r\n")
"""Characters that cannot be part of a host, and that appear beside one in other notations, such as URLs."""


class AddressError(ValueError):
    """The text is not "host:port". One line."""


def join_address(host: str, port: int) -> str:
    """ "host:port", with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """The host, without brackets, and the port (1 to 65535) of "host:port" or "[address]:port". Raises AddressError."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not (colon and bare and port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= PORT_LIMIT):
        raise AddressError(f'{address!r} is not "host:port"')
    if bracketed != (":" in bare) or not _NO_HOST.isdisjoint(bare):
        hint = f"; write {join_address(bare, int(port))!r} for an IPv6 address" if _is_ipv6(bare) else ""
        raise AddressError(f'{address!r} is not "host:port"{hint}')
    if bracketed and not _is_ipv6(bare):
        raise AddressError(f'{address!r} is not "host:port": {bare!r} is not an IPv6 address')
    return bare, int(port)


def listening_host(typed: str) -> str:
    """An address to listen on as typed, with or without brackets; returned without brackets. Raises AddressError."""
    bare = typed[1:-1] if typed.startswith("[") and typed.endswith("]") else typed
    try:
        ipaddress.ip_address(bare)
    except ValueError as error:
        raise AddressError(no_address(typed)) from error
    return bare


def no_address(host: str) -> str:
    """The message for a text that is not an IP address."""
    hint = f": it is a name, here of {' and of '.join(LOOPBACKS)}" if host.lower() == "localhost" else " of this machine"
    return f"{host!r} is not an IP address{hint}"


def near_host(host: str) -> str:
    """Where this machine reaches what listens on `host`: the loopback address of its family for "every address"."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return LOOPBACKS[address.version == 6]


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
