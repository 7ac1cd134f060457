"""Which apps are shown as awake for others."""

from fleet.routing.dependencies import Dependencies
from fleet.routing.depends import Dependency
from weir.engine.awake import awake_for
from weir.queue_reader import AppDemand

NEEDS = Dependencies(
    {"a/web": (Dependency("a/api"), Dependency("a/log", keep_awake=False)), "a/api": (Dependency("a/db"),)}, {}, {}
)


def shown(*demands: AppDemand) -> dict[str, str]:
    return awake_for(NEEDS, {demand.app: demand for demand in demands})


def test_along_chains_by_those_with_demand() -> None:
    assert shown() == {}
    assert shown(AppDemand("a/web"), AppDemand("a/db", in_flight=1)) == {}
    assert shown(AppDemand("a/web", held=1)) == {"a/api": "a/web", "a/log": "a/web", "a/db": "a/web"}
    assert shown(AppDemand("a/web", in_flight=1)) == {"a/api": "a/web", "a/db": "a/web"}
    assert shown(AppDemand("a/api", busy=1)) == {"a/db": "a/api"}
    assert shown(AppDemand("a/api", in_flight=1), AppDemand("a/web", held=1))["a/db"] == "a/web"
    assert awake_for(Dependencies({}, {}, {}), {"a/web": AppDemand("a/web", held=1)}) == {}
