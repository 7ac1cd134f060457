"""For tests of Previews whose copy is in another namespace: an API server in memory that has namespaces, and a controller of
which each look is one call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from typing import Any

from controller.events import Notice
from controller.preview.companions import Companions
from controller.preview.elsewhere import PERMIT, Elsewhere
from controller.preview.maker import Maker
from controller.preview.objects import LeadersApi
from controller.preview.references import COPY_TO
from controller.preview.resource import Preview, parse_preview
from controller.resources import Key
from controller.world import World
from fleet.discovery.kubernetes.client import ApiError, Query
from fleet.discovery.kubernetes.listwatch import Timing
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until

__all__ = ["MADE", "PREVIEW", "ElsewhereApi", "KilledError", "Looks", "at", "base", "looking"]

Json = dict[str, Any]
GROUPS = {"deployments": "apps/v1", "statefulsets": "apps/v1", "httpscaledobjects": "http.keda.sh/v1alpha1", "jobs": "batch/v1"}


def at(namespace: str, plural: str, name: str) -> str:
    """The path of an object."""
    group = f"/apis/{GROUPS[plural]}" if plural in GROUPS else "/api/v1"
    return f"{group}/namespaces/{namespace}/{plural}/{name}"


PREVIEW = "/apis/weir.dev/v1alpha1/namespaces/shop/previews/f1"
MADE = (
    at("qa", "configmaps", "web--f1.settings"),
    at("qa", "secrets", "web--f1.login"),
    at("qa", "services", "web--f1"),
    at("qa", "deployments", "web--f1"),
    at("qa", "httpscaledobjects", "web--f1"),
)


class KilledError(BaseException):
    """The controller is killed."""


class ElsewhereApi(MemoryApi):
    """`kill_after` is the number of writes after which the controller is killed."""

    kill_after = -1

    def namespace(self, name: str = "qa", permits: str | None = "shop", **metadata: Any) -> None:
        labels = {} if permits is None else {PERMIT: permits}
        path = f"/api/v1/namespaces/{name}"
        uid = self.objects.get(path, {}).get("metadata", {}).get("uid", f"uid-{name}")
        self._store(path, {"metadata": {"name": name, "uid": uid, "labels": labels, **metadata}})

    def within(self, namespace: str) -> set[str]:
        """The paths of all objects of a namespace."""
        return {path for path in self.objects if f"/namespaces/{namespace}/" in path}

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Any = None,
        content_type: str = "application/json",
        seconds: float = 30.0,
    ) -> bytes:
        answer = await super().request(method, path, query=query, body=body, content_type=content_type, seconds=seconds)
        if method != "GET":
            self.kill_after -= 1
            if self.kill_after == 0:
                raise KilledError
        return answer


class Looks:
    """Each look is of another process, which knows nothing of those before."""

    def __init__(self, api: ElsewhereApi, world: World) -> None:
        self.api = api
        self.world = world
        self.why_not = ""
        self.later: list[float] = []
        self.events: list[tuple[str, str]] = []
        self.late = 0.0
        """Seconds by which it is later than it is."""
        self.leads = True

    async def look(self) -> None:
        """Once, at the Preview as it is now."""
        if PREVIEW not in self.api.objects:
            return
        api = LeadersApi(self.api, lambda: self.leads)
        maker = Maker(
            self.api,
            self.world,
            self,  # type: ignore[arg-type]
            later=self._note,
            leads=lambda: self.leads,
            wall=lambda: time() + self.late,
            elsewhere=Elsewhere(api, self.why_not),
            companions=Companions(api, self.world, self._around),
        )
        await maker.reconcile(parse_preview(await self.api.request("GET", PREVIEW)))

    def tell(self, _: object, notice: Notice) -> None:
        self.events.append((notice.reason, notice.message))

    async def settle(self, most: int = 8) -> None:
        """Until nothing is written any more, as with a queue that tries again what has failed."""
        for _ in range(most):
            before = len(self.api.writes)
            try:
                await self.look()
            except ApiError:
                continue
            if len(self.api.writes) == before:
                return
        raise AssertionError(f"it does not settle: {self.api.writes[-5:]}")

    async def killed_after(self, writes: int) -> bool:
        """Look until nothing is written any more, or until the controller is killed after so many writes."""
        self.api.kill_after = writes
        try:
            await self.settle()
        except KilledError:
            return True
        finally:
            self.api.kill_after = -1
        return False

    def delete(self) -> None:
        """Somebody deletes the Preview."""
        self.api._delete(PREVIEW, None, "")

    @property
    def status(self) -> Json:
        return dict(self.api.objects[PREVIEW].get("status") or {})

    @property
    def reason(self) -> str:
        return str(self.status["conditions"][0]["reason"])

    @property
    def message(self) -> str:
        return str(self.status["conditions"][0]["message"])

    def _around(self, preview: Preview) -> list[Preview]:
        there = [parse_preview(json.dumps(one).encode()) for path, one in self.api.objects.items() if "/previews/" in path]
        return [one for one in there if one.name == preview.name or _belongs(one, preview)]

    def _note(self, _: Key, seconds: float) -> None:
        self.later.append(seconds)


def _belongs(one: Preview, preview: Preview) -> bool:
    return any(owner.uid == preview.meta.uid for owner in one.meta.owner_references or ())


def base(api: ElsewhereApi) -> None:
    """An application that reads a ConfigMap and a Secret, in namespace shop; both may be copied to qa."""
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": "web:1",
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}}],
    }
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": "web", "containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    api.put(at("shop", "deployments", "web"), apiVersion="apps/v1", kind="Deployment", spec=spec)
    api.put(at("shop", "services", "web"), spec={"ports": [{"port": 80, "protocol": "TCP"}], "selector": labels})
    target = {"name": "web", "service": "web", "port": 80}
    api.put(at("shop", "httpscaledobjects", "web"), spec={"hosts": ["web.example.com"], "scaleTargetRef": target})
    permit = {"annotations": {COPY_TO: "qa"}, "labels": {"team": "a"}}
    api.put(at("shop", "configmaps", "settings"), data={"A": "1"}, metadata=dict(permit))
    api.put(at("shop", "secrets", "login"), data={"P": "cA=="}, type="Opaque", metadata=dict(permit))
    api.namespace("qa")


@asynccontextmanager
async def looking(**spec: Any) -> AsyncIterator[Looks]:
    """A Preview f1 of web, with its copy in namespace qa."""
    api = ElsewhereApi()
    base(api)
    api.put(PREVIEW, spec={"base": "web", "namespace": "qa", **spec})
    world = World(api, (), timing=Timing(), on_object=_nothing, on_routes=lambda: None)
    world.start()
    try:
        web = Key("HTTPScaledObject", "shop", "web")
        await until(lambda: world.services.synced.is_set() and world.get(web) is not None)
        yield Looks(api, world)
    finally:
        await world.close()


def _nothing(_: Key) -> None:
    pass
