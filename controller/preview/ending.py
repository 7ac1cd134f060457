"""Ends a Preview that is deleted: takes its copy away, runs its hooks after, each once, and lets it go.

Level-triggered, as `Maker` is, and by what the API server has now: the watch may be behind, and what has ended is not to run
again. After its time-out a Preview is let go, whatever has failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from time import time

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS
from controller.events import EventRecorder, Notice
from controller.preview.hooks import MAX_WHY, outcome_of
from controller.preview.manifests import Json, after_job_of, is_after_job, is_owned, job_of
from controller.preview.objects import BACKGROUND, CHANGED, FOREGROUND, JOBS, MERGE, WORKLOADS, delete, find
from controller.preview.resource import FINALIZER, Preview, parse_preview
from controller.preview.telling import AFTER_DONE, AFTER_FAILED, AFTER_TIMED_OUT, changes_of, ending_status, failures
from controller.problem import Problem
from controller.resources import Key
from controller.schema.preview import Hook
from controller.world import path_of
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["AFTER_RUNNING", "ENDING", "Ending", "release"]

ENDING, AFTER_RUNNING = "Ending", "AfterHookRunning"
COPY_SHARE = 0.5
"""Of the time-out: for so long hooks after wait until nothing of the copy runs. Then they run all the same."""
ORPHAN = "orphan"
"""Finalizer of what is deleted without what belongs to it."""
NAMESPACE_ENDS = "NamespaceTerminating"
"""Cause of a refusal: nothing is made in a namespace that is deleted."""
MAX_CHANGES = 10
"""How often in a row a Job may change before it can be deleted."""
_HOPELESS = (400, 422)
_MANAGER = ("fieldManager", "weir-previews")

_log = logging.getLogger(__name__)


class _GoneError(Exception):
    """There is nothing (more) to do for this process."""


class _NamespaceError(Exception):
    """Nothing can be made in the namespace any more."""


class Ending:
    """`later` is called with a Preview to look at again, and in how many seconds; `leads` says whether this process may still
    write. `wall` is in seconds since the epoch."""

    def __init__(
        self,
        api: Api,
        recorder: EventRecorder,
        *,
        later: Callable[[Key, float], None],
        leads: Callable[[], bool] = lambda: True,
        wall: Callable[[], float] = time,
    ) -> None:
        self._api = api
        self._recorder = recorder
        self._later = later
        self._leads = leads
        self._wall = wall

    async def prepare(self, preview: Preview, account: str) -> None:
        """See, before anything is made for it, that its hooks after will run, and as whom: the base may be gone by then. Raises
        Problem and ApiError."""
        if not preview.after:
            if preview.is_held:
                await release(self._api, preview)
            return
        for hook in preview.after:
            after_job_of(preview, hook, account)
        if preview.status.account != account:
            preview = await self._patch(preview, {"status": {"account": account or None}}, "/status")
        if preview.is_held:
            return
        if preview.meta.deleting:
            raise ApiError(f"{preview.key} is being deleted", status=CHANGED)
        finalizers = [*(preview.meta.finalizers or ()), FINALIZER]
        await self._patch(preview, {"metadata": {"resourceVersion": preview.version, "finalizers": finalizers}})

    async def look(self, seen: Preview) -> tuple[str, str] | None:
        """Do what is due for one that is being deleted. Returns what it waits for, as a reason and a message; None if for
        nothing. Raises ApiError."""
        if not seen.is_held:
            return None
        if (left := self._left(seen)) > 0:
            self._later(seen.key, left)
        try:
            preview = await self._now(seen)
            return await self._end(preview)
        except _GoneError:
            return None

    def _left(self, preview: Preview) -> float:
        return preview.meta.deleted + preview.after_timeout - self._wall()

    async def _now(self, seen: Preview) -> Preview:
        """As the API server has it. Raises _GoneError."""
        found = await find(self._api, path_of(seen.kind).path(seen.meta.namespace, seen.meta.name))
        now = None if found is None else parse_preview(msgspec.json.encode(found))
        if now is None or now.meta.uid != seen.meta.uid or not now.is_held or not now.meta.deleting:
            raise _GoneError
        return now

    async def _end(self, preview: Preview) -> tuple[str, str] | None:
        done, failed = [*preview.status.after_done], dict(preview.status.after_failed)
        left = [hook for hook in preview.after if hook.name not in done and hook.name not in failed]
        reason, message = "", ""
        if left and self._left(preview) <= 0:
            reason, message = AFTER_TIMED_OUT, _timed_out(left, failed, preview.after_timeout)
        elif left:
            try:
                pending = await self._run(preview, left, done, failed)
            except _NamespaceError:
                _log.info("%s: its namespace is deleted, so its hooks after do not run", preview.key)
                await self._let_go(preview)
                return None
            except ApiError as error:
                if error.status != CHANGED:
                    await self._tell(preview, "Refused", str(error), done, failed)
                raise
            if pending is not None:
                await self._tell(preview, *pending, done, failed)
                return pending
        if not reason:
            reason, message = (
                (AFTER_FAILED, failures(failed)) if failed else (AFTER_DONE, f"{_named(preview.after)} have succeeded")
            )
        if preview.after:
            preview = await self._tell(preview, reason, message, done, failed)
            await self._delete_jobs(preview)
            self._recorder.tell(preview, Notice(reason, message, warning=reason != AFTER_DONE))
        await self._let_go(preview)
        return None

    async def _run(
        self, preview: Preview, hooks: Sequence[Hook], done: list[str], failed: dict[str, str]
    ) -> tuple[str, str] | None:
        """What is waited for; None once all have ended."""
        if ORPHAN not in (preview.meta.finalizers or ()) and self._may_wait(preview) and await self._stop_copy(preview):
            return ENDING, f"{_named(hooks)}: when nothing of its copy runs any more"
        for hook in hooks:
            outcome = await self._hook(preview, hook)
            if outcome is None:
                return AFTER_RUNNING, f"hook {hook.name} has not ended yet"
            if outcome:
                failed[hook.name] = outcome[:MAX_WHY]
            else:
                done.append(hook.name)
        return None

    def _may_wait(self, preview: Preview) -> bool:
        return self._left(preview) > (1 - COPY_SHARE) * preview.after_timeout

    async def _stop_copy(self, preview: Preview) -> bool:
        """Take the requests from the copy, and delete what runs of it: nothing uses any more what hooks after remove, and nothing
        makes it anew. Returns whether some of that still runs. Kubernetes deletes the rest after the Preview."""
        namespace = preview.meta.namespace
        await self._is_there(path_of(HTTP_SCALED_OBJECTS).path(preview.place, preview.copy), preview, BACKGROUND)
        paths = [path.path(preview.place, preview.copy) for path in WORKLOADS.values()]
        there = [await self._is_there(path, preview, FOREGROUND) for path in paths]
        for hook in () if preview.spec is None else preview.spec.before or ():
            try:
                name = job_of(preview, hook, preview.status.account)["metadata"]["name"]
            except Problem:  # it has not been made
                continue
            there.append(
                await self._is_there(JOBS.path(namespace, name), preview, FOREGROUND, lambda job: outcome_of(job) is None)
            )
        return any(there)

    async def _is_there(
        self, path: str, preview: Preview, policy: str, is_meant: Callable[[Json], bool] = lambda _: True
    ) -> bool:
        """Whether an object of this Preview is there, which is deleted then."""
        found = await find(self._api, path)
        if found is None or not is_owned(found, preview) or not is_meant(found):
            return False
        if "deletionTimestamp" not in found["metadata"]:
            self._check_leads()
            await delete(self._api, path, found["metadata"]["uid"], found["metadata"]["resourceVersion"], policy)
        return True

    async def _hook(self, preview: Preview, hook: Hook) -> str | None:
        """As `outcome_of`, of the Job of a hook, which is made if it is not there. Raises ApiError and _NamespaceError."""
        try:
            manifest = after_job_of(preview, hook, preview.status.account)
        except Problem as problem:
            return str(problem)
        namespace, name = preview.meta.namespace, manifest["metadata"]["name"]
        found = await find(self._api, JOBS.path(namespace, name))
        if found is not None:
            return outcome_of(found) if is_after_job(found, preview) else f"Job {name} exists and is not of this Preview"
        self._check_leads()
        try:
            await self._api.request("POST", JOBS.path(namespace), body=manifest)
        except ApiError as error:
            if NAMESPACE_ENDS in error.causes:
                raise _NamespaceError from error
            if error.status in _HOPELESS:
                return str(error)
            raise
        return None

    async def _delete_jobs(self, preview: Preview) -> None:
        """Delete the Jobs of all hooks after. When the time is over, what cannot be deleted is left, and goes by itself."""
        namespace = preview.meta.namespace
        for hook in preview.after:
            try:
                name = after_job_of(preview, hook, preview.status.account)["metadata"]["name"]
                await self._delete_job(JOBS.path(namespace, name), preview)
            except Problem:  # it has not been made
                continue
            except ApiError as error:
                if self._left(preview) > 0:
                    raise
                _log.warning("%s: the Job of hook %s is left: %s", preview.key, hook.name, error)

    async def _delete_job(self, path: str, preview: Preview) -> None:
        """Raises ApiError. A Job changes at any time, above all at the end of its own time, which is that of all hooks."""
        for last in (False,) * MAX_CHANGES + (True,):
            found = await find(self._api, path)
            if found is None or not is_after_job(found, preview) or "deletionTimestamp" in found["metadata"]:
                return
            self._check_leads()
            try:
                await delete(self._api, path, found["metadata"]["uid"], found["metadata"]["resourceVersion"])
            except ApiError as error:
                if last or error.status != CHANGED:
                    raise

    async def _tell(self, preview: Preview, reason: str, message: str, done: Sequence[str], failed: Mapping[str, str]) -> Preview:
        """Write the status; returns the Preview with it."""
        status = ending_status(preview, reason, message, self._wall(), done=done, failed=failed)
        if status == preview.status:
            return preview
        self._check_leads()
        return await self._patch(preview, {"status": changes_of(preview.status, status)}, "/status")

    async def _let_go(self, preview: Preview) -> None:
        self._check_leads()
        await release(self._api, preview)

    async def _patch(self, preview: Preview, body: Json, subresource: str = "") -> Preview:
        """The Preview after a merge patch. Raises ApiError."""
        path = path_of(preview.kind).path(preview.meta.namespace, preview.meta.name)
        whole = {**body, "metadata": {**body.get("metadata", {}), "uid": preview.meta.uid}}
        found = await self._api.request("PATCH", f"{path}{subresource}", query=[_MANAGER], body=whole, content_type=MERGE)
        return parse_preview(found)

    def _check_leads(self) -> None:
        """Raises _GoneError."""
        if not self._leads():
            raise _GoneError


async def release(api: Api, preview: Preview) -> None:
    """Take our finalizer from this version of a Preview. Raises ApiError; one that is gone is no error."""
    kept = [name for name in preview.meta.finalizers or () if name != FINALIZER]
    metadata = {"uid": preview.meta.uid, "resourceVersion": preview.version, "finalizers": kept or None}
    path = path_of(preview.kind).path(preview.meta.namespace, preview.meta.name)
    try:
        await api.request("PATCH", path, query=[_MANAGER], body={"metadata": metadata}, content_type=MERGE)
    except ApiError as error:
        if error.status != 404:
            raise


def _named(hooks: Sequence[Hook]) -> str:
    return f"hook{'s' * (len(hooks) > 1)} {', '.join(hook.name for hook in hooks)}"


def _timed_out(left: Sequence[Hook], failed: Mapping[str, str], seconds: float) -> str:
    first, *others = left
    parts = [f"hook {first.name} has not ended within {seconds:g} s of the deletion"]
    parts += [f"{_named(others)} did not run"] if others else []
    return "; ".join([*parts, *([failures(failed)] if failed else [])])
