"""What the status says of replicas that keep an application awake."""

from __future__ import annotations

import pytest

from controller.busy import Busyness
from controller.resources import Resource
from fleet.demand.busy import Leases
from tests.unit.controller.objects import http

APP = "shop/web"


class _Stage:
    def __init__(self) -> None:
        self.now = 100.0
        self.leases: Leases = {}
        self.apps: list[str] = []
        self.later: list[float] = []
        self.busy = Busyness(
            lambda: self.leases,
            on_app=self.apps.append,
            later=lambda resource, seconds: self.later.append(seconds),
            wall=lambda: self.now,
        )


def resource(most: str) -> Resource:
    return http(maxBusy=most) if most else http()


def test_only_where_it_is_permitted() -> None:
    assert _Stage().busy.finding(resource("")) is None
    found = _Stage().busy.finding(resource("1h"))
    assert found is not None
    assert (found.status, found.reason) == ("False", "NoLease")


@pytest.mark.parametrize(
    ("answered", "called", "words"),
    [
        (True, False, "after an answer (Weir-Keep-Awake)"),
        (False, True, "by its own call"),
        (True, True, "after an answer (Weir-Keep-Awake), and one by its own call"),
    ],
)
def test_the_ways(*, answered: bool, called: bool, words: str) -> None:
    stage = _Stage()
    stage.leases = {APP: {"x": 160.0 if called else 100.0}}
    stage.busy.on_answers([APP] if answered else [])
    found = stage.busy.finding(resource("1h"))
    assert found is not None
    assert (found.status, found.reason) == ("True", "KeptAwake")
    assert found.message.endswith(f": {words}")
    assert stage.later == ([61.0] if called else []), "it is looked at again when the last lease has ended"


def test_changes_are_told_once() -> None:
    stage = _Stage()
    stage.busy.on_answers([APP])
    stage.busy.on_answers([APP])
    stage.busy.on_answers([])
    assert stage.apps == [APP, APP]
    stage.busy.on_leases({APP: {"x": 160.0}, "a/b": {"y": 1.0}})
    stage.busy.on_leases({APP: {"x": 160.0}})
    assert stage.apps[2:] == ["a/b", APP, "a/b"]
