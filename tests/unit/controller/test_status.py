from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.events import notices_of
from controller.finding import Finding
from controller.propagation import Missing, Verdict
from controller.resources import Key, Resource
from controller.scaledobject import SKIP, desired
from controller.scaling import ScalingFacts
from controller.schema.common import Condition
from controller.schema.http_scaled_object import HTTPScaledObjectStatus
from controller.status import MAX_MESSAGE, Facts, next_status
from controller.table import Lost
from controller.wiring import Scaler, Trouble
from fleet.routing.protocols import PROTOCOLS
from tests.support.acting import HOSTILE, acting
from tests.unit.controller.objects import http, route, scaled

NOW, LATER = "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
WEB = Key("HTTPScaledObject", "shop", "web")
EVERYWHERE = Verdict("v1", 3, 3, (), pending=False)
PORTS = (("http", 80),)


def facts(**known: Any) -> Facts:
    """A correct state, except for the given fields."""
    scaling: dict[str, Any] = {"known": True, "found": scaled(desired(http(), Scaler("a:1")))}
    scaling |= {name: known.pop(name) for name in ScalingFacts.__struct_fields__ if name in known}
    good: dict[str, Any] = {"verdict": EVERYWHERE, "services_known": True, "ports": PORTS, "scaling": ScalingFacts(**scaling)}
    return Facts(**(good | known))


def told(resource: Resource, known: Facts, now: str = NOW) -> dict[str, Condition]:
    return {condition.type: condition for condition in next_status(resource, known, now).conditions}


def again(resource: Resource, status: HTTPScaledObjectStatus) -> Resource:
    """The object as the watch returns it."""
    return msgspec.structs.replace(resource, status=status)


@pytest.mark.parametrize(("seen", "kept"), [("", NOW), ("2026-01-01T00:00:00Z", NOW), (LATER, LATER)])
def test_the_last_wake_is_kept_until_a_later_one(seen: str, kept: str) -> None:
    assert next_status(http(), facts(last_wake=NOW), LATER).last_wake_time == NOW
    told_before = again(http(), HTTPScaledObjectStatus(last_wake_time=NOW))
    assert next_status(told_before, facts(last_wake=seen), LATER).last_wake_time == kept


def test_all_is_well() -> None:
    found = told(http(), facts())
    assert {kind: (c.status, c.reason) for kind, c in found.items()} == {
        "Ready": ("True", "Serving"),
        "BackendFound": ("True", "Found"),
        "Conflict": ("False", "NoConflict"),
        "RoutesPropagated": ("True", "Propagated"),
        "ScaledObjectReady": ("True", "Ready"),
        "Reachable": ("True", "NoFailure"),
    }
    assert found["RoutesPropagated"].message == "3/3 interceptors serve version v1"
    assert {c.observed_generation for c in found.values()} == {1}
    status = next_status(http(), facts(), NOW)
    assert (status.target_workload, status.target_service) == ("apps/v1/Deployment/web", "web:80")


def test_fields_that_mean_nothing_are_told_and_requests_are_served() -> None:
    found = told(http(timeouts={"conditionWait": "soon"}, targetPendingRequests=0), facts())
    assert found["Ready"].status == "True"
    ignored = found["FieldsIgnored"]
    assert (ignored.status, ignored.reason) == ("True", "NoMeaning")
    assert "spec.targetPendingRequests: 0 is less than 1; the target is 100" in ignored.message
    assert "spec.timeouts.conditionWait: 'soon' is not a duration" in ignored.message


MISSING = (Missing("weir-interceptor-2", "no answer in 2 s"),)


def test_a_service_of_another_namespace_is_hinted_at() -> None:
    resource = http(scaleTargetRef={"name": "web", "service": "web.other.svc", "port": 80})
    found = told(resource, facts(ports=None))["BackendFound"]
    assert found.message == "there is no Service shop/web.other.svc: its name would have no dots, and be of the same namespace"


