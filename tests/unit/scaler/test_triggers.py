import pytest

from fleet.defaults import TARGET
from fleet.demand.merge import Metric
from fleet.routing.route import RateTarget, Route, Scaling, Target
from fleet.routing.table import RoutingTable
from scaler.triggers import (
    Refusal,
    RefusalKind,
    Spec,
    Subject,
    app_of,
    find_spec,
    route_of,
    specs_of,
    subject_of,
    whole,
)


def route(**scaling: object) -> Route:
    return Route(app="shop/web", target=Target("shop/web"), scaling=Scaling(**scaling))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("namespace", "metadata", "app"),
    [
        ("shop", {"app": "web"}, "shop/web"),
        ("shop", {"app": "shop/web"}, "shop/web"),
        ("", {"app": "shop/web"}, "shop/web"),
        ("shop", {"httpScaledObject": "web"}, "shop/web"),
        ("shop", {"interceptorRoute": " web ", "scalerAddress": "scaler:9091"}, "shop/web"),
        ("shop", {"interceptorRoute": "web", "app": "shop/web", "httpScaledObject": ""}, "shop/web"),
    ],
)
def test_the_application_of_a_trigger(namespace: str, metadata: dict[str, str], app: str) -> None:
    assert app_of(namespace, metadata) == app


@pytest.mark.parametrize(
    ("namespace", "metadata", "message"),
    [
        ("shop", {}, "names no application: it needs app, httpScaledObject or interceptorRoute"),
        ("shop", {"scalerAddress": "x", "app": "  "}, "names no application"),
        ("shop", {"app": "web", "interceptorRoute": "other"}, "different applications: app='web', interceptorRoute='other'"),
        ("shop", {"app": "bank/web"}, "app: 'bank/web' is not in namespace 'shop'"),
        ("shop", {"app": "a/b/c"}, "app: 'a/b/c' is not"),
        ("shop", {"app": "/web"}, "app: '/web' is not"),
        ("shop", {"app": "shop/"}, "app: 'shop/' is not"),
        ("shop", {"httpScaledObject": "shop/web"}, "httpScaledObject: 'shop/web' is not a name"),
        ("", {"app": "web"}, "'web' has no namespace"),
    ],
)
def test_a_trigger_that_names_no_application(namespace: str, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(Refusal) as refused:
        app_of(namespace, metadata)
    assert refused.value.kind is RefusalKind.INVALID
    assert message in str(refused.value)


def test_the_route_of_an_application() -> None:
    table = RoutingTable([route()])
    assert route_of(table, "shop/web").app == "shop/web"
    with pytest.raises(Refusal, match="no route for application 'shop/none'") as refused:
        route_of(table, "shop/none")
    assert refused.value.kind is RefusalKind.UNKNOWN
    with pytest.raises(Refusal, match="not read yet") as refused:
        route_of(None, "shop/web")
    assert refused.value.kind is RefusalKind.UNAVAILABLE


def test_long_names_are_cut_in_answers() -> None:
    with pytest.raises(Refusal) as refused:
        route_of(RoutingTable(), "shop/" + "x" * 100_000)
    assert len(str(refused.value)) < 300


CONCURRENCY, RATE = "weir-shop-web-concurrency", "weir-shop-web-rate"


def test_metrics_of_a_route() -> None:
    assert specs_of(route(concurrency=5)) == (Spec(CONCURRENCY, Metric.CONCURRENCY, 5.0),)
    assert specs_of(route(rate=RateTarget(7))) == (Spec(RATE, Metric.RATE, 7.0),)
    assert specs_of(route()) == (Spec(CONCURRENCY, Metric.CONCURRENCY, float(TARGET)),)
    assert [spec.name for spec in specs_of(route(concurrency=5, rate=RateTarget(7)))] == [CONCURRENCY, RATE]


def test_targets_are_what_an_hpa_takes() -> None:
    assert specs_of(route(concurrency=2.00049))[0].target == 2.0
    assert specs_of(route(concurrency=0.0001))[0].target == 0.001


def test_a_metric_is_found_by_name_whatever_its_case() -> None:
    both = Subject("shop/web", specs_of(route(concurrency=5, rate=RateTarget(7))))
    assert find_spec(both, RATE.upper()).metric is Metric.RATE
    assert find_spec(Subject("shop/web", specs_of(route(concurrency=5))), "").metric is Metric.CONCURRENCY
    with pytest.raises(Refusal, match=f"no metric 's0-cpu'; it has {CONCURRENCY}, {RATE}") as refused:
        find_spec(both, "s0-cpu")
    assert refused.value.kind is RefusalKind.UNKNOWN
    with pytest.raises(Refusal, match="metricName is needed") as refused:
        find_spec(both, "")
    assert refused.value.kind is RefusalKind.INVALID


FLEET = "interceptorTargetPendingRequests"


def test_the_subject_of_a_trigger() -> None:
    table = RoutingTable([route(concurrency=5)])
    found = subject_of(table, "shop", {"app": "web", FLEET: " "})
    assert (found.app, [spec.target for spec in found.specs]) == ("shop/web", [5.0])
    for home, namespace in (("", "anywhere"), ("weir-system", "weir-system")):
        everything = subject_of(None, namespace, {"scalerAddress": "x", FLEET: " 200 "}, fleet_namespace=home)
        assert everything == Subject("", (Spec("weir-interceptor-pending-requests", Metric.CONCURRENCY, 200.0),))


@pytest.mark.parametrize(
    ("namespace", "metadata", "message"),
    [
        ("shop", {FLEET: "200"}, f"scalerMetadata.{FLEET}: not for ScaledObjects of namespace 'shop'"),
        ("weir-system", {FLEET: "200", "app": "web"}, f"names an application and the fleet: app and {FLEET}"),
        ("weir-system", {FLEET: "many"}, "'many' is not a number above zero"),
        ("weir-system", {FLEET: "0"}, "'0' is not a number above zero"),
        ("weir-system", {FLEET: "-1"}, "'-1' is not a number above zero"),
        ("weir-system", {FLEET: "nan"}, "'nan' is not a number above zero"),
        ("weir-system", {FLEET: "inf"}, "'inf' is not a number above zero"),
    ],
)
def test_a_trigger_that_may_not_ask_about_the_fleet(namespace: str, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(Refusal) as refused:
        subject_of(RoutingTable([route()]), namespace, metadata, fleet_namespace="weir-system")
    assert refused.value.kind is RefusalKind.INVALID
    assert message in str(refused.value)


def test_integers_are_rounded_up_and_bounded() -> None:
    assert [whole(value) for value in (0.0, 0.001, 1.0, 2.4, 1e300)] == [0, 1, 1, 3, 2**63 - 1]
