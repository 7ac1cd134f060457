"""What is asked of answers that need no backend as a whole: static routes, placeholders, maintenance. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fleet.routing.faults import Fail
from fleet.routing.route import Route, StaticResponse

__all__ = ["MAX_ANSWER_BYTES", "answer_bytes", "check_response", "check_size"]

MAX_ANSWER_BYTES: Final = 1 << 20
"""Bodies of one route together: what a ConfigMap holds. Every interceptor keeps them all in memory."""


def answer_bytes(route: Route) -> int:
    """Size of all bodies of a route."""
    return sum(_size(response) for _, response in _responses(route))


def check_size(route: Route, fail: Fail) -> None:
    size = 0
    for field, response in _responses(route):
        size += _size(response)
        if size > MAX_ANSWER_BYTES:
            raise fail(field, f"{size} bytes of bodies, at most {MAX_ANSWER_BYTES} are possible")


def _responses(route: Route) -> Iterator[tuple[str, StaticResponse]]:
    """Every answer, and the field that it stands in."""
    for static in route.static_routes:
        yield "static_routes", static.response
    if route.cold_start.placeholder is not None:
        yield "cold_start", route.cold_start.placeholder.response
    if route.maintenance is not None:
        yield "maintenance", route.maintenance


def _size(response: StaticResponse) -> int:
    return len(response.body or b"") + sum(len(file.body) for file in response.files)


def check_response(response: StaticResponse, at: str, fail: Fail) -> None:
    if response.files and response.body is not None:
        raise fail(f"{at}.files", "there is a body as well")
    seen = set()
    for position, file in enumerate(response.files):
        if file.path in seen:
            raise fail(f"{at}.files[{position}].path", f"{file.path!r} is there twice")
        seen.add(file.path)
