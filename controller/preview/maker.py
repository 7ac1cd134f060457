"""Makes what belongs to a Preview, follows its base, deletes it when its time is over, and writes its status.

Level-triggered: each run looks at everything and does what is missing, so a controller that is killed in between is continued by
the next one. What was made is deleted by Kubernetes, because the Preview owns it. Objects of others are never touched: only that
version of an object is changed or deleted which was looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import time
from typing import NoReturn

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS
from controller.events import EventRecorder, Notice
from controller.preview.companions import Companions
from controller.preview.elsewhere import NO_NAMESPACE, NOT_FOUND, NOT_PERMITTED, Elsewhere, NotMadeError, Visit
from controller.preview.ending import AFTER_RUNNING, ENDING, Ending
from controller.preview.hooks import HOOK_RUNNING, NAME_TAKEN, jobs_before, run_hooks
from controller.preview.life import Life, life_of, read_time
from controller.preview.manifests import KINDS, Json, is_left_behind, is_owned, scaled_object_of, service_of, workload_of
from controller.preview.objects import CHANGED, MERGE, WORKLOADS, LeadersApi, delete, find
from controller.preview.resource import Preview, parse_preview
from controller.preview.telling import MADE, Outcome, changes_of, status_of
from controller.problem import Problem
from controller.resources import Key, Resource
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.world import SCALED_OBJECTS, World, path_of
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import SERVICES
from fleet.discovery.kubernetes.objects import Resource as Path
from fleet.routing.kinds import is_name
from fleet.runtime.pauses import Pauses

__all__ = ["Maker", "paths_of"]

MADE_OF = "weir.dev/made-of"
"""Annotation with a digest of what was applied: nothing is written while it is the same."""
LOOK_SECONDS = 300.0
"""Seconds after which a Preview is looked at again: its last use is then known to so much."""
SOON_SECONDS = 1.0
"""Seconds after which one is looked at again that cannot be made yet; then after twice as long each time."""
REPLACING, DELETING = "Replacing", "Deleting"
LONGEST_WAITS = {
    HOOK_RUNNING: 15.0,
    NAME_TAKEN: 60.0,
    REPLACING: 15.0,
    ENDING: 5.0,
    AFTER_RUNNING: 15.0,
    DELETING: 15.0,
    **dict.fromkeys((NOT_PERMITTED, NO_NAMESPACE, NOT_FOUND), 60.0),
}
"""Most seconds until that, by the reason. Workloads, Services and HTTPScaledObjects that are gone are noticed at once; a Job is
not watched, and neither is what else may have the name of one."""
_UNCHANGEABLE = ("field is immutable", "updates to statefulset spec", "may not change once set")
"""What the API server says of fields that only an object that is made anew can have otherwise."""
_INVALID = 422
END_SECONDS = 600.0
"""Seconds after the time for hooks after in which what is left in another namespace is waited for."""
LEFT = "CopyLeft"
"""Reason of the Event about what is not waited for any more."""
MAX_LEFT = 5
"""Objects that the status of one that is being deleted names."""
DIGEST = 16
"""Hexadecimal digits of it."""
_MANAGER = ("fieldManager", "weir-previews")
_SCALE_MANAGER = ("fieldManager", "weir-previews-scale")
_APPLY = "application/apply-patch+yaml"


class _Active(msgspec.Struct, rename="camel"):
    last_active_time: str = ""


class _ScaledObject(msgspec.Struct):
    status: _Active = msgspec.field(default_factory=_Active)


class _Listed(msgspec.Struct):
    items: tuple[msgspec.Raw, ...] = ()


class _ReplacedError(Exception):
    """What there is had to be deleted, to be made anew once it is gone."""


class Maker:
    """`later` is called with a Preview to look at again, and in how many seconds; `leads` says whether this process may still
    write."""

    def __init__(
        self,
        api: Api,
        world: World,
        recorder: EventRecorder,
        *,
        later: Callable[[Key, float], None],
        leads: Callable[[], bool] = lambda: True,
        wall: Callable[[], float] = time,
        elsewhere: Elsewhere | None = None,
        companions: Companions | None = None,
    ) -> None:
        self._api = LeadersApi(api, leads)
        self._companions = companions or Companions(self._api, world)
        self._elsewhere = elsewhere or Elsewhere(self._api)
        self._world = world
        self._recorder = recorder
        self._later = later
        self._leads = leads
        self._wall = wall
        self._ending = Ending(api, recorder, later=later, leads=leads, wall=wall)
        self._pauses: dict[Key, tuple[tuple[str, str], Pauses]] = {}
        """Of each Preview that waits: for what, and how long until the next look."""

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._pauses.pop(key, None)

    async def reconcile(self, preview: Preview) -> None:
        """Raises ApiError when it must be retried."""
        if not self._leads():
            return
        if preview.meta.deleting:
            waits_for = await self._ending.look(preview) or await self._let_go(preview)
            self._wait(preview.key, *(waits_for or ("", "")))
            return
        if not self._world.services.synced.is_set():  # by their selectors the labels of pods are chosen
            self._later(preview.key, SOON_SECONDS)
            return
        try:
            life = life_of(preview, await self._last_active(preview))
        except ApiError as error:
            # Without this nothing says whether its time is over.
            await self._tell(preview, life_of(preview, None), Outcome("Refused", str(error)))
            raise
        left = life.left(self._wall())
        if left == 0:
            await self._end(preview)
            return
        self._later(preview.key, LOOK_SECONDS if left is None else min(left, LOOK_SECONDS))
        outcome = await self._made(preview)
        self._wait(preview.key, outcome.reason, outcome.message)
        await self._tell(preview, life, outcome)
        if outcome.error is not None:
            raise outcome.error

    async def _let_go(self, preview: Preview) -> tuple[str, str] | None:
        """Kubernetes deletes what it owns; what is in another namespace is deleted here. Returns what it waits for."""
        life = life_of(preview, None)
        waits = self._wall() < preview.meta.deleted + preview.after_timeout + END_SECONDS
        try:
            left, is_over = await self._elsewhere.end(preview, waits=waits)
        except ApiError as error:
            if error.status != CHANGED:
                await self._tell(preview, life, Outcome("Refused", str(error), placed=""))
            raise
        message = f"still there: {', '.join(left[:MAX_LEFT])}"
        if is_over:
            if left:
                self._recorder.tell(preview, Notice(LEFT, f"it is gone, and others hold what is {message}", warning=True))
            return None
        outcome = Outcome(DELETING, message, placed="")
        await self._tell(preview, life, outcome)
        return outcome.reason, outcome.message

    def _wait(self, key: Key, reason: str, message: str) -> None:
        """Look again soon, and less and less often while both stay the same."""
        longest = LONGEST_WAITS.get(reason)
        if longest is None:
            self.forget(key)
            return
        waits = self._pauses.get(key)
        if waits is None or waits[0] != (reason, message):
            waits = self._pauses[key] = ((reason, message), Pauses(SOON_SECONDS, longest))
        self._later(key, waits[1].next())

    async def _made(self, preview: Preview) -> Outcome:
        try:
            visit = await self._elsewhere.visit(preview)
            if preview.problem is not None:
                return Outcome("Invalid", str(preview.problem))
            return await self._make(preview, visit)
        except NotMadeError as error:
            return error.outcome
        except Problem as problem:
            return Outcome("CannotBeCopied", str(problem))
        except _ReplacedError as replaced:
            return Outcome(REPLACING, str(replaced))
        except ApiError as error:
            if error.status == CHANGED:  # others write at the same time: what there is now is looked at soon
                raise
            return Outcome("Refused", str(error), error=error)

    async def _make(self, preview: Preview, visit: Visit) -> Outcome:
        """Raises Problem, ApiError, NotMadeError and _ReplacedError."""
        base, namespace = self._world.get(preview.base), preview.place
        if base is None:
            return Outcome("NoBase", f"there is no {preview.base}")
        workload_path, service_path = paths_of(base)
        workload, service = await find(self._api, workload_path), await find(self._api, service_path)
        if workload is None or service is None:
            return Outcome("NoBase", f"there is no {_named(workload_path if workload is None else service_path)}")
        around = (namespace, preview.meta.namespace)
        selectors = [dict(one.selector) for key, one in self._world.services.items() if key.partition("/")[0] in around]
        copied = await visit.along(workload)
        wanted = (
            (SERVICES, service_of(preview, service, workload, selectors)),
            (WORKLOADS[workload["kind"]], workload_of(preview, copied, selectors)),
            # Last, because with it requests go to the copy.
            (path_of(HTTP_SCALED_OBJECTS), scaled_object_of(preview, base)),
        )
        there = [await find(self._api, path.path(namespace, preview.copy)) for path, _ in wanted]
        for found, (path, _) in zip(there, wanted, strict=True):
            if found is not None and is_left_behind(found, preview):
                return Outcome(
                    REPLACING, f"{path.plural} {namespace}/{preview.copy} of an earlier Preview is still being deleted"
                )
            if found is not None and not is_owned(found, preview):
                return Outcome(NAME_TAKEN, f"{path.plural} {namespace}/{preview.copy} exists and is not of this Preview")
        account = _account_of(workload)
        jobs = jobs_before(preview, account)
        await self._ending.prepare(preview, account)
        hooks = await run_hooks(self._api, preview, jobs)
        if isinstance(hooks, Outcome):
            return msgspec.structs.replace(hooks, base=base)
        kind = workload["kind"]
        former = None if there[1] is not None else await self._of_another_kind(preview, kind)
        if not (_is_pinned(preview) and there[0] and (there[1] or former) and there[2]):
            if former is not None:
                await self._replace(*former, f"the workload of the base is a {kind}")
            await visit.write()
            for found, (path, manifest) in zip(there, wanted, strict=True):
                await self._apply(path, manifest, found)
            await visit.prune(kind)
        await self._companions.keep(preview)
        copy = self._world.get(Key(HTTP_SCALED_OBJECTS.kind, namespace, preview.copy))
        return Outcome(MADE, "everything was made", base=base, copy=copy, hooks_done=hooks, placed=visit.placed)

    async def _of_another_kind(self, preview: Preview, kind: str) -> tuple[Path, Json] | None:
        """The copy that was made when the workload of the base was of another kind."""
        for other, path in WORKLOADS.items():
            found = None if other == kind else await find(self._api, path.path(preview.place, preview.copy))
            if found is not None and is_owned(found, preview):
                return path, found
        return None

    async def _apply(self, path: Path, manifest: Json, found: Json | None) -> None:
        """Raises ApiError and _ReplacedError."""
        digest = hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()[:DIGEST]
        before = None if found is None else (found["metadata"].get("annotations") or {}).get(MADE_OF)
        if before == digest:
            return
        if found is not None and "deletionTimestamp" in found["metadata"]:
            raise _ReplacedError(f"{path.plural} {manifest['metadata']['name']} is being deleted, and made anew when it is gone")
        whole = {**manifest, "metadata": {**manifest["metadata"], "annotations": {MADE_OF: digest}}}
        if before is None and path in WORKLOADS.values():
            found = await self._begin_at_zero(path, manifest, found)
        try:
            await self._patch(path, whole, _MANAGER, found)
        except ApiError as error:
            if found is None or error.status != _INVALID or not any(words in str(error) for words in _UNCHANGEABLE):
                raise
            await self._replace(path, found, str(error))

    async def _begin_at_zero(self, path: Path, manifest: Json, found: Json | None) -> Json:
        """A workload begins without replicas, and their number is KEDA's afterwards. It is said by a field manager of its own: if
        that which says all else stopped saying it, the API server would take the default, which is 1. Returns the workload."""
        if found is None:
            found = await self._patch(path, {**manifest, "spec": {**manifest["spec"], "replicas": 0}}, _MANAGER, None)
        metadata = {name: manifest["metadata"][name] for name in ("name", "namespace")}
        scale = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": metadata, "spec": {"replicas": 0}}
        return await self._patch(path, scale, _SCALE_MANAGER, found)

    async def _patch(self, path: Path, body: Json, manager: tuple[str, str], found: Json | None) -> Json:
        """Apply this to the version that was `found`. What is not there yet is made; if another has made one of this name
        meanwhile, the API server refuses that, as nothing is forced. Raises ApiError."""
        metadata, query = body["metadata"], [manager]
        if found is not None:
            metadata = {**metadata, "resourceVersion": found["metadata"]["resourceVersion"]}
            query.append(("force", "true"))
        at, whole = path.path(metadata["namespace"], metadata["name"]), {**body, "metadata": metadata}
        answer = await self._api.request("PATCH", at, query=query, body=whole, content_type=_APPLY)
        made: Json = msgspec.json.decode(answer)
        return made

    async def _replace(self, path: Path, found: Json, why: str) -> NoReturn:
        """Delete what cannot be changed into what it has to be. Raises ApiError and _ReplacedError."""
        meta = found["metadata"]
        if "deletionTimestamp" not in meta:
            at = path.path(meta["namespace"], meta["name"])
            await delete(self._api, at, meta["uid"], meta["resourceVersion"])
        raise _ReplacedError(f"{path.plural} {meta['name']} is deleted, and made anew: {why}")

    async def _end(self, preview: Preview) -> None:
        """Its time is over, if that is so of what the API server has now: the watch may be behind, and this leader deposed."""
        path = path_of(preview.kind).path(preview.meta.namespace)
        listed = await self._api.get(path, [("fieldSelector", f"metadata.name={preview.meta.name}")])
        items = msgspec.json.decode(listed, type=_Listed).items
        now = parse_preview(items[0]) if items else None
        if now is None or now.meta.uid != preview.meta.uid or now.meta.deleting:
            return
        self._later(preview.key, SOON_SECONDS)
        if life_of(now, await self._last_active(now)).left(self._wall()) != 0 or not self._leads():
            return
        try:
            await delete(self._api, f"{path}/{preview.meta.name}", now.meta.uid, now.version)
        except ApiError as error:
            if error.status != CHANGED:
                raise
            return
        self._recorder.tell(preview, Notice("Expired", "its time to live is over: it is deleted, with all that was made for it"))

    async def _tell(self, preview: Preview, life: Life, outcome: Outcome) -> None:
        status = status_of(preview, life, outcome, self._wall())
        if status == preview.status:
            return
        body = {"metadata": {"uid": preview.meta.uid}, "status": changes_of(preview.status, status)}
        path = path_of(preview.kind).path(preview.meta.namespace, preview.meta.name)
        try:
            await self._api.request("PATCH", f"{path}/status", query=[_MANAGER], body=body, content_type=MERGE)
        except ApiError as error:
            if error.status not in (404, CHANGED):
                raise

    async def _last_active(self, preview: Preview) -> float | None:
        """When KEDA last saw the copy active; None if it does not say."""
        if preview.problem is not None or not preview.is_placed:
            return None
        try:
            data = await self._api.get(SCALED_OBJECTS.path(preview.place, preview.copy))
            return read_time(msgspec.json.decode(data, type=_ScaledObject).status.last_active_time)
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        except msgspec.ValidationError:
            return None


def paths_of(base: Resource) -> tuple[str, str]:
    """The workload and the Service of a base. Raises Problem."""
    if not isinstance(base.spec, HTTPScaledObjectSpec):
        raise Problem("spec.base", f"{base.key} is not valid: {base.problem}")
    if base.problem is not None:
        raise Problem("spec.base", f"{base.key} is not valid: {base.problem}")
    target = base.spec.scale_target_ref
    if base.spec.preview_of is not None:
        raise Problem("spec.base", f"{base.key} is a preview itself")
    if not target.name or target.service is None:
        raise Problem("spec.base", f"{base.key} names no workload and Service that could be copied")
    for name in (target.name, target.service):
        if not is_name(name):
            raise Problem("spec.base", f"{base.key} names a workload or Service that no object can be called: {name!r}")
    kind = target.kind or KINDS[0]
    path = WORKLOADS.get(kind)
    if path is None:
        raise Problem("spec.base", f"its workload is a {kind}, and only Deployments and StatefulSets can be copied")
    namespace = base.meta.namespace
    return path.path(namespace, target.name), SERVICES.path(namespace, target.service)


def _account_of(workload: Json) -> str:
    pod = workload.get("spec", {}).get("template", {}).get("spec", {})
    return str(pod.get("serviceAccountName") or pod.get("serviceAccount") or "")


def _named(path: str) -> str:
    """ "deployments web" of the path of an object."""
    return " ".join(path.split("/")[-2:])


def _is_pinned(preview: Preview) -> bool:
    """Whether what was made stays as it is. A change of the Preview itself makes it anew, of the base as it is then."""
    pinned = preview.spec is not None and preview.spec.pinned
    return pinned and preview.status.observed_generation == preview.meta.generation
