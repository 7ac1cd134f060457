"""From what an object says of the ports on which interceptors listen for it to the field of its route. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from controller.limits import duration
from controller.schema.ports import ListenPort as PortSpec
from controller.schema.ports import Uncounted as UncountedSpec
from fleet.routing.port import ListenPort, Uncounted

__all__ = ["ports_of"]


def ports_of(given: Sequence[PortSpec] | None) -> tuple[ListenPort, ...]:
    """Raises Problem."""
    return tuple(_port(f"ports[{position}]", port) for position, port in enumerate(given or ()))


def _port(at: str, given: PortSpec) -> ListenPort:
    return ListenPort(
        given.port,
        given.protocol,
        given.service_port,
        given.server_names or (),
        given.alpn or (),
        given.proxy_protocol,
        duration(f"{at}.idle", given.idle),
        given.replies,
        Uncounted() if given.uncounted is None else _uncounted(f"{at}.uncounted", given.uncounted),
    )


def _uncounted(at: str, given: UncountedSpec) -> Uncounted:
    return Uncounted(duration(f"{at}.silent", given.silent), given.networks or (), given.first_bytes or ())
