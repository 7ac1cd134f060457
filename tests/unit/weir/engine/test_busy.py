"""Leases that local processes ask for by a call."""

from __future__ import annotations

import pytest

from fleet.demand.busy import Leases
from weir.engine.busy import BusyDesk, BusyRefused, with_busy
from weir.queue_reader import AppDemand

APP = "default/web"


class _Desk:
    def __init__(self, most: float = 60.0) -> None:
        self.now, self.most = 0.0, most
        self.written: list[Leases] = []
        self.desk = BusyDesk(self.written.append, most=lambda app: self.most if app == APP else 0.0, wall=lambda: self.now)


def test_a_process_keeps_its_app_awake_at_most_for_the_maximum() -> None:
    stage = _Desk()
    token = stage.desk.issue(APP, 1)
    assert stage.desk.keep(token, "1000h") == (APP, 60.0, "1970-01-01T00:01:00.000Z")
    assert stage.written == [{APP: {"1": 60.0}}]
    apps = {APP: AppDemand(APP)}
    with_busy(apps, stage.desk)
    assert apps[APP].busy == 1
    assert stage.desk.keep(token, "0") == (APP, 0.0, None)
    assert stage.written[-1] == {}
    assert stage.desk.replicas() == {}


def test_it_ends_with_its_time_and_with_its_process() -> None:
    stage = _Desk()
    token = stage.desk.issue(APP, 3)
    stage.desk.keep(token, "10")
    assert stage.desk.replicas() == {APP: {3}}
    stage.now = 10.0
    assert stage.desk.replicas() == {}
    stage.desk.keep(token, "10")
    stage.desk.revoke(token)
    assert stage.written[-1] == {}
    with pytest.raises(BusyRefused, match="token"):
        stage.desk.keep(token, "10")


@pytest.mark.parametrize(
    "duration",
    [None, "", "x", "-1s", True, [], "1e9", 10, -5, 1.5, 1e300, float("nan"), float("inf"), "nan", "inf", "\u0663s", "9" * 65],
)
def test_what_is_no_duration(duration: object) -> None:
    stage = _Desk()
    with pytest.raises(BusyRefused) as refused:
        stage.desk.keep(stage.desk.issue(APP, 1), duration)
    assert refused.value.status == 422
    assert not stage.written


def test_without_permission() -> None:
    stage = _Desk(most=0.0)
    token = stage.desk.issue(APP, 1)
    with pytest.raises(BusyRefused, match="max_busy") as refused:
        stage.desk.keep(token, "1s")
    assert refused.value.status == 403
    assert stage.desk.keep(token, "0").seconds == 0.0, "that it has finished may always be said"
