"""From what an object says of the ports on which interceptors listen for it to the field of its route. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from controller.limits import duration
from controller.problem import Problem
from controller.schema.ports import ListenPort as PortSpec
from controller.schema.ports import Uncounted as UncountedSpec
from fleet import defaults
from fleet.defaults import PORT_LIMIT
from fleet.routing.port import TCP, ListenPort, Uncounted

__all__ = ["OWN_PORTS", "AskedPort", "fixed_ports", "is_own", "ports_of", "sample_ports"]

OWN_PORTS = frozenset(
    {defaults.PROXY_PORT, defaults.PROXY_TLS_PORT, defaults.INTERCEPTOR_RPC_PORT, defaults.INTERCEPTOR_DIAGNOSTICS_PORT}
)
"""TCP ports on which interceptors listen themselves. A Service and a NetworkPolicy would open them to everybody."""


class AskedPort(msgspec.Struct, frozen=True):
    """A port as an object asks for it: by its number, or by the name of a lease that says it."""

    port: ListenPort
    """Of a lease, with the number 0."""
    lease: str = ""
    entry: str = ""
    """The Service that gets it, "namespace/name" or the name alone; "" for all of them, or any."""


def ports_of(given: Sequence[PortSpec] | None) -> tuple[AskedPort, ...]:
    """Raises Problem."""
    return tuple(
        AskedPort(_port(f"ports[{position}]", port), port.lease or "", port.entry or "")
        for position, port in enumerate(given or ())
    )


def fixed_ports(asked: Iterable[AskedPort]) -> tuple[ListenPort, ...]:
    """Those that are known without leases."""
    return tuple(one.port for one in asked if not one.lease)


def sample_ports(asked: Sequence[AskedPort]) -> tuple[ListenPort, ...]:
    """All of them, with some numbers for those that have none yet: whatever those will be, the rest has to be valid."""
    taken = {one.port.port for one in asked}
    free = (number for number in range(PORT_LIMIT, 0, -1) if number not in taken)
    return tuple(msgspec.structs.replace(one.port, port=next(free)) if one.lease else one.port for one in asked)


def is_own(protocol: str, port: int) -> bool:
    """Whether it is a port of the interceptors themselves, which no application gets."""
    return protocol == TCP and port in OWN_PORTS


def _port(at: str, given: PortSpec) -> ListenPort:
    if given.port is not None and is_own(given.protocol, given.port):
        raise Problem(f"spec.{at}.port", f"{given.port} is a port of the interceptors themselves")
    return ListenPort(
        given.port or 0,
        given.protocol,
        given.service_port,
        given.server_names or (),
        given.alpn or (),
        given.proxy_protocol,
        duration(f"{at}.idle", given.idle),
        given.replies,
        Uncounted() if given.uncounted is None else _uncounted(f"{at}.uncounted", given.uncounted),
        given.tls,
    )


def _uncounted(at: str, given: UncountedSpec) -> Uncounted:
    return Uncounted(duration(f"{at}.silent", given.silent), given.networks or (), given.first_bytes or ())
