"""From facts to the condition: one row for each reason why an application is not reachable."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.finding import Finding
from controller.reachability import Demand, Evidence, PodFacts, ServiceFacts, Workload, judge
from fleet import defaults

WAITING = Demand(held=1, held_seconds=5.0)
TIMED_OUT = Demand(timed_out=3, timed_out_seconds=60.2)
GOOD = ServiceFacts("web", selector={"app": "web"}, target_port="8080", endpoints=1, at_port=1, ready=1)
EMPTY = ServiceFacts("web", selector={"app": "web"}, target_port="8080")
WEB = Workload("Deployment", "web", replicas=1)
READY = PodFacts("web-1", ready=True)
UNREADY = PodFacts("web-1")


def evidence(service: ServiceFacts | None = EMPTY, workload: Workload | None = WEB, *pods: PodFacts, **facts: Any) -> Evidence:
    return Evidence(service, workload, pods, **{"selected": pods, **facts})


def pod(**facts: Any) -> PodFacts:
    return msgspec.structs.replace(UNREADY, **facts)


ROWS: tuple[tuple[str, Evidence, str, str], ...] = (
    ("WorkloadNotFound", evidence(EMPTY, Workload("Deployment", "web", found=False)), "False", "there is no Deployment web"),
    ("NoSelector", evidence(ServiceFacts("web"), WEB, READY), "False", "Service web has no selector, and nobody has made"),
    (
        "SelectsNothing",
        evidence(EMPTY, WEB, READY, selected=()),
        "False",
        "1 pod is ready, but Service web selects none of them (app=",
    ),
    (
        "SelectsNothing",
        evidence(EMPTY, WEB, UNREADY, selected=()),
        "False",
        "the workload has 1 pod, but Service web selects none",
    ),
    (
        "SelectsNothing",
        evidence(EMPTY, None, selected=()),
        "Unknown",
        "Service web selects no pod (app=web), and nothing is known",
    ),
    (
        "SelectsOtherPods",
        evidence(EMPTY, WEB, READY, selected=(PodFacts("other-1"),)),
        "False",
        "1 pod is ready, but Service web selects pods of something else (app=web): other-1",
    ),
    ("NotScaled", evidence(EMPTY, Workload("Deployment", "web")), "Unknown", "asked to have 0 pods: nothing has scaled it"),
    ("PodsNotCreated", evidence(), "Unknown", "Deployment web is asked to have 1 pod and has none: see the events"),
    (
        "PodsNotCreated",
        evidence(refusal='pods "web-1" is forbidden: exceeded quota: q'),
        "Unknown",
        'Deployment web is asked to have 1 pod and has none: pods "web-1" is forbidden: exceeded quota: q',
    ),
    (
        "NotScaled",
        evidence(EMPTY, Workload("Rollout", "web", found=None)),
        "Unknown",
        "there is no pod, and how many Rollout web is asked to have cannot be read: see ScaledObjectReady",
    ),
    (
        "ImageNotPulled",
        evidence(EMPTY, WEB, pod(waiting="ImagePullBackOff", detail="not found", image="a/b:1")),
        "False",
        "Deployment web has 1 pod, 0 ready: the image a/b:1 cannot be pulled (ImagePullBackOff: not found)",
    ),
    (
        "ContainerNotStarted",
        evidence(EMPTY, WEB, pod(waiting="CreateContainerConfigError", container="app", detail='secret "x" not found')),
        "False",
        'container app of web-1 cannot be started (CreateContainerConfigError: secret "x" not found)',
    ),
    (
        "CrashLoop",
        evidence(EMPTY, WEB, pod(waiting="CrashLoopBackOff", ended="app", restarts=3, exit_code=1, exit_reason="Error")),
        "False",
        "container app of web-1 has ended 3 times, the last time with exit code 1",
    ),
    (
        "CrashLoop",
        evidence(EMPTY, WEB, pod(ended="app", restarts=1, exit_code=137, exit_reason="OOMKilled")),
        "Unknown",
        "has ended once, the last time with exit code 137 (OOMKilled)",
    ),
    ("PodsNotScheduled", evidence(EMPTY, WEB, pod(unschedulable="0/3 nodes")), "Unknown", "web-1 has no node (0/3 nodes)"),
    (
        "PodsInitializing",
        evidence(EMPTY, WEB, pod(waiting="PodInitializing", initializing="migrate")),
        "Unknown",
        "Deployment web has 1 pod, 0 ready: web-1 waits for its init container migrate",
    ),
    ("PodsNotReady", evidence(EMPTY, WEB, UNREADY), "Unknown", "Deployment web has 1 pod, 0 ready"),
    (
        "PodsNotReady",
        evidence(EMPTY, WEB, pod(unready=("app",))),
        "Unknown",
        "0 ready: container app of web-1 runs and has not passed its startup or readiness probe",
    ),
    (
        "PodsNotReady",
        evidence(EMPTY, WEB, pod(gate='readiness gate "x" does not exist')),
        "Unknown",
        '0 ready: web-1: readiness gate "x" does not exist',
    ),
    (
        "TargetPortNotFound",
        evidence(ServiceFacts("web", port_name="http", endpoints=1), WEB, READY),
        "False",
        'no EndpointSlice of Service web has a port named "http", as its own port is',
    ),
    (
        "TargetPortNotFound",
        evidence(ServiceFacts("web", selector={"app": "web"}, target_port="htp", endpoints=1), WEB, READY),
        "False",
        "Service web leads to port htp of its pods, and none of them has a port of that name",
    ),
    ("NotSeen", evidence(GOOD, WEB, READY), "Unknown", "1 endpoint of Service web ready, but the interceptors see none"),
    ("NoEndpoints", evidence(EMPTY, WEB, READY), "Unknown", "no endpoint of Service web is ready"),
)


@pytest.mark.parametrize(("reason", "found", "status", "message"), ROWS, ids=[f"{row[0]}-{row[2]}" for row in ROWS])
def test_each_cause_is_named(reason: str, found: Evidence, status: str, message: str) -> None:
    told = judge(WAITING, found)
    assert told is not None
    assert (told.status, told.reason) == (status, reason)
    assert told.message.startswith("1 request waiting: ")
    assert message in told.message
    late = judge(TIMED_OUT, found)
    assert late is not None
    assert (late.status, late.reason) == ("False", reason)
    assert late.message.startswith("3 requests waited 60 s: ")


@pytest.mark.parametrize(("seconds", "status"), [(5.0, "Unknown"), (60.0, "False")])
def test_requests_that_do_not_wait_are_told_of(seconds: float, status: str) -> None:
    told = judge(Demand(unserved=4, unserved_seconds=seconds), evidence(EMPTY, WEB, UNREADY))
    assert told is not None
    assert (told.status, told.reason) == (status, "PodsNotReady")
    assert told.message.startswith(f"4 requests in {seconds:.0f} s found no backend: Deployment web has 1 pod")


@pytest.mark.parametrize(
    ("last_error", "reason"),
    [("Connection refused", "ConnectionRefused"), (defaults.SPEAKS_HTTP2, "ProbeFails"), ("", "ProbeFails")],
)
def test_backends_that_interceptors_list_and_cannot_use(last_error: str, reason: str) -> None:
    told = judge(Demand(timed_out=1, timed_out_seconds=5, listed=2, last_error=last_error), evidence(GOOD, WEB, READY))
    assert told is not None
    assert (told.status, told.reason) == ("False", reason)
    assert last_error in told.message


def test_a_backend_is_all_that_is_needed() -> None:
    assert judge(Demand(timed_out=3, ready=1), evidence()) == Finding("True", "BackendsReady", "interceptors have ready backends")


def test_what_does_not_mend_itself_is_reported_before_what_may() -> None:
    starting, broken = PodFacts("web-1", restarts=1, exit_code=1), PodFacts("web-2", waiting="ErrImagePull")
    told = judge(WAITING, evidence(EMPTY, WEB, starting, broken))
    assert told is not None
    assert (told.status, told.reason) == ("False", "ImageNotPulled")


def test_what_may_not_be_read_is_not_guessed() -> None:
    unread = ServiceFacts("web", selector={"app": "web"}, endpoints=None)
    assert judge(WAITING, Evidence(unread, Workload("Rollout", "web", found=None), None, None)) is None
    assert judge(WAITING, Evidence()) is None


PLACE = "host api.example.com, port 443"


@pytest.mark.parametrize(
    ("facts", "reason", "status", "message"),
    [
        ({"trouble_kind": "NoAddress", "trouble": "its name does not exist (NXDOMAIN)"}, "NoAddress", "False", "does not exist"),
        ({"trouble_kind": "RefusedAddress", "trouble": "not allowed"}, "RefusedAddress", "False", "port 443: not allowed"),
        (
            {"listed": 2, "last_error": "Connection refused"},
            "NotAccepting",
            "Unknown",
            "none of 2 addresses of host api.example.com",
        ),
        (
            {"listed": 1, "last_error": "connect timed out"},
            "NotAccepting",
            "Unknown",
            "does not take a connection (connect timed",
        ),
        # The last addresses are still used, and refuse connections: that is what has to be mended.
        ({"listed": 1, "last_error": "x", "trouble_kind": "NoAddress"}, "NotAccepting", "Unknown", "1 address of"),
        ({"listed": 2}, "ProbeFails", "Unknown", "has passed the interceptors' probe"),
        ({}, "NotSeen", "Unknown", "no address yet"),
    ],
)
def test_a_place_outside(facts: dict[str, Any], reason: str, status: str, message: str) -> None:
    for service in (None, ServiceFacts("web", external_name="api.example.com")):
        told = judge(Demand(held=1, held_seconds=5.0, **facts), Evidence(service, outside=PLACE))
        assert told is not None
        assert (told.reason, told.status) == (reason, status)
        assert told.message.startswith("1 request waiting: ")
        assert message in told.message


def test_a_workload_behind_a_place_outside_is_told_of_first() -> None:
    demand = Demand(timed_out=1, timed_out_seconds=9.0, listed=1, last_error="Connection refused")
    told = judge(demand, Evidence(None, Workload("Deployment", "web"), (), outside=PLACE))
    assert told is not None
    assert told.reason == "NotScaled"
    broken = msgspec.structs.replace(demand, listed=0, trouble_kind="NoAddress", trouble="NXDOMAIN")
    told = judge(broken, Evidence(None, Workload("Deployment", "web"), (), outside=PLACE))
    assert told is not None
    assert told.reason == "NoAddress"
