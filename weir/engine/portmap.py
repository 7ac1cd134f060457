"""Who is to listen where, and who with whom on the same port. Pure; whether others have a port is only seen at the start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from weir.engine.document import Path
from weir.engine.spec import FleetSpec

__all__ = ["Collision", "Owner", "collisions", "owners"]

MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Owner:
    """Somebody who is to listen on a port that the file names."""

    port: int
    name: str
    path: Path
    """What says so."""


@dataclass(frozen=True, slots=True)
class Collision:
    """Why a port cannot be had, and the places that say so, of which the last one is to be mended."""

    path: Path
    reason: str
    beside: Path


def owners(spec: FleetSpec) -> Iterator[Owner]:
    """Of every port that is not to be chosen freely."""
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


def collisions(every: Iterable[Owner]) -> Iterator[Collision]:
    """Each port that two want, told of the second, and each that there is not."""
    taken: dict[int, Owner] = {}
    told: set[tuple[Path, Path]] = set()
    for owner in every:
        if owner.port > MAX_PORT:
            if (owner.path, owner.path) not in told:
                told.add((owner.path, owner.path))
                yield Collision(owner.path, f"{owner.name} would have port {owner.port}, and ports end at {MAX_PORT}", owner.path)
            continue
        other = taken.setdefault(owner.port, owner)
        if other is not owner and (owner.path, other.path) not in told:
            told.add((owner.path, other.path))
            yield Collision(owner.path, f"port {owner.port} is for {owner.name}, and for {other.name}", other.path)
