"""Which objects are read for an unreachable application, and the report if permissions are missing."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from controller.reachability import Evidence, PodFacts, ServiceFacts, Workload
from controller.reachability_evidence import EvidenceReader, Subject
from fleet.discovery.kubernetes.client import ApiError, Query
from fleet.routing.route import Target
from tests.support.memory_api import MemoryApi

SUBJECT = Subject("shop", Target("shop/web", "http"), (("Deployment", "web"),), (("app", "web"),))
CRASHED = {"terminated": {"exitCode": 3}}


class Guarded(MemoryApi):
    """An API that forbids reading the resources in `forbidden`."""

    forbidden: tuple[str, ...] = ()

    async def get(self, path: str, query: Query = ()) -> bytes:
        if path.endswith(self.forbidden):
            raise ApiError(f"GET {path}: 403 forbidden", status=403)
        return await super().get(path, query)


def pod(name: str, labels: dict[str, str], *, status: dict[str, Any], gone: bool = False) -> tuple[str, dict[str, Any]]:
    metadata: dict[str, Any] = {"labels": labels} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if gone else {})
    return f"/api/v1/namespaces/shop/pods/{name}", {"metadata": metadata, "status": status}


@pytest.fixture
def api() -> Guarded:
    made = Guarded()
    ports = [{"name": "grpc", "port": 81, "targetPort": 1}, {"name": "http", "port": 80, "targetPort": "web"}]
    made.put("/api/v1/namespaces/shop/services/web", spec={"selector": {"app": "web"}, "ports": ports})
    for number, (port, ready) in enumerate([("http", True), ("http", False), ("grpc", True)]):
        made.put(
            f"/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-{number}",
            metadata={"labels": {"kubernetes.io/service-name": "web"}},
            addressType="IPv4",
            ports=[{"name": port, "port": 8080}],
            endpoints=[{"addresses": [f"10.0.0.{number}"], "conditions": {"ready": ready}}],
        )
    made.put("/apis/apps/v1/namespaces/shop/deployments/web/scale", spec={"replicas": 2}, status={"selector": "tier=front"})
    crashed = {
        "name": "app",
        "image": "a/b:1",
        "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": CRASHED,
    }
    for path, content in (
        pod("one", {"tier": "front", "app": "web"}, status={"conditions": [{"type": "Ready", "status": "True"}]}),
        pod("two", {"tier": "front"}, status={"containerStatuses": [crashed]}),
        pod("ended", {"tier": "front"}, status={"phase": "Failed"}),
        pod("ending", {"tier": "front"}, status={}, gone=True),
    ):
        made.put(path, **content)
    return made


ONE = PodFacts("one", ready=True, labels={"tier": "front", "app": "web"})
TWO = PodFacts(
    "two",
    labels={"tier": "front"},
    waiting="CrashLoopBackOff",
    image="a/b:1",
    container="app",
    restarts=4,
    exit_code=3,
    ended="app",
)


async def test_all_that_concerns_one_application_is_read(api: Guarded) -> None:
    assert await EvidenceReader(api).look(SUBJECT) == Evidence(
        ServiceFacts("web", selector={"app": "web"}, target_port="web", port_name="http", endpoints=3, at_port=2, ready=1),
        Workload("Deployment", "web", replicas=2),
        (ONE, TWO),
        (ONE,),
    )
    assert len(api.reads) == 5


async def test_a_workload_that_is_not_there_and_one_of_another_kind(api: Guarded) -> None:
    missing = await EvidenceReader(api).look(Subject("shop", SUBJECT.target, (("Deployment", "none"),)))
    assert missing.workload == Workload("Deployment", "none", found=False)
    other = await EvidenceReader(api).look(Subject("shop", SUBJECT.target, (("Rollout", "web"),)))
    assert other.workload == Workload("Rollout", "web", found=None)
    assert other.pods == (ONE,)


def deployment(api: MemoryApi, name: str, selector: str, *, replicas: int = 0) -> None:
    path = f"/apis/apps/v1/namespaces/shop/deployments/{name}/scale"
    api.put(path, spec={"replicas": replicas}, status={"selector": selector})


def refused(api: MemoryApi, owner: str, kind: str, message: str, *, when: str, reason: str = "FailedCreate") -> None:
    path = f"/api/v1/namespaces/shop/events/{owner}-{when[-3:-1]}"
    about = {"kind": kind, "name": owner}
    api.put(path, involvedObject=about, reason=reason, message=message, lastTimestamp=when)


async def test_why_no_pod_could_be_made_is_read_from_the_last_event(api: Guarded) -> None:
    deployment(api, "web", "app=none", replicas=1)
    at = "2026-01-01T00:00:0{}Z".format
    refused(api, "web-6d4f", "ReplicaSet", "(combined from similar events): exceeded quota", when=at(2))
    refused(api, "web-6d4f", "ReplicaSet", "an older one", when=at(1))
    refused(api, "web-two-6d4f", "ReplicaSet", "another's", when=at(3))
    refused(api, "web", "StatefulSet", "another kind's", when=at(4))
    refused(api, "web-6d4f", "ReplicaSet", "of something else", when=at(5), reason="SuccessfulCreate")
    assert (await EvidenceReader(api).look(SUBJECT)).refusal == "exceeded quota"
    deployment(api, "web", "app=none")
    assert (await EvidenceReader(api).look(SUBJECT)).refusal == "", "it is not asked to have any"


async def test_of_several_workloads_the_one_is_looked_at_that_the_service_is_for(api: Guarded) -> None:
    """Several ScaledObjects may name one InterceptorRoute."""
    deployment(api, "helper", "app=helper", replicas=1)
    both = (("Deployment", "gone"), ("Deployment", "helper"), ("Deployment", "web"))
    found = await EvidenceReader(api).look(Subject("shop", SUBJECT.target, both))
    assert found.workload == Workload("Deployment", "web", replicas=2)
    deployment(api, "web", "app=web")
    api.drop("/api/v1/namespaces/shop/pods/one")
    assert (await EvidenceReader(api).look(Subject("shop", SUBJECT.target, both))).workload == Workload("Deployment", "web")


async def test_a_survey_reads_no_more_than_it_needs(api: Guarded) -> None:
    reader = EvidenceReader(api)
    deployment(api, "web", "app=web")
    found = await reader.survey(SUBJECT)
    assert found is not None
    assert (found.workload, found.labels, found.selected) == ("Deployment web", {"app": "web"}, None)
    assert len(api.reads) == 1, "both select by the same labels"
    deployment(api, "web", "tier=front")
    found = await reader.survey(SUBJECT)
    assert found is not None
    assert (found.selected, found.pods) == ((ONE,), None), "the workload has no pods"
    deployment(api, "web", "tier=front", replicas=2)
    found = await reader.survey(SUBJECT)
    assert found is not None
    assert found.pods == (ONE, TWO)
    for subject in (
        Subject("shop", SUBJECT.target, SUBJECT.workloads),
        Subject("shop", SUBJECT.target, (("Rollout", "web"),), SUBJECT.selector),
        Subject("shop", SUBJECT.target, (("Deployment", "none"),), SUBJECT.selector),
        Subject("shop", SUBJECT.target, (), SUBJECT.selector),
    ):
        assert await reader.survey(subject) is None
    api.forbidden = ("/pods", "/scale")
    assert await reader.survey(SUBJECT) is None


INIT = {"name": "wait", "state": {"running": {}}}
WAITS = {"name": "app", "state": {"waiting": {"reason": "PodInitializing"}}}
SIDECAR = {"name": "proxy", "ready": True, "state": {"running": {}}}
UNREADY = {"name": "app", "ready": False, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
READY = UNREADY | {"ready": True}


@pytest.mark.parametrize(
    ("status", "facts"),
    [
        (
            {
                "conditions": [{"type": "Initialized", "status": "False"}],
                "initContainerStatuses": [SIDECAR, INIT],
                "containerStatuses": [WAITS],
            },
            {"initializing": "wait", "waiting": "PodInitializing", "container": "app"},
        ),
        (
            {"conditions": [{"type": "Ready", "status": "False", "message": "unready: [app]"}], "containerStatuses": [UNREADY]},
            {"unready": ("app",)},
        ),
        (
            {"conditions": [{"type": "Ready", "status": "False", "message": "gate x is False"}], "containerStatuses": [READY]},
            {"gate": "gate x is False"},
        ),
        (
            {
                "containerStatuses": [
                    UNREADY | {"restartCount": 1, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
                ]
            },
            {"unready": ("app",), "restarts": 1, "exit_code": 137, "exit_reason": "OOMKilled", "ended": "app"},
        ),
    ],
)
async def test_why_a_pod_is_not_ready(api: Guarded, status: dict[str, Any], facts: dict[str, Any]) -> None:
    path, content = pod("three", {"tier": "third"}, status=status)
    api.put(path, **content)
    deployment(api, "web", "tier=third", replicas=1)
    assert (await EvidenceReader(api).look(SUBJECT)).pods == (PodFacts("three", labels={"tier": "third"}, **facts),)


async def test_without_the_role_less_is_known_and_that_is_logged_once(api: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    api.forbidden = ("/pods", "/endpointslices", "/scale")
    reader = EvidenceReader(api)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = await reader.look(SUBJECT)
    assert found == Evidence(
        ServiceFacts("web", selector={"app": "web"}, target_port="web", port_name="http", endpoints=None),
        Workload("Deployment", "web", found=None),
        None,
        None,
    )
    assert len(caplog.records) == 1


async def test_an_api_server_that_fails_is_asked_again(api: Guarded) -> None:
    async def broken(path: str, query: Query = ()) -> bytes:
        raise ApiError("away", status=0)

    api.get = broken  # type: ignore[method-assign]
    with pytest.raises(ApiError):
        await EvidenceReader(api).look(SUBJECT)
