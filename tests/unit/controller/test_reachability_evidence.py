"""What is read of an application in trouble, and what is told where it may not be read."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from controller.reachability import Evidence, PodFacts, ServiceFacts, Workload
from controller.reachability_evidence import Looker, Subject
from fleet.discovery.kubernetes.client import ApiError, Query
from fleet.routing.route import Target
from tests.support.memory_api import MemoryApi

SUBJECT = Subject("shop", Target("shop/web", "http"), "Deployment", "web")
CRASHED = {"terminated": {"exitCode": 3}}


class Guarded(MemoryApi):
    """May not read what is named in `forbidden`."""

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
    crashed = {"image": "a/b:1", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": CRASHED}
    for path, content in (
        pod("one", {"tier": "front", "app": "web"}, status={"conditions": [{"type": "Ready", "status": "True"}]}),
        pod("two", {"tier": "front"}, status={"containerStatuses": [crashed]}),
        pod("ended", {"tier": "front"}, status={"phase": "Failed"}),
        pod("ending", {"tier": "front"}, status={}, gone=True),
    ):
        made.put(path, **content)
    return made


ONE = PodFacts("one", ready=True, labels={"tier": "front", "app": "web"})
TWO = PodFacts("two", labels={"tier": "front"}, waiting="CrashLoopBackOff", image="a/b:1", restarts=4, exit_code=3)


async def test_all_that_concerns_one_application_is_read(api: Guarded) -> None:
    assert await Looker(api).look(SUBJECT) == Evidence(
        ServiceFacts("web", selector={"app": "web"}, target_port="web", endpoints=3, at_port=2, ready=1),
        Workload("Deployment", "web", replicas=2),
        (ONE, TWO),
        (ONE,),
    )
    assert len(api.reads) == 5


async def test_a_workload_that_is_not_there_and_one_of_another_kind(api: Guarded) -> None:
    missing = await Looker(api).look(Subject("shop", SUBJECT.target, "Deployment", "none"))
    assert missing.workload == Workload("Deployment", "none", found=False)
    other = await Looker(api).look(Subject("shop", SUBJECT.target, "Rollout", "web"))
    assert other.workload == Workload("Rollout", "web", found=None)
    assert other.pods == (ONE,)


async def test_without_the_role_less_is_known_and_that_is_logged_once(api: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    api.forbidden = ("/pods", "/endpointslices", "/scale")
    looker = Looker(api)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = await looker.look(SUBJECT)
    assert found == Evidence(
        ServiceFacts("web", selector={"app": "web"}, target_port="web", endpoints=None),
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
        await Looker(api).look(SUBJECT)
