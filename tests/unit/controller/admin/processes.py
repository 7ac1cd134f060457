"""Processes with an Admin API over one API server in memory, which can be killed at any of their requests."""

from __future__ import annotations

from typing import Any

from controller.admin.apps import Apps
from controller.admin.cluster import Cluster
from controller.admin.documents import Document
from controller.admin.journal import Journal
from controller.admin.locks import Locks
from controller.admin.objects import complete
from controller.admin.recovery import Recovery
from controller.resources import parse_http_scaled_object
from tests.support.apply_api import ApplyApi
from tests.support.killable import Line

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


class Process:
    """One process of a controller."""

    def __init__(self, server: ApplyApi, holder: str = "weir-controller-0") -> None:
        self.line = Line(server)
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
        return await self.line.until_killed(work, lambda: self.apps._tasks)


def _raw(server: ApplyApi, path: str) -> bytes:
    import msgspec  # noqa: PLC0415

    return msgspec.json.encode(server.objects[path])
