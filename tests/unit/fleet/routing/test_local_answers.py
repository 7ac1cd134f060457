"""The output of `weir explain` about local answers."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.routing.local_answers import local_answers
from fleet.routing.route import ColdStart, Placeholder, Route, Rule, StaticResponse, StaticRoute, Target

ANSWER = StaticResponse()
PROBE = StaticRoute(ANSWER, (Rule(paths=("/healthz",)),))
ROBOTS = StaticRoute(StaticResponse(404), (Rule(paths=("/robots.txt",)),), always=True)
SORRY = ColdStart(Placeholder(ANSWER, browsers_only=True), Target("shop/sorry", 80))
WAITING = [
    "placeholder: answers 503 to browsers while no backend is ready",
    "fallback: shop/sorry:80 takes what has waited too long",
]


@pytest.mark.parametrize(
    ("fields", "path", "told"),
    [
        ({}, b"/", []),
        ({"maintenance": ANSWER, "static_routes": (ROBOTS,)}, b"/robots.txt", ["maintenance: answers 503, and is not counted"]),
        ({"static_routes": (PROBE, ROBOTS), "cold_start": SORRY}, b"/", WAITING),
        (
            {"static_routes": (PROBE, ROBOTS), "cold_start": SORRY},
            b"/healthz",
            ["static_routes[0]: answers 200 while no backend is ready, and is not counted"],
        ),
        (
            {"static_routes": (PROBE, ROBOTS), "cold_start": SORRY},
            b"/robots.txt",
            ["static_routes[1]: answers 404, and is not counted"],
        ),
        (
            {"cold_start": ColdStart(Placeholder(StaticResponse(202)), overflow_placeholder=True)},
            b"/",
            ["placeholder: answers 202 to everybody when too many wait"],
        ),
    ],
)
def test_what_comes_before_the_backends(fields: dict[str, Any], path: bytes, told: list[str]) -> None:
    assert list(local_answers(Route("shop/web", Target("shop/web"), **fields), b"a.test", path, [])) == told
