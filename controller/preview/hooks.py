"""Runs the hooks before a copy is made: each a Job, one after the other, and each once. Level-triggered, as `Maker` is.

A Job that has succeeded is in the status, and is not made again when it is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from controller.preview.manifests import Json, is_owned, job_of
from controller.preview.objects import JOBS, find
from controller.preview.resource import Preview
from controller.preview.telling import Outcome
from controller.schema.preview import Hook
from fleet.discovery.kubernetes.client import Api

__all__ = ["HOOK_RUNNING", "MAX_WHY", "NAME_TAKEN", "jobs_before", "outcome_of", "run_hooks"]

HOOK_RUNNING, NAME_TAKEN = "HookRunning", "NameTaken"
MAX_WHY = 500
"""Characters of the message of a Job that the status repeats."""


def jobs_before(preview: Preview, account: str) -> list[tuple[Hook, Json]]:
    """The hooks before that have not succeeded yet, and their Jobs. `account` is the ServiceAccount of the base's pods. Raises
    Problem."""
    hooks = () if preview.spec is None else preview.spec.before or ()
    return [(hook, job_of(preview, hook, account)) for hook in hooks if hook.name not in preview.status.hooks_done]


async def run_hooks(api: Api, preview: Preview, jobs: Sequence[tuple[Hook, Json]]) -> Outcome | tuple[str, ...]:
    """The names of all hooks once they have succeeded, or why the copy is not made yet. Raises ApiError."""
    done = [*preview.status.hooks_done]
    for hook, manifest in jobs:
        found = await _run(api, manifest)
        if not is_owned(found, preview):
            why = f"Job {manifest['metadata']['name']} exists and is not of this Preview"
            return Outcome(NAME_TAKEN, why, hooks_done=tuple(done))
        outcome = outcome_of(found)
        if outcome is None:
            return Outcome(HOOK_RUNNING, f"hook {hook.name} has not ended yet", hooks_done=tuple(done))
        if outcome:
            return Outcome("HookFailed", f"hook {hook.name}: {outcome[:MAX_WHY]}", hooks_done=tuple(done))
        done.append(hook.name)
    return tuple(done)


async def _run(api: Api, manifest: Json) -> Json:
    """The Job, which is made if it is not there."""
    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    found = await find(api, JOBS.path(namespace, name))
    if found is None:
        found = msgspec.json.decode(await api.request("POST", JOBS.path(namespace), body=manifest), type=dict[str, Any])
    return found


def outcome_of(job: Json) -> str | None:
    """ "" for a Job that has succeeded, why it has failed, or None while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            failed = condition["type"] == "Failed"
            return str(condition.get("message") or condition.get("reason") or "it has failed") if failed else ""
    return None
