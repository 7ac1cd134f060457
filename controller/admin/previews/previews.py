"""What the API does with previews: each call is one write of one Preview object, and the controller that leads does the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from time import time

import msgspec

from controller.admin.apps import GONE_SECONDS
from controller.admin.cluster import FIELD_MANAGER
from controller.admin.documents import Fault
from controller.admin.objects import Json
from controller.admin.previews.documents import Preview, PreviewDocument
from controller.admin.previews.following import Followed
from controller.admin.previews.objects import (
    PREVIEWS_PATH,
    Around,
    document_of,
    etag_of_preview,
    is_awake,
    manifest_of,
    object_name,
    parsed,
    same,
    shown,
)
from controller.admin.problems import Refused
from controller.by_hand import AWAKE_UNTIL, stamp
from controller.crds import HTTP_SCALED_OBJECTS
from controller.finding import Finding
from controller.preview.life import KEEP_UNTIL, life_of
from controller.preview.manifests import BASE_LABEL, MAX_LABEL, NAME_LABEL, is_owned
from controller.preview.objects import WORKLOADS
from controller.preview.resource import Preview as Parsed
from controller.reachability import Demand, judge
from controller.reachability_evidence import EvidenceReader, subject_of
from controller.resources import Key
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.world import SCALED_OBJECTS, World, path_of
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["Previews"]

GONE_PAUSE_SECONDS = 0.25
RETRY_SECONDS = "2"
_MERGE = "application/merge-patch+json"
_OF_ENDPOINTS = ("NotSeen", "NoEndpoints")
"""What is said where a replica is ready, of what the preview was before or just now, and no request waits."""
_DRY_RUN = [("dryRun", "All")]

_log = logging.getLogger(__name__)


class Previews:
    """Methods raise Refused or ApiError. `is_on` says whether this controller makes copies. `wall` is the clock, in seconds since
    the epoch."""

    def __init__(self, api: Api, world: World, *, is_on: bool, url: str, wall: Callable[[], float] = time) -> None:
        self._api, self._world, self._is_on, self._url = api, world, is_on, url
        self._wall = wall
        self._evidence = EvidenceReader(api)
        self._clock = asyncio.get_running_loop().time

    # -- reading ----------------------------------------------------------------------------------------------------

    def check_is_on(self) -> None:
        if not self._is_on:
            raise Refused(501, "no-previews", "this controller makes no previews (WEIR_PREVIEWS)")

    async def find(self, namespace: str, name: str) -> Json | None:
        """The Preview object of this name."""
        try:
            found: Json = msgspec.json.decode(await self._api.request("GET", PREVIEWS_PATH.path(namespace, name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    async def get(self, namespace: str, name: str) -> Json:
        found = await self.find(namespace, name)
        if found is None:
            raise Refused(404, "not-found", f"there is no preview {namespace}/{name}: it is called BASE--NAME here")
        return found

    async def page(self, namespace: str, limit: int, token: str | None) -> tuple[list[Json], str | None]:
        """Objects of a page, and the token of the next one."""
        query = [("limit", str(limit)), *([] if token is None else [("continue", token)])]
        listed = msgspec.json.decode(await self._api.get(PREVIEWS_PATH.path(namespace), query))
        return listed.get("items") or [], (listed.get("metadata") or {}).get("continue") or None

    async def shown(self, found: Json) -> Preview:
        """What is said of one."""
        preview = parsed(found)
        around = await self._around(preview.meta.namespace, _places([preview]), _labels_of(preview), {preview.base.name})
        return shown(found, around)

    async def all_shown(self, namespace: str, items: Sequence[Json]) -> list[Preview]:
        bases = {str((item.get("spec") or {}).get("base", "")) for item in items}
        around = await self._around(namespace, _places(map(parsed, items)), NAME_LABEL, bases) if items else Around()
        return [shown(item, around) for item in items]

    async def is_awake(self, found: Json) -> bool:
        preview = parsed(found)
        listed = await asyncio.gather(
            *(self._listed(path.path(preview.place), _labels_of(preview)) for path in WORKLOADS.values())
        )
        return is_awake(found, [one for some in listed for one in some or ()])

    async def trouble(self, found: Json) -> Finding | None:
        """Why no replica of it is ready."""
        preview = parsed(found)
        subject = subject_of(self._world, f"{preview.place}/{preview.copy}")
        finding = None if subject is None else judge(Demand(), await self._evidence.look(subject))
        return None if finding is not None and finding.reason in _OF_ENDPOINTS else finding

    # -- writing ----------------------------------------------------------------------------------------------------

    async def plan(self, namespace: str, document: PreviewDocument, if_match: str | None, *, new: bool) -> list[Json]:
        """What the API server would store. `new` refuses another one that exists."""
        found = await self.find(namespace, object_name(document.base, document.name))
        _check_match(found, if_match)
        if found is None:
            return [await self._post(manifest_of(document, namespace), dry_run=True)]
        return [await self._replaced(found, document, namespace, is_new=new, dry_run=True)]

    async def put(
        self, namespace: str, document: PreviewDocument, if_match: str | None = None, *, new: bool = False
    ) -> tuple[Json, bool]:
        """Create one, or make it what the document says; `new` refuses another one that exists. Returns also whether it was
        created. The same one again is no mistake."""
        until = self._clock() + GONE_SECONDS
        while True:
            found = await self.find(namespace, object_name(document.base, document.name))
            _check_match(found, if_match)
            try:
                if found is None:
                    return await self._post(manifest_of(document, namespace)), True
                if not _is_ending(found) or self._clock() >= until:
                    return await self._replaced(found, document, namespace, is_new=new), False
            except ApiError as error:  # made, changed or deleted meanwhile: its status is written often
                if error.status not in (404, 409) or self._clock() >= until:
                    raise
            await asyncio.sleep(GONE_PAUSE_SECONDS)

    async def extend(self, namespace: str, name: str, seconds: float | None) -> Json:
        """Keep it for so long from now on, without `seconds` for its time to live. What it has anyway is not made less."""

        until = self._clock() + GONE_SECONDS
        while True:
            found = await self.get(namespace, name)
            if _is_ending(found):
                raise _ending(found)
            preview, wanted = parsed(found), self._wall()
            if preview.ttl is None:
                return found
            wanted += preview.ttl if seconds is None else seconds
            if (life_of(preview, None).ends or 0.0) >= wanted:
                return found
            metadata = {name: found["metadata"][name] for name in ("uid", "resourceVersion")}
            body = {"metadata": {**metadata, "annotations": {KEEP_UNTIL: stamp(wanted)}}}
            try:
                return await self._write("PATCH", found, body, content_type=_MERGE)
            except ApiError as error:
                if error.status != 409 or self._clock() >= until:
                    raise

    async def wake(self, found: Json, seconds: float | None) -> None:
        """Keep a replica of it for so long; None: not any longer."""
        preview = parsed(found)
        path = path_of(HTTP_SCALED_OBJECTS).path(preview.place, preview.copy)
        copy: Json = msgspec.json.decode(await self._api.request("GET", path))
        if not is_owned(copy, preview):
            raise Refused(409, "name-taken", f"HTTPScaledObject {preview.copy} is not of this preview")
        asked = None if seconds is None else stamp(self._wall() + seconds)
        body = {"metadata": {"uid": copy["metadata"]["uid"], "annotations": {AWAKE_UNTIL: asked}}}
        await self._api.request("PATCH", path, query=[("fieldManager", FIELD_MANAGER)], body=body, content_type=_MERGE)

    async def delete(self, namespace: str, name: str, if_match: str | None, *, dry_run: bool = False) -> str:
        """Delete one, with all that was made for it; returns its uid."""
        found = await self.get(namespace, name)
        _check_match(found, if_match)
        uid = str(found["metadata"]["uid"])
        # In the foreground: the object is there until nothing of its copy is left.
        body: Json = {"preconditions": {"uid": uid}, "propagationPolicy": "Foreground"}
        if dry_run:
            body["dryRun"] = ["All"]
        try:
            await self._api.request("DELETE", PREVIEWS_PATH.path(namespace, name), body=body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        return uid

    def followed(self, namespace: str, name: str) -> Followed:
        return Followed(self._api, namespace, name)

    async def is_gone(self, namespace: str, name: str, uid: str) -> bool:
        found = await self.find(namespace, name)
        return found is None or found["metadata"].get("uid") != uid

    async def is_soon_gone(self, namespace: str, name: str, uid: str) -> bool:
        until = self._clock() + GONE_SECONDS
        while self._clock() < until:
            if await self.is_gone(namespace, name, uid):
                return True
            await asyncio.sleep(GONE_PAUSE_SECONDS)
        return False

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _replaced(
        self, found: Json, document: PreviewDocument, namespace: str, *, is_new: bool, dry_run: bool = False
    ) -> Json:
        """The object with the spec of a document."""
        if _is_ending(found):
            raise _ending(found)
        said = document_of(found)
        if said is not None and same(said, document):
            return found
        if is_new:
            detail = f"preview {found['metadata']['name']} exists, and says something else: PUT replaces it"
            raise Refused(409, "exists", detail)
        if (found.get("spec") or {}).get("namespace") != document.copy_namespace:
            detail = "cannot be changed: delete the preview, and make another one"
            fault = Fault(detail=detail, pointer="/copy_namespace")
            raise Refused(422, "invalid-document", f"/copy_namespace: {detail}", errors=[fault])
        metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
        return await self._write("PUT", found, {**manifest_of(document, namespace), "metadata": metadata}, dry_run=dry_run)

    async def _post(self, manifest: Json, *, dry_run: bool = False) -> Json:
        path = PREVIEWS_PATH.path(manifest["metadata"]["namespace"])
        query = [("fieldManager", FIELD_MANAGER), *(_DRY_RUN if dry_run else ())]
        made: Json = msgspec.json.decode(await self._api.request("POST", path, query=query, body=manifest))
        return made

    async def _write(
        self, method: str, found: Json, body: Json, *, content_type: str = "application/json", dry_run: bool = False
    ) -> Json:
        path = PREVIEWS_PATH.path(found["metadata"]["namespace"], found["metadata"]["name"])
        query = [("fieldManager", FIELD_MANAGER), *(_DRY_RUN if dry_run else ())]
        data = await self._api.request(method, path, query=query, body=body, content_type=content_type)
        made: Json = msgspec.json.decode(data)
        return made

    async def _around(self, namespace: str, places: set[str], labels: str, bases: set[str]) -> Around:
        """For each namespace of copies two lists of workloads and one of ScaledObjects, however many previews there are."""
        workloads, scaled = list[list[Json] | None](), list[Json]()
        for place in sorted(places):
            paths = (*WORKLOADS.values(), SCALED_OBJECTS)
            *of_kinds, there = await asyncio.gather(*(self._listed(path.path(place), labels) for path in paths))
            workloads += of_kinds
            scaled += there or ()
        known = [one for one in workloads if one is not None]
        active = {_app(one): str((one.get("status") or {}).get("lastActiveTime") or "") for one in scaled}
        return Around(
            [each for one in known for each in one] if len(known) == len(workloads) else None,
            active,
            {base: self._paths(namespace, base) for base in bases},
            self._url,
            self._wall(),
        )

    async def _listed(self, path: str, labels: str) -> list[Json] | None:
        """What it adds is worth less than the answer."""
        try:
            listed = msgspec.json.decode(await self._api.get(path, [("labelSelector", labels)]))
        except ApiError as error:
            _log.debug("%s is not read: %s", path, error)
            return None
        items: list[Json] = listed.get("items") or []
        return items

    def _paths(self, namespace: str, base: str) -> Sequence[str]:
        resource = self._world.get(Key(HTTP_SCALED_OBJECTS.kind, namespace, base))
        spec = None if resource is None else resource.spec
        return spec.path_prefixes or () if isinstance(spec, HTTPScaledObjectSpec) else ()


def _places(previews: Iterable[Parsed]) -> set[str]:
    """The namespaces of their copies: those that have permitted it."""
    return {preview.place for preview in previews if preview.is_placed}


def _labels_of(preview: Parsed) -> str:
    """Of what is made for it."""
    return f"{NAME_LABEL}={preview.name},{BASE_LABEL}={preview.base.name[:MAX_LABEL]}"


def _app(found: Json) -> str:
    return f"{found['metadata']['namespace']}/{found['metadata']['name']}"


def _is_ending(found: Json) -> bool:
    return "deletionTimestamp" in found["metadata"]


def _ending(found: Json) -> Refused:
    detail = f"preview {found['metadata']['name']} is being deleted"
    return Refused(409, "deleting", detail, headers={"Retry-After": RETRY_SECONDS})


def _check_match(found: Json | None, if_match: str | None) -> None:
    """RFC 9110 section 13.1.1."""
    if if_match is None:
        return
    current = None if found is None else etag_of_preview(found)
    if if_match.strip() == "*":
        matches = found is not None
    else:
        matches = current is not None and current in [tag.strip() for tag in if_match.split(",")]
    if not matches:
        headers = {} if current is None else {"ETag": current}
        raise Refused(412, "changed", "the preview is not what If-Match names: get it again", headers=headers)
