"""The fallback of a route: when it is taken, and what is counted of it."""

from __future__ import annotations

import pytest

from fleet.routing.route import ColdStart, Target
from interceptor.backends.endpoint import MAX_DIALS
from tests.support.playbook import play

FALLBACK = ColdStart(fallback=Target("default/fallback"))
FALLBACKS = {
    "no backend ever, and none of the fallback": "> never no_service\n> request GET\n< client reply 502 no_service",
    "no backend any more: it was counted, so it waits": """
> backends a+
> fallback f+
> request GET
< a request GET 0
> never no_service
> backends
> lost a
= WAITING held=1 in_flight=0 load=0
> at 20
< dial f 5
""",
    "in time": "> fallback f\n> request GET\n> backends a\n< dial a 5",
    "too late": "> fallback f+\n> request GET\n> at 20\n< f request GET 0\n= SENT held=0 in_flight=1 load=1\n> backends a+",
    "none ready": "> request GET\n> at 20\n< client reply 504 readiness_timeout",
    "lost, and gone": """
> fallback f+
> request GET
> at 20
< f request GET 0
> fallback
> lost f
< client reply 504 readiness_timeout
""",
    "lost again": "> fallback f+\n> request GET\n> at 20\n< f request GET 0\n> lost f\n< dial f 5",
    "no backend ever": """
> fallback f+
> never no_service
> request GET
< f request GET 0
= SENT held=0 in_flight=0 load=1
> lost f
< dial f 5
> connected
< f2 request GET 0
> answer f2 200
< client head 200 5 end
< f2 release
< client done
> counts
< counted GET 200: 1 in 0
< counted fallbacks: 1
""",
}


@pytest.mark.parametrize("script", FALLBACKS.values(), ids=FALLBACKS.keys())
def test_fallback(script: str) -> None:
    play(script, cold_start=FALLBACK)


def test_a_fallback_to_which_many_connections_are_opened_is_waited_for_a_little() -> None:
    stage = play("> fallback f\n> request GET", cold_start=FALLBACK)
    (endpoint,) = stage.sets["fallback"].endpoints
    endpoint.dialing = MAX_DIALS
    for second in ("20", "21", "21.9"):
        stage.at(second)
        assert stage.outputs == []
    stage.at("22")
    assert stage.outputs == ["dial f 5"]


def test_what_is_counted_of_a_fallback() -> None:
    stage = play(FALLBACKS["too late"], cold_start=FALLBACK)
    assert stage.app.stats.fallbacks == 1
