"""Processes with an Admin API over one API server in memory, which can be killed at any of their requests."""

from __future__ import annotations

import asyncio
from typing import Any

from controller.admin.apps import Apps
from controller.admin.cluster import Cluster
from controller.admin.documents import Document
from controller.admin.journal import Journal
from controller.admin.locks import Locks
from controller.admin.objects import complete
from controller.admin.recovery import Recovery
from controller.resources import parse_http_scaled_object
from fleet.discovery.kubernetes.client import Api, ApiError, Query
from tests.support.apply_api import ApplyApi

__all__ = ["Process", "document", "of_app", "paths_of"]

NAMESPACE = "shop"


def document(name: str = "web", **fields: Any) -> Document:
    """A complete document."""
    return complete(Document.model_validate({"name": name, "image": "example.com/web:1", **fields}), NAMESPACE, "")


def paths_of(name: str = "web") -> list[str]:
    """Paths of the objects of an application."""
    return [
        f"/apis/http.keda.sh/v1alpha1/namespaces/{NAMESPACE}/httpscaledobjects/{name}",
        f"/api/v1/namespaces/{NAMESPACE}/services/{name}",
        f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}",
    ]


def of_app(api: ApplyApi, name: str = "web") -> dict[str, Any]:
    """What the objects of an application say, without versions."""
    found = {}
    for path in paths_of(name):
        if path in api.objects:
            whole = api.objects[path]
            metadata = {key: whole["metadata"].get(key) for key in ("name", "labels", "annotations", "uid")}
            found[path] = {"metadata": metadata, "spec": whole["spec"]}
    return found


class _Line(Api):
    """The connection of one process: counts its requests, and can lose one, its answer, or the process."""

    def __init__(self, server: ApplyApi) -> None:
        super().__init__(_never)
        self.server = server
        self.count = 0
        self.fail_at, self.lose_at, self.kill_at, self.kill_after = 0, 0, 0, 0
        """Numbers of requests: refused; done, and the answer lost; never sent, or done, and the process ends."""
        self.dead = asyncio.Event()
        self.gone = False

    async def get(self, path: str, query: Query = ()) -> bytes:
        return await self._counted(self.server.get(path, query))

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        return await self._counted(self.server.request(method, path, **options))

    async def _counted(self, sent: Any) -> bytes:
        if self.gone:
            sent.close()
            raise asyncio.CancelledError
        self.count += 1
        number = self.count
        if self.dead.is_set() or number == self.kill_at:
            sent.close()
            self.dead.set()
            await asyncio.Event().wait()
        if number == self.fail_at:
            sent.close()
            raise ApiError("the API server is overloaded", status=500)
        try:
            answer: bytes = await sent
        finally:
            if number == self.lose_at:
                raise ApiError("the connection was lost")
            if number == self.kill_after:
                self.dead.set()
                await asyncio.Event().wait()
        return answer


class Process:
    """One process of a controller."""

    def __init__(self, server: ApplyApi, holder: str = "weir-controller-0") -> None:
        self.line = _Line(server)
        self.cluster = Cluster(self.line)
        self.journal = Journal(self.line, "weir-system", holder)
        locks = Locks()
        watched = [path for path in server.objects if "/httpscaledobjects/" in path]
        self.recovery = Recovery(
            self.cluster,
            self.journal,
            locks,
            lambda: [parse_http_scaled_object(_raw(server, path)) for path in watched if path in server.objects],
        )
        self.apps = Apps(self.line, self.cluster, self.journal, self.recovery, locks=locks, is_scaled=lambda app: False)

    async def until_killed(self, work: Any) -> bool:
        """Run work until it ends (False) or the process is killed (True)."""
        task = asyncio.ensure_future(work)
        dead = asyncio.ensure_future(self.line.dead.wait())
        await asyncio.wait((task, dead), return_when=asyncio.FIRST_COMPLETED)
        killed = not task.done()
        self.line.gone = True  # what would be cleaned up now is not: a process that is killed does nothing any more
        for one in (task, dead, *self.apps._tasks):
            one.cancel()
        await asyncio.gather(task, dead, *self.apps._tasks, return_exceptions=True)
        return killed


def _raw(server: ApplyApi, path: str) -> bytes:
    import msgspec  # noqa: PLC0415

    return msgspec.json.encode(server.objects[path])


async def _never() -> Any:
    raise AssertionError("nothing leaves the process")
