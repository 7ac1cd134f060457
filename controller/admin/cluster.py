"""The objects of applications on the API server: read, applied, deleted. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from controller.admin.objects import KINDS, Json, Live
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["FIELD_MANAGER", "REPLICAS_MANAGER", "Cluster", "Foreign"]

FIELD_MANAGER = "weir-admin"
REPLICAS_MANAGER = "weir-admin-replicas"
"""Owns the number of replicas until KEDA changes it. The document's manager gives it up in the first update, and a field that
nobody owns would become the default, which is one replica."""
REQUEST_SECONDS = 10.0
"""Seconds for one request. A change has several, and its own limit."""
APPLY = "application/apply-patch+yaml"


class Foreign(Exception):
    """Somebody else has made an object of this name in the meantime."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Cluster:
    """Every method raises ApiError."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def live(self, namespace: str, name: str) -> Live:
        """The objects of an application's name."""
        found = await asyncio.gather(*(self.get(kind, namespace, name) for kind in KINDS))
        return Live(dict(zip(KINDS, found, strict=True)))

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        try:
            found = await self._request("GET", KINDS[kind].path.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    async def create(self, kind: str, manifest: Json, *, dry_run: bool = False) -> Json:
        """Apply an object that does not exist. Raises Foreign when it does after all, and leaves it as it was."""
        made = await self._apply(kind, manifest, FIELD_MANAGER, force=False, dry_run=dry_run)
        if not dry_run and _has_other_managers(made):
            # Give up what this has come to own of it: an empty configuration.
            kept = {name: manifest["metadata"][name] for name in ("name", "namespace")}
            nothing = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": kept}
            await self._apply(kind, nothing, FIELD_MANAGER, force=False, dry_run=False)
            raise Foreign(kind)
        return made

    async def update(self, kind: str, manifest: Json, uid: str, *, dry_run: bool = False) -> Json:
        """Apply an object that exists with this uid, and take fields from whoever has changed them."""
        manifest = manifest | {"metadata": manifest["metadata"] | {"uid": uid}}
        return await self._apply(kind, manifest, FIELD_MANAGER, force=True, dry_run=dry_run)

    async def hold_replicas(self, manifest: Json, uid: str) -> None:
        """Have the number of a new Deployment's replicas owned by a manager that never gives it up."""
        body = {
            "apiVersion": manifest["apiVersion"],
            "kind": manifest["kind"],
            "metadata": {name: manifest["metadata"][name] for name in ("name", "namespace")} | {"uid": uid},
            "spec": {"replicas": manifest["spec"]["replicas"]},
        }
        await self._apply("Deployment", body, REPLICAS_MANAGER, force=False, dry_run=False)

    async def delete(self, kind: str, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete an object with this uid, and what it owns; nothing happens when there is none any more."""
        body: Json = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if dry_run:
            body["dryRun"] = ["All"]
        try:
            await self._request("DELETE", KINDS[kind].path.path(namespace, name), body=body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def merge(self, kind: str, namespace: str, name: str, patch: Json) -> Json:
        """A JSON merge patch."""
        path = KINDS[kind].path.path(namespace, name)
        query = [("fieldManager", FIELD_MANAGER)]
        return await self._request("PATCH", path, query=query, body=patch, content_type="application/merge-patch+json")

    async def _apply(self, kind: str, manifest: Json, manager: str, *, force: bool, dry_run: bool) -> Json:
        metadata = manifest["metadata"]
        query = [("fieldManager", manager), ("force", "true" if force else "false")]
        if dry_run:
            query.append(("dryRun", "All"))
        path = KINDS[kind].path.path(metadata["namespace"], metadata["name"])
        return await self._request("PATCH", path, query=query, body=manifest, content_type=APPLY)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        answer = await self._api.request(method, path, query=query, body=body, content_type=content_type, seconds=REQUEST_SECONDS)
        try:
            found = msgspec.json.decode(answer)
        except ValueError as error:
            raise ApiError(f"{method} {path}: the answer is not JSON") from error
        if not isinstance(found, dict):
            raise ApiError(f"{method} {path}: the answer is no object")
        return found


def _has_other_managers(made: Json) -> bool:
    """Whether somebody else wrote fields of an object beside its status."""
    managers = made["metadata"].get("managedFields") or ()
    return any(one.get("manager") != FIELD_MANAGER and not one.get("subresource") for one in managers)
