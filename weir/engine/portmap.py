"""Which ports of the file are used by which component or app, and which are used twice. Pure: whether another program uses a
port is only known at the start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fleet.defaults import PORT_LIMIT
from fleet.routing.port import TCP, UDP
from weir.engine.document import Path
from weir.engine.spec import FleetSpec

__all__ = ["Collision", "Owner", "collisions", "owners"]


@dataclass(frozen=True, slots=True)
class Owner:
    """A component or app that listens on a port named in the file."""

    port: int
    name: str
    path: Path
    """The field that names the port."""
    protocol: str = TCP


@dataclass(frozen=True, slots=True)
class Collision:
    """Why a port cannot be used, and the fields that name it; the last one is the one to change."""

    path: Path
    reason: str
    beside: Path


def owners(spec: FleetSpec) -> Iterator[Owner]:
    """Every fixed port of the file and its owner."""
    ports = spec.ports
    several = {"proxy": "the proxy", "rpc": "the RPC server", "interceptor_diagnostics": "the diagnostics"}
    for field, what in several.items():
        first: int = getattr(ports, field)
        for index in range(spec.interceptors if first else 0):
            yield Owner(first + index, f"{what} of interceptor-{index + 1}", ("ports", field))
    single = {"scaler": "the scaler", "scaler_diagnostics": "the diagnostics of the scaler", "page": "the engine's own page"}
    for field, what in single.items():
        if port := getattr(ports, field):
            yield Owner(port, what, ("ports", field))
    for index, app in enumerate(spec.apps):
        if app.port is not None:
            yield Owner(app.port, f"app {app.key}", ("apps", index, "port"))
            if app.has_udp:
                yield Owner(app.port, f"app {app.key}", ("apps", index, "port"), UDP)
    yield from _of_apps(spec)


def _of_apps(spec: FleetSpec) -> Iterator[Owner]:
    """Ports on which interceptors listen for apps, each once: which app gets it, the routing table says."""
    seen: set[tuple[str, int]] = set()
    for index, app in enumerate(spec.apps):
        for position, port in enumerate(app.ports):
            if port.port is not None and port.lease is None and (port.protocol, port.port) not in seen:
                seen.add((port.protocol, port.port))
                what = "connections" if port.protocol == TCP else "flows"
                yield Owner(port.port, f"{what} of app {app.key}", ("apps", index, "ports", position, "port"), port.protocol)


def collisions(every: Iterable[Owner]) -> Iterator[Collision]:
    """Each port that is used twice, reported at the second use, and each port that does not exist."""
    taken: dict[tuple[str, int], Owner] = {}
    reported: set[tuple[Path, Path]] = set()
    for owner in every:
        if owner.port > PORT_LIMIT:
            if (owner.path, owner.path) not in reported:
                reported.add((owner.path, owner.path))
                yield Collision(
                    owner.path, f"{owner.name} would have port {owner.port}, and ports end at {PORT_LIMIT}", owner.path
                )
            continue
        other = taken.setdefault((owner.protocol, owner.port), owner)
        if other is not owner and (owner.path, other.path) not in reported:
            reported.add((owner.path, other.path))
            yield Collision(owner.path, f"port {owner.port} is for {owner.name}, and for {other.name}", other.path)