def test_what_others_say_acts_on_no_terminal() -> None:
    """Messages contain text from interceptors, KEDA and the owners of other objects, and `kubectl describe` shows it."""
    known = facts(
        verdict=Verdict("v1", 2, 3, (Missing("weir-interceptor-2", HOSTILE),), pending=False),
        lost=(Lost(HOSTILE, Key("InterceptorRoute", "x", "y")),),
        trouble=Trouble("NameTaken", HOSTILE),
        missing_bodies=(HOSTILE,),
    )
    status = next_status(http(), known, NOW)
    assert any("owned" in condition.message for condition in status.conditions)
    for condition in status.conditions:
        assert not acting(condition.message), condition
    assert next_status(again(http(), status), known, LATER) == status


@pytest.mark.parametrize(
    ("known", "kind", "status", "reason", "message"),
    [
        ({"ports": None}, "BackendFound", "False", "ServiceNotFound", "no Service shop/web"),
        ({"ports": (("grpc", 81), ("", 82))}, "BackendFound", "False", "PortNotFound", "no TCP port 80; it has 81 (grpc), 82"),
        ({"services_known": False}, "BackendFound", "Unknown", "Pending", "not read yet"),
        (
            {"lost": (Lost("a/", Key("InterceptorRoute", "x", "y")),)},
            "Conflict",
            "True",
            "ClaimedByOlder",
            "InterceptorRoute x/y",
        ),
        (
            {"shadowed_by": Key("InterceptorRoute", "shop", "web")},
            "Conflict",
            "True",
            "InterceptorRouteExists",
            "takes its place",
        ),
        ({"verdict": None}, "RoutesPropagated", "Unknown", "Pending", "not written yet"),
        ({"verdict": Verdict("v1", 1, 3, (), True)}, "RoutesPropagated", "Unknown", "Pending", "not heard yet about version v1"),
        ({"verdict": Verdict("v1", 0, 0, (), False)}, "RoutesPropagated", "False", "NoInterceptors", "no interceptor is ready"),
        (
            {"verdict": Verdict("v1", 2, 3, MISSING, False)},
            "RoutesPropagated",
            "False",
            "Propagating",
            "2/3 interceptors serve version v1; not: weir-interceptor-2 (no answer in 2 s)",
        ),
        ({"found": None}, "ScaledObjectReady", "Unknown", "Pending", "KEDA has not said"),
        ({"known": False, "found": None}, "ScaledObjectReady", "Unknown", "Pending", "is KEDA installed"),
        ({"trouble": Trouble("NameTaken", "taken")}, "ScaledObjectReady", "False", "NameTaken", "taken"),
        (
            {"found": scaled(desired(http(), Scaler("a:1")), ready="False")},
            "ScaledObjectReady",
            "False",
            "NotReady",
            "told by KEDA",
        ),
    ],
)
def test_what_is_not_well_is_said_and_is_why_it_is_not_ready(
    known: dict[str, Any], kind: str, status: str, reason: str, message: str
) -> None:
    found = told(http(), facts(**known))
    assert (found[kind].status, found[kind].reason) == (status, reason)
    assert message in found[kind].message
    ready = found["Ready"]
    assert ready.status == ("Unknown" if status == "Unknown" else "False")
    assert (ready.reason, ready.message) == (reason, found[kind].message)


def test_an_invalid_object() -> None:
    bad = http(hosts=["no host"])
    found = told(bad, facts(problem=str(bad.problem), verdict=None))
    assert (found["Ready"].status, found["Ready"].reason) == ("False", "Invalid")
    assert "spec.hosts[0]" in found["Ready"].message
    assert found["RoutesPropagated"].reason == "Invalid"


def test_a_scaled_object_of_its_user_does_not_make_it_ready_or_not() -> None:
    for resource in (route(), http(metadata={"annotations": {SKIP: "true"}})):
        found = told(resource, facts(managed=False, found=None))
        assert found["ScaledObjectReady"].reason == "NoScaledObject"
        assert found["Ready"].status == "True"


def test_a_route_without_rules_is_served_and_says_so() -> None:
    found = told(route(rules=None), facts())
    assert found["Ready"].status == "True"
    assert "no rules" in found["Ready"].message


SORRY = {"service": "sorry", "port": 81}


