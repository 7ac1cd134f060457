"""Requests that are answered locally, or sent to a backend without being counted."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.routing.route import ColdStart, Placeholder, Protection, StaticResponse, StaticRoute
from tests.support.playbook import play

ALWAYS = {"static_routes": (StaticRoute(StaticResponse(), always=True),)}
ASLEEP = {"static_routes": (StaticRoute(StaticResponse()),)}
OVER = "\n= DONE held=0 in_flight=0 load=0"
UNCOUNTED = """
> backends a+
> request GET
< a request GET 0
= SENT held=0 in_flight=0 load=1
"""

SCRIPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "maintenance": ("> backends a+\n> request GET\n< client reply 503 60" + OVER, {"maintenance": StaticResponse()}),
    "static, always": ("> backends a+\n> request GET\n< client reply 200" + OVER, ALWAYS),
    "static, while no backend is ready": ("> request GET\n< client reply 200" + OVER, ASLEEP),
    "static, where no backend can ever come": ("> never no_service\n> request GET\n< client reply 200" + OVER, ASLEEP),
    "static, while one is: it goes there uncounted": (
        UNCOUNTED + "> answer a 200\n< client head 200 5 end\n< a release\n< client done" + OVER, ASLEEP,
    ),
    "static, while the application is busy: it is counted": (
        UNCOUNTED + "> request GET\n< dial a 5\n= DIALING held=0 in_flight=1 load=2",
        {**ASLEEP, "protection": Protection(max_requests=1)},
    ),
    "a placeholder": ("> request GET\n< client reply 503 2" + OVER, {"cold_start": ColdStart(placeholder=Placeholder())}),
    "a placeholder, while a backend is ready": (
        "> backends a+\n> request GET\n< a request GET 0", {"cold_start": ColdStart(placeholder=Placeholder())},
    ),
}  # fmt: skip


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "maintenance begins": ("< client reply 503 60" + OVER, {"maintenance": StaticResponse()}),
    "a placeholder comes": ("< client reply 503 2" + OVER, {"cold_start": ColdStart(placeholder=Placeholder())}),
    "static, while no backend is ready": ("< client reply 200" + OVER, ASLEEP),
    "static, always": ("< client reply 200" + OVER, ALWAYS),
    "less patience": ("> at 5\n> at 7\n< client reply 504 readiness_timeout" + OVER, {"timeouts": {"readiness": 6}}),
    "more patience": ("> at 20\n> at 60\n> at 61\n< client reply 504 readiness_timeout" + OVER, {"timeouts": {"readiness": 60}}),
    "a shorter limit of all": ("> at 9\n> at 10\n< client reply 504 request_timeout" + OVER, {"timeouts": {"request": 9}}),
    "nothing that concerns it": ("> backends a\n< dial a 5", {"server_timing": True}),
}


@pytest.mark.parametrize(("script", "route"), CHANGES.values(), ids=CHANGES.keys())
def test_a_route_that_changes_while_a_request_waits(script: str, route: dict[str, Any]) -> None:
    play("> at 1\n> request GET\n> at 3\n> new_route other\n" + script, routes={"other": route})


@pytest.mark.parametrize(("script", "route"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_local_answers(script: str, route: dict[str, Any]) -> None:
    play(script, **route)
