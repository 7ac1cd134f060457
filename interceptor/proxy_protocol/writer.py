"""The header of the PROXY protocol for backends, versions 1 and 2. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

__all__ = ["proxy_header"]

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
Address = tuple[str, int]


def proxy_header(version: str, source: Address | None, destination: Address | None) -> bytes:
    """For a connection of the client at `source` that came to `destination`. An address that is not known makes it a header
    without addresses."""
    ends = [_parsed(each) for each in (source, destination)]
    known = [end for end in ends if end is not None]
    if len(known) < 2:
        return b"PROXY UNKNOWN\r\n" if version == "v1" else _SIGNATURE + b"\x20\x00\x00\x00"
    if any(isinstance(address, IPv6Address) for address, _ in known):
        known = [(_as_ipv6(address), port) for address, port in known]
    (client, client_port), (server, server_port) = known
    family = client.version
    if version == "v1":
        return f"PROXY TCP{family} {client} {server} {client_port} {server_port}\r\n".encode()
    addresses = client.packed + server.packed + client_port.to_bytes(2, "big") + server_port.to_bytes(2, "big")
    return _SIGNATURE + (b"\x21\x11" if family == 4 else b"\x21\x21") + len(addresses).to_bytes(2, "big") + addresses


def _parsed(end: Address | None) -> tuple[IPv4Address | IPv6Address, int] | None:
    if end is None:
        return None
    try:
        address = ip_address(end[0].partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address, end[1]


def _as_ipv6(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")
