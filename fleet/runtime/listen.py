"""Creates bound sockets, with a one-line error when an address cannot be used."""

from __future__ import annotations

import errno
import socket

from fleet.runtime.address import join_address, no_address
from fleet.runtime.process import StartError

__all__ = ["PortInUseError", "bound", "in_use"]


class PortInUseError(StartError):
    """Another process listens on the port."""

    def __init__(self, port: int, message: str) -> None:
        super().__init__(message)
        self.port = port


def bound(host: str, port: int, purpose: str, *, datagrams: bool = False) -> socket.socket:
    """A TCP socket bound to an IP address and a port (0: any free port), not listening yet; with `datagrams` one of UDP. Raises
    StartError."""
    kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    try:
        flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
        family, _, protocol, _, address = socket.getaddrinfo(host, port, type=kind, flags=flags)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen for {purpose}: {no_address(host)}") from error
    try:
        listener.setblocking(False)
        if not datagrams:  # with it, another process could bind the same port of UDP, and get the datagrams
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        address_text = join_address(host, port)
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(port, f"port {port} is in use: cannot listen for {purpose} on {address_text}") from error
        raise StartError(f"cannot listen for {purpose} on {address_text}: {error.strerror}") from error
    return listener


def in_use(host: str, port: int, *, datagrams: bool = False) -> bool:
    """Whether another process listens at this address. False when the host is not an address of this machine."""
    try:
        bound(host, port, "a look", datagrams=datagrams).close()
    except PortInUseError:
        return True
    except StartError:
        return False
    return False
