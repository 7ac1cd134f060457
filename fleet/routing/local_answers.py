"""Describes which local answer a route would give in place of its backends, for `weir explain`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.routing.match import Headers
from fleet.routing.route import ColdStart, Route
from fleet.routing.static import StaticRoutes

__all__ = ["local_answers"]


def local_answers(route: Route, host: bytes, path: bytes, headers: Headers) -> Iterator[str]:
    """The local answers of a route that apply to this request, in the order in which the interceptor checks them."""
    if route.maintenance is not None:
        yield f"maintenance: answers {route.maintenance.status or 503}, and is not counted"
        return
    static = StaticRoutes(route.static_routes).find(host, path, headers)
    if static is not None:
        position = next(at for at, one in enumerate(route.static_routes) if one is static)
        when = "" if static.always else " while no backend is ready"
        yield f"static_routes[{position}]: answers {static.response.status or 200}{when}, and is not counted"
    else:
        yield from _cold(route.cold_start)


def _cold(cold: ColdStart) -> Iterator[str]:
    if cold.placeholder is not None:
        whom = "browsers" if cold.placeholder.browsers_only else "everybody"
        when = "when too many wait" if cold.overflow_placeholder else "while no backend is ready"
        yield f"placeholder: answers {cold.placeholder.response.status or 503} to {whom} {when}"
    if cold.fallback is not None:
        yield f"fallback: {cold.fallback.key} takes what has waited too long"