@pytest.mark.parametrize(
    ("ports", "fallback", "reason", "message"),
    [
        (PORTS, (("", 81),), "Found", "Service shop/web has port 80, and the fallback shop/sorry has port 81"),
        (PORTS, None, "FallbackServiceNotFound", "there is no Service shop/sorry (fallback)"),
        (PORTS, PORTS, "FallbackPortNotFound", "Service shop/sorry (fallback) has no TCP port 81; it has 80 (http)"),
        (None, None, "ServiceNotFound", "there is no Service shop/web"),
    ],
)
def test_a_fallback_has_to_be_there(ports: Any, fallback: Any, reason: str, message: str) -> None:
    resource = http(coldStartTimeoutFailoverRef=SORRY)
    found = told(resource, facts(ports=ports, fallback_ports=fallback))["BackendFound"]
    assert (found.reason, found.message) == (reason, message)


@pytest.mark.parametrize(
    ("canary", "reason", "message"),
    [
        (PORTS, "Found", "Service shop/web has port 80, and so have those of rules: shop/web, shop/canary"),
        (None, "RuleServiceNotFound", "there is no Service shop/canary (rule)"),
        ((("", 81),), "RulePortNotFound", "Service shop/canary (rule) has no TCP port 80; it has 81"),
    ],
)
def test_the_backends_of_rules_have_to_be_there(canary: Any, reason: str, message: str) -> None:
    resource = http(backends=[{"service": "web", "port": 80}, {"service": "canary", "port": 80}])
    found = told(resource, facts(rule_ports={"shop/web": PORTS, "shop/canary": canary}))
    assert (found["BackendFound"].reason, found["BackendFound"].message) == (reason, message)
    assert found["Reachable"].status == "True"
    assert found["Ready"].status == ("True" if reason == "Found" else "False")


PAGED = http(coldStart={"placeholder": {"response": {"bodyFromConfigMap": {"name": "page"}}}})


def test_bodies_that_are_missing_are_named_and_are_news() -> None:
    status = next_status(PAGED, facts(), NOW)
    assert told(PAGED, facts())["BodiesFound"].status == "True"
    missing = facts(missing_bodies=("coldStart.placeholder.response: ConfigMap shop/page: there is none",))
    found = told(PAGED, missing)
    assert (found["BodiesFound"].reason, found["Ready"].reason, found["Ready"].status) == (
        "BodyNotFound",
        "BodyNotFound",
        "False",
    )
    assert "ConfigMap shop/page" in found["Ready"].message
    notice = [*notices_of(again(PAGED, status), next_status(PAGED, missing, LATER))]
    assert [(one.reason, one.warning) for one in notice] == [("BodyNotFound", True)]


def test_nothing_is_said_of_bodies_where_there_are_none() -> None:
    assert "BodiesFound" not in told(http(), facts())
    was = again(http(), next_status(PAGED, facts(), NOW))
    assert "BodiesFound" not in told(was, facts())


def test_maintenance_is_reported() -> None:
    resource = http(metadata={"annotations": {"http.keda.sh/maintenance": "true"}})
    assert "in maintenance" in told(resource, facts())["Ready"].message


def test_nothing_is_written_while_nothing_changes_its_meaning() -> None:
    status = next_status(http(), facts(), NOW)
    resource = again(http(), status)
    assert next_status(resource, facts(), LATER) == status
    grown = facts(verdict=Verdict("v2", 5, 5, (), pending=False))
    assert next_status(resource, grown, LATER) == status
    unheard = facts(verdict=Verdict("v3", 4, 5, (), pending=True))
    assert next_status(resource, unheard, LATER) == status


def test_what_another_controller_found_holds_until_it_is_known_again() -> None:
    status = next_status(http(), facts(), NOW)
    unread = facts(verdict=None, services_known=False, ports=None, known=False, found=None)
    heard_of_one = facts(verdict=Verdict("v2", 1, 3, MISSING, pending=True))
    for known in (unread, heard_of_one):
        assert next_status(again(http(), status), known, LATER) == status
    assert {kind: c.status for kind, c in told(http(), unread).items() if kind != "Conflict"} == {
        "Ready": "Unknown",
        "BackendFound": "Unknown",
        "RoutesPropagated": "Unknown",
        "ScaledObjectReady": "Unknown",
        "Reachable": "Unknown",
    }


