"""What is counted of an exchange, for the metrics and for the controller."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.routing.route import ColdStart, Placeholder, Protection, StaticResponse, StaticRoute, Target
from tests.support.playbook import WARM, play

FALLBACK = {"cold_start": ColdStart(fallback=Target("default/fallback"))}
ASLEEP = {"static_routes": (StaticRoute(StaticResponse()),)}
NONE_WAIT = {"cold_start": ColdStart(max_held=0)}
ONE = {"protection": Protection(max_requests=1)}

SCRIPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "an answer": (WARM + """
> at 3
> answer a 201
< client head 201 5 end
< a release
< client done
> counts
< counted GET 201: 1 in 3
""", {}),
    "a cold start": ("""
> request GET
> at 2
> backends a
< dial a 5
> at 3
> connected
< a request GET 0
> at 7
> answer a 200
< client head 200 5 end +X-KEDA-HTTP-Cold-Start
< a release
< client done
> counts
< counted GET 200 cold: 1 in 7
< counted start ready: 1 in 3
< counted held: 1 in 2
""", {}),
    "a cold start whose first connection was lost": ("""
> request GET
> at 2
> backends a
< dial a 5
> connected
< a request GET 0
> lost a
< dial a 5
> at 4
> connected
< a2 request GET 0
> at 5
> lost a2
< dial a 5
> client_lost
> counts
< counted GET 499 cold: 1 in 5
< counted start ready: 1 in 2
< counted held: 1 in 2
""", {}),
    "the readiness limit": ("""
> request GET
> at 20
< client reply 504 readiness_timeout
> counts
< counted GET 504 cold: 1 in 20
< counted own readiness_timeout 504
< counted start timeout: 1 in 20
< reported 1 timed out, 0 unserved
""", {}),
    "the client leaves while it waits": ("""
> request GET
> at 4
> client_lost
> at 7
> counts
< counted GET 499 cold: 1 in 4
< counted start cancelled: 1 in 4
< reported 0 timed out, 1 unserved
""", {}),
    "the client leaves while a connection is opened": ("""
> request GET
> at 1
> backends a
< dial a 5
> at 4
> client_lost
> counts
< counted GET 499 cold: 1 in 4
< counted start cancelled: 1 in 4
< counted held: 1 in 1
""", {}),
    "the client leaves before the answer": (WARM + """
> at 4
> client_lost
< a abort
> counts
< counted GET 499: 1 in 4
""", {}),
    "the client leaves during the answer": (WARM + """
> answer a 206 5 begun
< client head 206 5
> at 4
> client_lost
< a abort
> counts
< counted GET 206: 1 in 4
""", {}),
    "a body that is broken before the answer": ("""
> backends a+
> request POST 10
< a request POST 0
> at 4
> broken
< a abort
< refuse
> counts
< counted POST 400: 1 in 4
""", {}),
    "a body that is broken during the answer": ("""
> backends a+
> request POST 10
< a request POST 0
> answer a 203 5 begun
< client head 203 5
> at 4
> broken
< a abort
< cut
> counts
< counted POST 203: 1 in 4
""", {}),
    "the backend leaves during the answer": (WARM + """
> answer a 206 5 begun
< client head 206 5
> at 4
> lost a
< client abort
> counts
< counted GET 206: 1 in 4
< counted cut backend
""", {}),
    "silence in an answer": (WARM + """
> answer a 206 5 begun
< client head 206 5
> at 10
< a abort
< client abort
> counts
< counted GET 206: 1 in 10
< counted cut idle_timeout
""", {}),
    "no room to wait": ("""
> request GET
< client reply 503 overflow 1
> counts
< counted GET 503: 1 in 0
< counted own overflow 503
< counted rejections: 1
""", NONE_WAIT),
    "no room to wait for a busy backend": (WARM + """
> request GET
< client reply 503 overflow 1
> counts
< counted GET 503: 1 in 0
< counted own overflow 503
""", {**NONE_WAIT, "protection": Protection(backend_concurrency=1)}),
    "too many requests": (WARM + """
> request GET
< client reply 503 max_requests 1
> counts
< counted GET 503: 1 in 0
< counted own max_requests 503
""", ONE),
    "a fallback": ("""
> fallback f+
> request GET
> at 20
< f request GET 0
> at 22
> answer f 200
< client head 200 5 end
< f release
< client done
> counts
< counted GET 200 cold: 1 in 22
< counted start timeout: 1 in 20
< counted fallbacks: 1
< reported 0 timed out, 1 unserved
""", FALLBACK),
    "a fallback at once": ("""
> fallback f+
> never no_service
> request GET
< f request GET 0
> counts
< counted fallbacks: 1
""", FALLBACK),
    "a local answer that wakes": ("""
> request GET
< client reply 503 2
> at 3
> counts
< counted GET 503: 1
< counted own placeholder 503
< reported 0 timed out, 1 unserved
""", {"cold_start": ColdStart(placeholder=Placeholder())}),
    "a local answer that does not": ("""
> request GET
< client reply 200
> at 3
> counts
< counted GET 200: 1
< counted own static 200
""", ASLEEP),
}  # fmt: skip


@pytest.mark.parametrize(("script", "route"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_counts(script: str, route: dict[str, Any]) -> None:
    play(script, **route)
