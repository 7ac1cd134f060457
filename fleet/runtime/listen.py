"""Addresses to listen on: a socket that is bound, or one clear line why it can not be."""

from __future__ import annotations

import socket

from fleet.runtime.process import StartError

__all__ = ["bound", "join_address"]


def bound(host: str, port: int, purpose: str) -> socket.socket:
    """A TCP socket bound to an IP address and a port (0: any that is free), not listening yet. Raises StartError."""
    try:
        flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen for {purpose}: {host!r} is not an IP address of this machine") from error
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen for {purpose} on {join_address(host, port)}: {error.strerror}") from error
    return listener


def join_address(host: str, port: int) -> str:
    """Host and port in one, "host:port", with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