def test_what_was_found_before_a_claim_was_free_holds_no_longer() -> None:
    lost = facts(lost=(Lost("web.example.com/", Key("HTTPScaledObject", "shop", "old")),))
    loser = again(http(), next_status(http(), lost, NOW))
    assert loser.conditions["RoutesPropagated"].status == "True"
    for unheard in (None, Verdict("v2", 1, 3, (), pending=True)):
        found = told(loser, facts(verdict=unheard))
        assert {kind: found[kind].status for kind in ("Conflict", "RoutesPropagated", "Ready")} == {
            "Conflict": "False",
            "RoutesPropagated": "Unknown",
            "Ready": "Unknown",
        }
    assert told(loser, facts())["Ready"].status == "True"
    still_lost = facts(lost=lost.lost, verdict=None)
    assert told(loser, still_lost)["RoutesPropagated"].status == "True"


def test_times_are_of_changes_of_the_status_only() -> None:
    resource = again(http(), next_status(http(), facts(ports=None), NOW))
    other = told(resource, facts(ports=(("x", 81),)), LATER)["BackendFound"]
    assert (other.reason, other.last_transition_time) == ("PortNotFound", NOW)
    mended = told(resource, facts(), LATER)["BackendFound"]
    assert (mended.status, mended.last_transition_time) == ("True", LATER)


def test_another_generation_is_reported_anew() -> None:
    resource = again(http(metadata={"generation": 2}), next_status(http(), facts(), NOW))
    assert told(resource, facts(verdict=None))["RoutesPropagated"].status == "Unknown"
    grown = told(resource, facts(verdict=Verdict("v2", 5, 5, (), pending=False)))["RoutesPropagated"]
    assert (grown.message, grown.observed_generation) == ("5/5 interceptors serve version v2", 2)


def test_messages_are_bounded() -> None:
    lost = tuple(Lost(f"{number}.example.com" + "/x" * 500, WEB) for number in range(50))
    message = told(http("other"), facts(lost=lost))["Conflict"].message
    assert len(message) <= MAX_MESSAGE


def test_keda_that_has_only_begun_has_said_nothing() -> None:
    silent = scaled(desired(http(), Scaler("a:1")), ready="Unknown", message="")
    assert told(http(), facts(found=silent)) == told(http(), facts(found=None))
    speaking = scaled(desired(http(), Scaler("a:1")), ready="Unknown")
    assert told(http(), facts(found=speaking))["ScaledObjectReady"].message == "ScaledObject web: told by KEDA"


def test_a_status_of_another_controller_is_replaced() -> None:
    conditions = [{"type": "Ready", "status": "True", "timestamp": "x"}, {"type": "Created", "status": "True"}]
    for status in ({"conditions": conditions}, {"conditions": "broken"}, None):
        assert set(told(http(status=status), facts())) == {
            "Ready",
            "BackendFound",
            "Conflict",
            "RoutesPropagated",
            "ScaledObjectReady",
            "Reachable",
        }


_verdicts = st.one_of(
    st.none(),
    st.builds(
        lambda serving, missing, pending: Verdict("v", serving, serving + missing + pending, MISSING * missing, pending > 0),
        st.integers(0, 3),
        st.integers(0, 1),
        st.integers(0, 1),
    ),
)
_facts = st.builds(
    lambda verdict, ports, known, trouble, ready: facts(
        verdict=verdict,
        ports=ports,
        services_known=known,
        known=known,
        trouble=trouble,
        found=scaled(desired(http(), Scaler("a:1")), ready=ready),
    ),
    _verdicts,
    st.sampled_from([None, PORTS, (("", 81),)]),
    st.booleans(),
    st.sampled_from([None, Trouble("NameTaken", "taken")]),
    st.sampled_from(["", "True", "False", "Unknown"]),
)


@given(st.lists(_facts, min_size=1, max_size=6))
def test_a_status_settles_at_once_whatever_came_before(history: list[Facts]) -> None:
    resource = http()
    for number, known in enumerate(history):
        status = next_status(resource, known, f"2026-01-01T00:00:{number:02}Z")
        resource = again(resource, status)
        assert next_status(resource, known, LATER) == status
        assert all(condition.last_transition_time and condition.reason for condition in status.conditions)
        assert not [*notices_of(resource, status)]


