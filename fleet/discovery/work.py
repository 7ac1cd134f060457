"""The format of an interceptor's page /backends: what it knows of each backend of each target. Its open exchanges are used to
find idle backends before stopping them.

A backend that is not listed gets no new requests and has no open ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from fleet.discovery.sources import Backend

__all__ = ["BackendWork", "TargetWork", "Work", "decode_work", "sum_of_work"]

Work = Mapping[str, Mapping[Backend, int]]
"""Open exchanges, including tunnels, per backend, by the target's key."""


class BackendWork(msgspec.Struct, frozen=True, kw_only=True):
    """One backend of the page."""

    host: str
    port: int
    in_flight: int
    """Exchanges that are not finished, and tunnels."""
    state: str = ""
    """ready: requests are sent to it. set aside: it refused a connection, and has not passed a probe since. probing: it has not
    answered its readiness path yet. leaving: it is listed no longer, and has exchanges that are not finished."""
    app_protocol: str | None = None
    """As discovery has it; the route may say another."""
    protocol: str = ""
    """What it is spoken to with."""
    tls: str = ""
    """Over TLS: "verified", or "not verified" where any certificate is accepted."""
    server_name: str = ""
    """Over TLS: the name that its certificate must have, and that is asked for."""
    pooled: int = 0
    """Connections that can take one more exchange."""
    reserved: int = 0
    """Idle connections that belong to one client each."""
    dialing: int = 0
    """Connections that are being opened."""
    failures: int = 0
    """Failed connections and probes since it last accepted one."""
    pod: str = ""
    """Where the address is a Service's: the pod behind it."""


class TargetWork(msgspec.Struct, frozen=True, kw_only=True):
    """One target of the page."""

    backends: Sequence[BackendWork]
    trouble: str = ""
    """Why there is no backend, or why those known may be old; empty if there is nothing to say."""
    last_error: str = ""
    """Why the last connection to one of them could not be opened; empty if it could."""


def decode_work(page: bytes) -> Work:
    """Parse the page. Raises ValueError."""
    shown = msgspec.json.decode(page, type=dict[str, TargetWork])
    # One that is spoken to in two ways has two entries.
    return {
        key: sum_of_work([{Backend(one.host, one.port, one.app_protocol): one.in_flight} for one in at.backends])
        for key, at in shown.items()
    }


def sum_of_work(works: Sequence[Mapping[Backend, int]]) -> dict[Backend, int]:
    """For one target, the sum over several interceptors."""
    total: dict[Backend, int] = {}
    for work in works:
        for backend, count in work.items():
            total[backend] = total.get(backend, 0) + count
    return total
