"""The status about what scales the workload."""

from typing import Any

import msgspec
import pytest

from controller.autoscalers import Workload
from controller.resources import Key, Resource
from controller.scaledobject import SKIP, desired
from controller.scaling import Contention, Rival, contention, too_long
from controller.status import is_pending, next_status
from controller.wiring import Scaler, Trouble
from tests.unit.controller.objects import http, route, scaled
from tests.unit.controller.test_status import NOW, WEB, facts, told

DEPLOYMENT = Workload("shop", "apps", "Deployment", "web")
PAUSED = scaled(desired(http(metadata={"annotations": {"autoscaling.keda.sh/paused": "true"}}), Scaler("a:1")))
INACTIVE = msgspec.structs.replace(scaled(desired(http(), Scaler("a:1"))), inactive="ambiguous")
NO_SCALER = Trouble("OtherScaler", "its scaler is x")
MAINTAINED = {"annotations": {"http.keda.sh/maintenance": "true"}}


@pytest.mark.parametrize(
    ("resource", "known", "ready", "reason", "words"),
    [
        (http(), {}, "True", "Serving", "requests are routed, and the workload is scaled by them"),
        (route(), {}, "True", "Serving", "requests are routed, and the workload is scaled by them"),
        (route(), {"found": None}, "True", "NotScaled", "requests are routed; nothing scales it: no ScaledObject"),
        (
            route(),
            {"miswired": NO_SCALER},
            "True",
            "NotScaled",
            "ScaledObject web names this application, but",
        ),
        (
            route(),
            {"missing": True, "known": False},
            "True",
            "NotScaled",
            "nothing scales it: the API server knows no",
        ),
        (http(), {"missing": True, "known": False}, "False", "KedaMissing", "KEDA is not installed"),
        (http(), {"found": PAUSED}, "True", "Paused", "paused by its annotation autoscaling.keda.sh/paused=true"),
        (route(), {"found": PAUSED}, "True", "Paused", "paused by its annotation"),
        (http(metadata=MAINTAINED), {}, "True", "Maintenance", "in maintenance"),
        (http(metadata=MAINTAINED), {"found": PAUSED}, "True", "Maintenance", "paused by its annotation"),
        (http(), {"found": INACTIVE}, "False", "HPANotActive", "ScaledObject web: ambiguous"),
        (route(), {"found": INACTIVE}, "True", "NotScaled", "nothing scales it: ScaledObject web: ambiguous"),
        (http(), {"contention": Contention(DEPLOYMENT, WEB, True)}, "False", "WorkloadTaken", "has no ScaledObject"),
        (http(), {"contention": Contention(DEPLOYMENT, WEB, False)}, "False", "WorkloadScaledTwice", "remove it"),
    ],
)
def test_what_scales_it_is_reported(resource: Resource, known: dict[str, Any], ready: str, reason: str, words: str) -> None:
    found = told(resource, facts(**known))["Ready"]
    assert (found.status, found.reason) == (ready, reason)
    assert words in found.message


@pytest.mark.parametrize("known", [{"unserved": True}, {"contention": Contention(DEPLOYMENT, WEB, True)}])
def test_why_there_is_no_scaled_object_is_reported(known: dict[str, Any]) -> None:
    assert told(http(), facts(found=None, **known))["ScaledObjectReady"].reason == "Withheld"
    skipped = http(metadata={"annotations": {SKIP: "true"}})
    assert told(skipped, facts(found=None, managed=False, unserved=True))["ScaledObjectReady"].reason == "NoScaledObject"


RIVALS = [Rival(Key("HorizontalPodAutoscaler", "shop", "mine"), 5.0), Rival(Key("ScaledObject", "shop", "other"), 5.0)]


def test_the_older_has_the_workload_then_the_first_by_name() -> None:
    assert contention(http(), DEPLOYMENT, []) is None
    found = contention(http(), DEPLOYMENT, RIVALS)
    assert found is not None
    assert (found.other.name, found.yields) == ("mine", True)
    late = [msgspec.structs.replace(rival, created=http().meta.created) for rival in RIVALS]
    assert contention(http("a"), DEPLOYMENT, late) == Contention(DEPLOYMENT, RIVALS[0].key, yields=False)
    assert contention(http("z"), DEPLOYMENT, late) == Contention(DEPLOYMENT, RIVALS[0].key, yields=True)


def test_names_as_long_as_keda_takes() -> None:
    assert too_long(http("x" * 63)) is None
    trouble = too_long(http("x" * 64))
    assert trouble is not None
    assert "63 characters" in trouble.message


def test_what_can_wait_is_only_what_is_not_known_yet() -> None:
    assert is_pending(next_status(http(), facts(verdict=None), NOW))
    for known in ({}, {"ports": None, "verdict": None}, {"problem": "wrong"}):
        assert not is_pending(next_status(http(), facts(**known), NOW))