def test_events_tell_of_changes_once() -> None:
    new = http()
    good = next_status(new, facts(), NOW)
    assert [(notice.reason, notice.warning) for notice in notices_of(new, good)] == [("Serving", False)]
    lost = facts(lost=(Lost("a/", WEB),))
    bad = next_status(again(new, good), lost, LATER)
    assert [(notice.reason, notice.warning) for notice in notices_of(again(new, good), bad)] == [("ClaimedByOlder", True)]
    back = next_status(again(new, bad), facts(), LATER)
    assert [notice.reason for notice in notices_of(again(new, bad), back)] == ["NoConflict", "Serving"]
    wrong = http(hosts=["no host"])
    invalid = next_status(wrong, facts(problem=str(wrong.problem)), NOW)
    assert [(notice.reason, notice.warning) for notice in notices_of(wrong, invalid)] == [("Invalid", True)]


REFUSED = Finding("False", "SelectsNothing", "2 pods are ready, but Service web selects none of them")


def test_what_was_found_of_requests_is_reported_and_does_not_make_it_unready() -> None:
    found = told(http(), facts(reachable=REFUSED))
    assert (found["Reachable"].status, found["Reachable"].reason, found["Reachable"].message) == (
        REFUSED.status,
        REFUSED.reason,
        REFUSED.message,
    )
    assert found["Ready"].status == "True"


@pytest.mark.parametrize(
    ("known", "status", "reason"),
    [
        ({"ports": None}, "False", "ServiceNotFound"),
        ({"ports": (("grpc", 81),)}, "False", "PortNotFound"),
        ({"services_known": False}, "Unknown", "Pending"),
    ],
)
def test_what_cannot_be_reached_by_its_configuration(known: dict[str, Any], status: str, reason: str) -> None:
    for resource in (http(), route()):
        found = told(resource, facts(**known))["Reachable"]
        assert (found.status, found.reason) == (status, reason)


def test_what_was_observed_holds_for_its_generation_and_what_was_configured_does_not() -> None:
    observed = next_status(http(), facts(reachable=REFUSED), NOW)
    assert told(again(http(), observed), facts(), LATER)["Reachable"].reason == "SelectsNothing"
    newer = again(http(metadata={"generation": 2}), observed)
    assert told(newer, facts(), LATER)["Reachable"].status == "True"
    missing = next_status(http(), facts(ports=None), NOW)
    assert told(again(http(), missing), facts(), LATER)["Reachable"].status == "True"


@pytest.mark.parametrize("protocol", ["tcp", "mongo", "kubernetes.io/h3"])
def test_a_protocol_that_is_not_spoken_is_reported(protocol: str) -> None:
    for resource in (http(), route()):
        found = told(resource, facts(app_protocol=protocol))
        assert (found["ProtocolSpoken"].status, found["ProtocolSpoken"].reason) == ("False", "ProtocolNotSpoken")
        assert f"port 80 of Service shop/web says appProtocol {protocol}" in found["ProtocolSpoken"].message
        assert found["Ready"].status == "True"


@pytest.mark.parametrize("protocol", ["HTTP", *PROTOCOLS])
def test_nothing_is_told_of_a_protocol_that_is_spoken(protocol: str) -> None:
    assert "ProtocolSpoken" not in told(http(), facts(app_protocol=protocol))


def test_events_of_what_is_not_reached_are_told_once() -> None:
    (notice,) = [one for one in notices_of(http(), next_status(http(), facts(reachable=REFUSED), NOW)) if one.warning]
    assert (notice.reason, notice.message) == ("SelectsNothing", REFUSED.message)
    missing = [one.reason for one in notices_of(http(), next_status(http(), facts(ports=None), NOW))]
    assert missing.count("ServiceNotFound") == 1


def test_what_kubectl_lists() -> None:
    status = next_status(route(rules=[{"hosts": ["a.example", "b.example"]}, {"hosts": ["a.example"]}]), facts(), NOW)
    assert (status.hosts, status.target_service, status.scaled_by) == ("a.example, b.example", "web:80", "ScaledObject/web")
    assert next_status(http(hosts=None), facts(found=None), NOW).hosts == "*"
    assert next_status(http(), facts(found=None), NOW).scaled_by == ""
