"""The life of a Preview over an API server in memory: controllers that can be killed, and a cluster that runs Jobs and pods."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from typing import Any

import pytest

from controller.events import Notice
from controller.preview.maker import Maker
from controller.preview.resource import Preview, parse_preview
from controller.resources import Key
from controller.world import World
from fleet.discovery.kubernetes.client import ApiError
from fleet.discovery.kubernetes.listwatch import Timing
from tests.support.apply_api import ApplyApi
from tests.support.killable import Line
from tests.support.memory_api import copied
from tests.support.waiting import until

__all__ = [
    "AFTER",
    "BEFORE",
    "COPY",
    "F1",
    "JOBS",
    "PREVIEWS",
    "Cluster",
    "Process",
    "conditions",
    "hook",
    "made",
    "parsed",
    "process",
    "server",
    "world_of",
]

PREVIEWS = "/apis/weir.dev/v1alpha1/namespaces/shop/previews"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"
_BASES = (
    "/api/v1/namespaces/shop/services",
    "/apis/apps/v1/namespaces/shop/deployments",
    "/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects",
)
COPY = tuple(f"{path}/web--f1" for path in _BASES)
F1 = f"{PREVIEWS}/f1"
POD_RUNS = "example.com/pods"
"""Finalizer of a workload that is deleted in the foreground, while its pods end."""


def hook(name: str, **spec: Any) -> dict[str, Any]:
    return {"name": name, "job": {"template": {"spec": {"containers": [{"name": "a", "image": "psql"}], **spec}}}}


BEFORE = [hook("make")]
AFTER = [hook("database"), hook("queue")]


class Cluster(ApplyApi):
    """Jobs end and pods stop in `turn`. `outcomes` says of hooks what their Jobs come to: "" for success, None for never."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str | None] = {}
        self.stuck = False
        """Whether pods of workloads do not end."""
        self.posted: list[str] = []
        """Names of Jobs in the order in which they were made."""
        self.running_at_post: list[bool] = []
        """Of each of them, whether something of the copy was there that uses what hooks make."""
        self.last: dict[str, Any] = {}
        """Preview f1 as it was last stored."""
        labels = {"app": "web"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"serviceAccountName": "web", "containers": [{"name": "web", "image": "web:1"}]},
        }
        target = {"name": "web", "service": "web", "port": 80}
        services, deployments, objects = _BASES
        self.put(f"{objects}/web", spec={"hosts": ["web.example.com"], "scaleTargetRef": target})
        self.put(f"{services}/web", spec={"ports": [{"name": "http", "port": 80, "protocol": "TCP"}], "selector": labels})
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        self.put(f"{deployments}/web", apiVersion="apps/v1", kind="Deployment", spec=spec)

    def drop_base(self) -> None:
        for path in _BASES:
            self.drop(f"{path}/web")

    def copy(self) -> Cluster:
        """Another one with the same objects."""
        other = Cluster()
        other.objects, other.managers = copied(self.objects), deepcopy(self.managers)
        other._version, other.outcomes, other.posted = self._version, dict(self.outcomes), [*self.posted]
        other.running_at_post, other.last = [*self.running_at_post], self.last
        return other

    def preview(self, named: str = "f1", /, **spec: Any) -> dict[str, Any]:
        return self.put(f"{PREVIEWS}/{named}", spec={"base": "web", **spec})

    async def delete(self, policy: str = "Background") -> None:
        await self.request("DELETE", F1, body={"propagationPolicy": policy})
        self.collect()

    def jobs(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.objects if path.startswith(JOBS)]

    def after_jobs(self) -> list[str]:
        """Names of the hooks after of the Jobs that were made, in order."""
        return [name.split("-")[3] for name in self.posted if name.count("-") == 4]

    def turn(self) -> None:
        """The cluster does what it does meanwhile."""
        for path, found in list(self.objects.items()):
            if path.startswith(JOBS) and not found.get("status"):
                name = found["metadata"]["name"].removeprefix("web--f1-").split("-")[0]
                why = self.outcomes.get(name, "")
                if why is not None:
                    kind = "Failed" if why else "Complete"
                    self.put(path, status={"conditions": [{"type": kind, "status": "True", "message": why}]})
            if "deletionTimestamp" in found["metadata"] and path in COPY and not self.stuck:
                self.drop(path)
        self.collect()

    def _post(self, path: str, body: Any, kind: str) -> Any:
        made = super()._post(path, body, kind)
        if path == JOBS:
            self.posted.append(made["metadata"]["name"])
            self.running_at_post.append(any(at in self.objects for at in COPY[1:]))
        return made

    def _delete(self, path: str, body: Any, kind: str) -> Any:
        if path == COPY[1] and (body or {}).get("propagationPolicy") == "Foreground":
            found = self._found(path)
            self.objects[path] = found | {"metadata": found["metadata"] | {"finalizers": [POD_RUNS]}}
        return super()._delete(path, body, kind)

    def _store(self, path: str, content: Any) -> Any:
        stored = super()._store(path, content)
        if path == F1:
            self.last = stored
        return stored


class Process:
    """One controller that leads. `now` is its clock."""

    def __init__(self, server: Cluster, world: World) -> None:
        self.server, self.world, self.line = server, world, Line(server)
        self.events: list[tuple[str, str]] = []
        self.later: list[float] = []
        self.leads = True
        self.late = 0.0
        self.maker = Maker(
            self.line,
            world,
            self,  # type: ignore[arg-type]
            later=lambda key, seconds: self.later.append(seconds),
            leads=lambda: self.leads,
            wall=lambda: time.time() + self.late,
        )

    def tell(self, preview: Preview, notice: Notice) -> None:
        self.events.append((notice.reason, notice.message))

    async def look(self, path: str = F1) -> None:
        """Look at it once, as the API server has it."""
        await self.maker.reconcile(parse_preview(json.dumps(self.server.objects[path]).encode()))

    async def live(self, rounds: int = 30) -> None:
        """Look at it and let the cluster do its part, until nothing changes any more, or it is gone."""
        before: object = None
        for _ in range(rounds):
            if F1 not in self.server.objects:
                return
            with suppress(ApiError):  # the queue does it again
                await self.look()
            self.server.turn()
            if before == (before := json.dumps(self.server.objects, sort_keys=True)):
                return
        raise AssertionError("it does not come to an end")


@asynccontextmanager
async def world_of(server: Cluster) -> AsyncIterator[World]:
    world = World(server, (), timing=Timing(), on_object=lambda key: None, on_routes=lambda: None)
    world.start()
    try:
        await until(lambda: world.services.synced.is_set() and world.get(Key("HTTPScaledObject", "shop", "web")) is not None)
        yield world
    finally:
        await world.close()


@pytest.fixture
async def server() -> Cluster:
    return Cluster()


@pytest.fixture
async def process(server: Cluster) -> AsyncIterator[Process]:
    async with world_of(server) as world:
        yield Process(server, world)


async def made(server: Cluster, process: Process, **spec: Any) -> None:
    """Preview f1, with all of its copy."""
    server.preview(**{"before": BEFORE, "after": AFTER, **spec})
    await process.live()
    assert all(path in server.objects for path in COPY)


def parsed(found: dict[str, Any]) -> Preview:
    return parse_preview(json.dumps(found).encode())


def conditions(server: Cluster) -> dict[str, Any]:
    return {one["type"]: one for one in server.last["status"]["conditions"]}
