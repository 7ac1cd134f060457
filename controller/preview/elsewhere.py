"""Copies that live in another namespace than their base: whether both sides permit it, what is copied along, and how all of it
goes. A part of `Maker`; with Previews whose copy is beside its base it does nothing.

An object cannot own one of another namespace. So what is made there has the Preview's uid and namespace as labels, and the
Preview a finalizer, from before the first object is made until none is left. Objects of others are neither changed nor deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS, PREVIEWS
from controller.preview.hooks import NAME_TAKEN
from controller.preview.manifests import FROM_LABEL, UID_LABEL, Json, is_owned, labels_elsewhere
from controller.preview.objects import CHANGED, FOREGROUND, MERGE, WORKLOADS, find, read
from controller.preview.objects import delete as delete_version
from controller.preview.objects import listed as listed_objects
from controller.preview.references import CONFIG_MAP, COPY_TO, SECRET, copied_name, permits, references_of, workload_elsewhere
from controller.preview.resource import Preview, parse_preview
from controller.preview.telling import Outcome
from controller.problem import Problem
from controller.world import path_of
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import CONFIG_MAPS, SERVICES
from fleet.discovery.kubernetes.objects import Resource as Path
from fleet.routing.kinds import is_name

__all__ = [
    "FINALIZER",
    "NAMESPACES",
    "NOT_FOUND",
    "NOT_PERMITTED",
    "NO_NAMESPACE",
    "PERMIT",
    "Elsewhere",
    "NotMadeError",
    "Visit",
]

NAMESPACES, SECRETS = Path("/api/v1", "namespaces"), Path("/api/v1", "secrets")
FINALIZER = "weir.dev/elsewhere"
SECRETS_FINALIZER = "weir.dev/elsewhere-secrets"
"""Beside the other once Secrets are copied: without them the controller need not have a right to list any."""
PERMIT = "weir.dev/previews-from"
"""Label of a namespace: the namespace whose Previews may have their copies in it."""
SOURCE = "weir.dev/copied-from"
"""Annotation of a copied ConfigMap or Secret: the name of the original."""
MAX_COPIED_BYTES = 4 << 20
"""Of the ConfigMaps and Secrets of one copy, which are in memory at each look."""
PAGE_OBJECTS = "8"
"""Objects of a namespace that are in memory at once, where somebody else may have made them: each may have a megabyte."""
NOT_PERMITTED, NO_NAMESPACE, NOT_FOUND = "NotPermitted", "NoNamespace", "NotFound"
_COPIED = {CONFIG_MAP: CONFIG_MAPS, SECRET: SECRETS}
_TOKENS = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")
"""Types of Secrets that let their reader act for somebody in the cluster."""
_MANAGER = (("fieldManager", "weir-previews"),)


class NotMadeError(Exception):
    """Why the copy is not made."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class _RefusedError(Exception):
    """One of both sides does not permit it, or no longer."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason, self.why = reason, why


class _Head(msgspec.Struct):
    metadata: dict[str, Any]


class _Left(NamedTuple):
    """What was still there."""

    names: list[str]
    is_ending: bool
    """Whether all of it is being deleted."""


class _Copied(NamedTuple):
    """A ConfigMap or Secret that is copied along."""

    path: Path
    manifest: Json
    found: Json | None
    """The metadata of what is there."""
    is_same: bool
    is_changeable: bool


class Elsewhere:
    """`why_not` says why this controller makes no copies in other namespaces; "" where it does. What has been made before is
    deleted even then."""

    def __init__(self, api: Api, why_not: str = "") -> None:
        self._api = api
        self._why_not = why_not

    async def visit(self, preview: Preview) -> Visit:
        """Look whether it is permitted as things are now. If it is not, the copy is deleted. Raises NotMadeError and ApiError."""
        visit = Visit(self._api, self, preview)
        if not preview.is_elsewhere:
            return visit
        try:
            await self._check_namespace(preview)
            await visit.check_copied()
        except _RefusedError as refused:
            await self.withdraw(preview, refused.reason, refused.why)
        return visit

    async def _check_namespace(self, preview: Preview) -> None:
        namespace, own = preview.place, preview.meta.namespace
        if self._why_not:
            raise _RefusedError(NOT_PERMITTED, self._why_not)
        found = await find(self._api, NAMESPACES.path("", namespace))
        if found is None:
            raise _RefusedError(NO_NAMESPACE, f"there is no namespace {namespace}")
        if "deletionTimestamp" in found["metadata"]:
            raise _RefusedError(NO_NAMESPACE, f"namespace {namespace} is being deleted")
        if (found["metadata"].get("labels") or {}).get(PERMIT) != own:
            raise _RefusedError(NOT_PERMITTED, f"namespace {namespace} does not have the label {PERMIT}: {own}")

    async def withdraw(self, preview: Preview, reason: str, why: str) -> None:
        """Delete the copy, to which no request is routed from now on. Raises NotMadeError, always."""
        try:
            left = await self.remove(preview)
        except ApiError as error:
            raise NotMadeError(Outcome(reason, f"{why}; the copy is not deleted yet: {error}", placed="", error=error)) from error
        raise NotMadeError(Outcome(reason, f"{why}; the copy is being deleted" if left.names else why, placed=""))

    async def end(self, preview: Preview, *, waits: bool) -> tuple[list[str], bool]:
        """Of one that is to be deleted: delete what was made, and let the Preview go when nothing is left. Unless it `waits`,
        also if all that is left is being deleted: others may hold that by finalizers for ever. Returns what is left, and whether
        the Preview was let go. Raises ApiError."""
        held = preview.meta.finalizers or ()
        kept = [name for name in held if name not in (FINALIZER, SECRETS_FINALIZER)]
        if len(kept) == len(held):
            return [], True
        left = await self.remove(preview)
        is_over = not left.names or (left.is_ending and not waits)
        if is_over:
            await self._set_finalizers(preview, kept)
        return left.names, is_over

    async def hold(self, preview: Preview, *, secrets: bool) -> Preview:
        """Give it the finalizers, unless it has them, before something is made. Raises ApiError: 409 if it has changed."""
        held = preview.meta.finalizers or ()
        missing = [name for name in (FINALIZER, *((SECRETS_FINALIZER,) if secrets else ())) if name not in held]
        return preview if not missing else parse_preview(await self._set_finalizers(preview, [*held, *missing]))

    async def place(self, preview: Preview, placed: str | None) -> None:
        """Say to which copy requests are routed. Raises ApiError."""
        path = path_of(PREVIEWS).path(preview.meta.namespace, preview.meta.name)
        body = {"metadata": {"uid": preview.meta.uid}, "status": {"placed": placed}}
        await self._api.request("PATCH", f"{path}/status", query=_MANAGER, body=body, content_type=MERGE)

    async def _set_finalizers(self, preview: Preview, names: list[str]) -> bytes:
        meta = preview.meta
        metadata = {"uid": meta.uid, "resourceVersion": preview.version, "finalizers": names or None}
        path = path_of(PREVIEWS).path(meta.namespace, meta.name)
        return await self._api.request("PATCH", path, query=_MANAGER, body={"metadata": metadata}, content_type=MERGE)

    async def remove(self, preview: Preview, keep: Collection[tuple[str, str]] = ()) -> _Left:
        """Delete what was made for it, but what `keep` names by plural and name; returns what was there. In the foreground: it is
        there until its pods are gone. Requests go to the base from the first deletion on. Raises ApiError."""
        left, is_ending = [], True
        for namespace in _namespaces(preview):
            for path in _paths(preview):
                for found in await self.listed(path, preview, namespace):
                    name = str(found["metadata"]["name"])
                    if (path.plural, name) not in keep:
                        left.append(f"{path.plural} {namespace}/{name}")
                        is_ending = await self.delete(path, found) and is_ending
        return _Left(left, is_ending)

    async def listed(self, path: Path, preview: Preview, namespace: str) -> list[Json]:
        """The metadata of the objects of a kind that were made for it. Raises ApiError."""
        labels = f"{UID_LABEL}={preview.meta.uid},{FROM_LABEL}={preview.meta.namespace}"
        query = [("labelSelector", labels)]
        found = [
            {"metadata": msgspec.json.decode(one, type=_Head).metadata}
            async for one in listed_objects(self._api, path.path(namespace), PAGE_OBJECTS, query)
        ]
        return [one for one in found if is_owned(one, preview)]

    async def delete(self, path: Path, found: Json) -> bool:
        """Delete this version and no other: False if there is another by now. Raises ApiError."""
        meta = found["metadata"]
        if "deletionTimestamp" in meta:
            return True
        at = path.path(meta["namespace"], meta["name"])
        try:
            await delete_version(self._api, at, meta["uid"], meta["resourceVersion"], FOREGROUND)
        except ApiError as error:
            if error.status != CHANGED:  # it is looked at again
                raise
            return False
        return True


class Visit:
    """One look at a Preview: what is to be copied along, as it was read. Create one with `Elsewhere.visit`."""

    def __init__(self, api: Api, elsewhere: Elsewhere, preview: Preview) -> None:
        self._api = api
        self._elsewhere = elsewhere
        self._preview = preview
        self._sources: dict[tuple[str, str], bytes | None] = {}
        self._kept = 0
        """Bytes of them."""
        self._wanted: list[_Copied] = []

    @property
    def placed(self) -> str | None:
        """The copy that requests are routed to once it is made; None for one beside its base."""
        return f"{self._preview.place}/{self._preview.copy}" if self._preview.is_elsewhere else None

    async def check_copied(self) -> None:
        """Whether what was copied may still be there. What has no original any more is deleted: it may have been revoked."""
        for kind, path in _COPIED.items():
            if path not in _paths(self._preview):
                continue
            for found in await self._elsewhere.listed(path, self._preview, self._preview.place):
                name = str((found["metadata"].get("annotations") or {}).get(SOURCE, ""))
                source = await self._source(kind, name)
                if source is None:
                    await self._elsewhere.delete(path, found)
                else:
                    self._check_source(kind, msgspec.json.decode(source))

    async def along(self, workload: Json) -> Json:
        """The workload as it is in the other namespace. Raises NotMadeError, Problem and ApiError."""
        if not self._preview.is_elsewhere:
            return workload
        spec, copy, size = workload.get("spec", {}), self._preview.copy, 0
        made = workload_elsewhere(spec, lambda name: copied_name(copy, name))
        for (kind, name), needed in references_of(spec.get("template", {}).get("spec", {})).items():
            source = await self._source(kind, name)
            if source is not None:
                size += len(source)
                if size > MAX_COPIED_BYTES:
                    why = (
                        f"the ConfigMaps and Secrets of its pods have more than {MAX_COPIED_BYTES >> 20} MiB, and are not copied"
                    )
                    raise Problem("spec.base", why)
                await self._want(kind, msgspec.json.decode(source))
            elif needed:
                why = f"there is no {kind} {self._preview.meta.namespace}/{name}, which its pods need"
                raise NotMadeError(Outcome(NOT_FOUND, why))
        return {**workload, "spec": made}

    async def _want(self, kind: str, source: Json) -> None:
        try:
            self._check_source(kind, source)
        except _RefusedError as refused:
            await self._elsewhere.withdraw(self._preview, refused.reason, refused.why)
        path, manifest = _COPIED[kind], self._copy_of(kind, source)
        place, name = self._preview.place, manifest["metadata"]["name"]
        data = await self._read(kind, path.path(place, name))
        if data is None:
            self._wanted.append(_Copied(path, manifest, None, is_same=False, is_changeable=True))
            return
        found: Json = msgspec.json.decode(data)
        if not is_owned(found, self._preview):
            raise NotMadeError(Outcome(NAME_TAKEN, f"{path.plural} {place}/{name} exists and is not of this Preview"))
        is_changeable = "deletionTimestamp" not in found["metadata"] and _type(found) == _type(manifest)
        head = {"metadata": found["metadata"]}
        self._wanted.append(_Copied(path, manifest, head, is_same=_is_same(found, manifest), is_changeable=is_changeable))

    async def write(self) -> None:
        """Make what is copied along, and let the Preview stay until it is gone. Raises NotMadeError and ApiError."""
        if not self._preview.is_elsewhere:
            return
        secrets = any(one.path == SECRETS for one in self._wanted)
        self._preview = await self._elsewhere.hold(self._preview, secrets=secrets)
        if self._preview.status.placed != self.placed:  # first, so that the copy is routed to as soon as it is seen
            await self._elsewhere.place(self._preview, self.placed)
        for path, manifest, found, is_same, is_changeable in self._wanted:
            namespace, name = self._preview.place, manifest["metadata"]["name"]
            if found is None:
                await self._api.request("POST", path.path(namespace), query=_MANAGER, body=manifest)
            elif not is_changeable:
                await self._elsewhere.delete(path, found)
                raise NotMadeError(Outcome("Replacing", f"{path.plural} {namespace}/{name} is deleted, and made anew"))
            elif not is_same:
                metadata = {**manifest["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
                await self._api.request(
                    "PUT", path.path(namespace, name), query=_MANAGER, body={**manifest, "metadata": metadata}
                )

    async def prune(self, kind: str) -> None:
        """Delete what was made before, and is no longer a part of the copy, whose workload is of this kind. Raises ApiError."""
        if not self._preview.is_elsewhere:
            return
        own = (path.plural for path in (path_of(HTTP_SCALED_OBJECTS), SERVICES, WORKLOADS[kind]))
        keep = {(plural, self._preview.copy) for plural in own}
        keep |= {(one.path.plural, one.manifest["metadata"]["name"]) for one in self._wanted}
        await self._elsewhere.remove(self._preview, keep)

    def _check_source(self, kind: str, source: Json) -> None:
        meta, place = source["metadata"], self._preview.place
        if kind == SECRET and _type(source) in _TOKENS:
            why = f"Secret {meta['namespace']}/{meta['name']} is a {_type(source)}, which is never copied"
            raise _RefusedError(NOT_PERMITTED, why)
        if not permits((meta.get("annotations") or {}).get(COPY_TO, ""), place):
            why = f"{kind} {meta['namespace']}/{meta['name']} does not have the annotation {COPY_TO} with {place}"
            raise _RefusedError(NOT_PERMITTED, why)

    async def _source(self, kind: str, name: str) -> bytes | None:
        """The original of one, as it is at this look; read again if there was no room to keep it."""
        if not is_name(name):  # of nothing that there could be
            return None
        if (kind, name) in self._sources:
            return self._sources[kind, name]
        data = await self._read(kind, _COPIED[kind].path(self._preview.meta.namespace, name))
        size = 0 if data is None else len(data)
        if self._kept + size <= MAX_COPIED_BYTES:
            self._kept += size
            self._sources[kind, name] = data
        return data

    async def _read(self, kind: str, path: str) -> bytes | None:
        try:
            return await read(self._api, path)
        except ApiError as error:
            if kind == SECRET and error.status == 403:
                why = f"Secrets are not copied by this controller (deploy/components/previews/secrets): {error}"
                raise NotMadeError(Outcome(NOT_PERMITTED, why)) from error
            raise

    def _copy_of(self, kind: str, source: Json) -> Json:
        name, preview = source["metadata"]["name"], self._preview
        metadata = {
            "name": copied_name(preview.copy, name),
            "namespace": preview.place,
            "labels": labels_elsewhere(preview),
            "annotations": {SOURCE: name},
        }
        content = {field: source[field] for field in ("type", "data", "binaryData") if source.get(field) is not None}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


def _type(secret: Json) -> str:
    return str(secret.get("type") or "Opaque")


def _is_same(found: Json, manifest: Json) -> bool:
    same = all((found.get(field) or {}) == (manifest.get(field) or {}) for field in ("data", "binaryData"))
    there, wanted = found["metadata"], manifest["metadata"]
    return same and all(wanted[field].items() <= (there.get(field) or {}).items() for field in ("labels", "annotations"))


def _paths(preview: Preview) -> Iterator[Path]:
    """The kinds of objects that may have been made for it, that with which requests go to the copy first."""
    held = preview.meta.finalizers or ()
    if FINALIZER in held:
        yield from (path_of(HTTP_SCALED_OBJECTS), SERVICES, *WORKLOADS.values(), CONFIG_MAPS)
    if SECRETS_FINALIZER in held:
        yield SECRETS


def _namespaces(preview: Preview) -> Collection[str]:
    """Where they may be."""
    found = dict.fromkeys((preview.place, preview.status.placed.partition("/")[0]))
    return [namespace for namespace in found if namespace not in ("", preview.meta.namespace)]
