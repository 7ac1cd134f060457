"""Hooks that run when a Preview is deleted: their order, their time, their failures, and what others do meanwhile."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from controller.preview.life import write_time
from controller.preview.manifests import UID_LABEL
from controller.preview.resource import AFTER_TIMEOUT, FINALIZER
from fleet.discovery.kubernetes.client import ApiError
from tests.unit.controller.preview.lives import (
    AFTER,
    BEFORE,
    COPY,
    F1,
    JOBS,
    PREVIEWS,
    Cluster,
    Process,
    conditions,
    hook,
    made,
    parsed,
    process,
    server,
    world_of,
)

__all__ = ["process", "server"]  # the fixtures


# -- order, once, and what fails ----------------------------------------------------------------------------------------------


async def test_one_after_the_other_when_nothing_of_the_copy_runs_any_more(server: Cluster, process: Process) -> None:
    await made(server, process)
    uid = server.objects[F1]["metadata"]["uid"]
    server.stuck = True
    server.outcomes.update(database=None)
    await server.delete()
    await process.look()
    assert COPY[2] not in server.objects, "no request reaches it any more"
    assert "deletionTimestamp" in server.objects[COPY[1]]["metadata"]
    ready = conditions(server)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "Ending")
    assert ready["message"] == "hooks database, queue: when nothing of its copy runs any more"
    server.turn()
    await process.look()
    assert server.after_jobs() == [], "its pods run"
    server.stuck = False
    server.turn()
    await process.live()
    assert server.after_jobs() == ["database"]
    assert conditions(server)["Ready"]["reason"] == conditions(server)["AfterHooks"]["reason"] == "AfterHookRunning"
    assert conditions(server)["AfterHooks"]["status"] == "Unknown"
    (path,) = [at for at in server.objects if at.startswith(JOBS) and at.count("-") == 4]
    job = server.objects[path]
    assert "ownerReferences" not in job["metadata"], "in the foreground it would be deleted with the copy"
    assert job["metadata"]["labels"][UID_LABEL] == uid
    assert (job["spec"]["ttlSecondsAfterFinished"], job["spec"]["activeDeadlineSeconds"]) == (600, 600)
    assert COPY[0] in server.objects, "the rest goes after the Preview"
    server.outcomes.clear()
    await process.live()
    assert F1 not in server.objects
    assert server.after_jobs() == ["database", "queue"]
    assert process.events == [("AfterHooksDone", "hooks database, queue have succeeded")]


async def test_a_hook_that_fails_is_told_and_the_rest_still_happens(server: Cluster, process: Process) -> None:
    await made(server, process, after=[*AFTER, hook("bucket")])
    server.outcomes.update(database="no such host", queue=None)
    await server.delete()
    await process.live()
    after = conditions(server)["AfterHooks"]
    assert (after["status"], after["reason"]) == ("False", "AfterHookFailed")
    assert after["message"] == "hook database: no such host"
    assert conditions(server)["Ready"]["message"] == "hook queue has not ended yet"
    server.outcomes.update(queue="no broker")
    await process.live()
    assert (F1 in server.objects, server.jobs()) == (False, [])
    assert server.after_jobs() == ["database", "queue", "bucket"]
    assert server.last["status"]["afterDone"] == ["bucket"]
    assert server.last["status"]["afterFailed"] == {"database": "no such host", "queue": "no broker"}
    assert process.events == [("AfterHookFailed", "hook database: no such host; hook queue: no broker")]
    assert conditions(server)["AfterHooks"]["message"] == process.events[0][1]


async def test_a_job_that_is_deleted_by_hand_runs_again(server: Cluster, process: Process) -> None:
    server.outcomes.update(database=None)
    await made(server, process)
    await server.delete()
    await process.live()
    (name,) = [name for name in server.jobs() if "database" in name]
    server.drop(f"{JOBS}/{name}")
    server.outcomes.clear()
    await process.live()
    assert server.after_jobs() == ["database", "database", "queue"]
    assert F1 not in server.objects


async def test_what_has_ended_does_not_run_again_when_its_job_is_gone(server: Cluster, process: Process) -> None:
    server.outcomes.update(queue=None)
    await made(server, process)
    await server.delete()
    await process.live()
    assert server.last["status"]["afterDone"] == ["database"]
    for name in server.jobs():
        if "database" in name:
            server.drop(f"{JOBS}/{name}")
    server.outcomes.clear()
    stale = parsed(server.objects[F1])
    await process.live()
    assert server.after_jobs() == ["database", "queue"]
    before = len(server.writes)
    await process.maker.reconcile(stale)
    assert len(server.writes) == before, "the watch is behind: it is gone by now"


async def test_a_hook_before_that_still_runs_is_stopped_first(server: Cluster, process: Process) -> None:
    server.outcomes.update(make=None)
    server.preview(before=BEFORE, after=AFTER)
    await process.live()
    assert server.jobs() == ["web--f1-make"]
    await server.delete()
    await process.look()
    ((path, body),) = [(path, body) for method, path, body in server.writes if method == "DELETE" and JOBS in path]
    assert (path, body["propagationPolicy"]) == (f"{JOBS}/web--f1-make", "Foreground")
    assert server.after_jobs() == []
    await process.live()
    assert server.after_jobs() == ["database", "queue"]


# -- the time is over ---------------------------------------------------------------------------------------------------------


async def test_the_time_counts_from_the_deletion_also_over_a_restart(server: Cluster, process: Process) -> None:
    server.outcomes.update(queue=None, database="no host")
    await made(server, process, after=[*AFTER, hook("bucket")], afterTimeout="90s")
    await server.delete()
    await process.live()
    assert max(process.later) <= 300, "it is looked at again when the time is over at the latest"
    assert any(80 < seconds <= 90 for seconds in process.later)
    async with world_of(server) as world:
        other = Process(server, world)
        other.late = 85
        await other.live()
        assert F1 in server.objects
        other.late = 91
        await other.look()
    assert (F1 in server.objects, server.jobs()) == (False, [])
    assert server.after_jobs() == ["database", "queue"]
    message = "hook queue has not ended within 90 s of the deletion; hook bucket did not run; hook database: no host"
    assert other.events == [("AfterHookTimedOut", message)]
    assert conditions(server)["AfterHooks"] | {"status": "False", "message": message} == conditions(server)["AfterHooks"]


async def test_a_job_that_changes_while_it_is_deleted_is_deleted(server: Cluster, process: Process) -> None:
    """As its own time is over at the same moment. Nobody deletes it later."""
    await made(server, process)
    server.outcomes.update(database=None)
    await server.delete()
    await process.live()
    assert server.after_jobs() == ["database"]
    changed = iter([ApiError("the object has been modified", status=409)] * 3)
    server.refuse = lambda method, path: next(changed, None) if method == "DELETE" and path.startswith(JOBS) else None
    process.late = AFTER_TIMEOUT + 1
    await process.live()
    assert F1 not in server.objects
    assert server.jobs() == []
    assert next(changed, None) is None


async def test_pods_that_do_not_end_take_half_of_the_time(server: Cluster, process: Process) -> None:
    await made(server, process)
    server.stuck = True
    await server.delete()
    process.late = AFTER_TIMEOUT / 2 - 10
    await process.live()
    assert server.after_jobs() == []
    process.late = AFTER_TIMEOUT / 2 + 10
    await process.live()
    assert server.after_jobs() == ["database", "queue"]
    assert F1 not in server.objects


@pytest.mark.parametrize("refused", [("GET", JOBS), ("POST", JOBS), ("GET", COPY[1])])
async def test_an_api_server_that_refuses_holds_nothing_for_ever(
    server: Cluster, process: Process, refused: tuple[str, str]
) -> None:
    await made(server, process)
    await server.delete()
    server.refuse = lambda method, path: (
        ApiError("may not", status=403) if method == refused[0] and path.startswith(refused[1]) else None
    )
    refusals = 0
    for _ in range(3):
        try:
            await process.look()
        except ApiError:
            refusals += 1
        server.turn()
    assert refusals
    assert (conditions(server)["Ready"]["reason"], conditions(server)["Ready"]["message"]) == ("Refused", "may not")
    process.late = AFTER_TIMEOUT + 2
    await process.look()
    assert F1 not in server.objects
    assert [reason for reason, _ in process.events] == ["AfterHookTimedOut"]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_job_that_can_never_be_made_has_failed(server: Cluster, process: Process, status: int) -> None:
    await made(server, process)
    await server.delete()
    server.refuse = lambda method, path: ApiError("no image", status=status) if (method, path) == ("POST", JOBS) else None
    while F1 in server.objects:
        await process.look()
        server.turn()
    assert process.events == [("AfterHookFailed", "hook database: no image; hook queue: no image")]


async def test_in_a_namespace_that_is_deleted_it_is_let_go_at_once(server: Cluster, process: Process) -> None:
    await made(server, process)
    await server.delete()
    ending = ApiError("because it is being terminated", status=403, causes=("NamespaceTerminating",))
    server.refuse = lambda method, path: ending if method == "POST" else None
    await process.live()
    assert F1 not in server.objects
    assert (process.events, server.posted[1:]) == ([], [])


# -- the finalizer ------------------------------------------------------------------------------------------------------------


async def test_the_finalizer_comes_before_anything_is_made_and_goes_with_the_hooks(server: Cluster, process: Process) -> None:
    server.preview(before=BEFORE, after=AFTER)
    server.put(F1, metadata={"finalizers": ["example.com/other"]})
    await process.live()
    written = [path for method, path, _ in server.writes if method in ("POST", "PATCH")]
    assert written[:3] == [f"{F1}/status", F1, JOBS], "the account, the finalizer, the first hook"
    guard = next(body for method, path, body in server.writes if path == F1)
    assert guard["metadata"]["resourceVersion"]
    assert guard["metadata"]["uid"] == server.objects[F1]["metadata"]["uid"]
    assert server.objects[F1]["metadata"]["finalizers"] == ["example.com/other", FINALIZER]
    assert server.objects[F1]["status"]["account"] == "web"
    server.preview(before=BEFORE)
    await process.live()
    assert server.objects[F1]["metadata"]["finalizers"] == ["example.com/other"]
    server.preview(before=BEFORE, after=AFTER)
    await process.live()
    await server.delete()
    await process.live()
    assert server.objects[F1]["metadata"]["finalizers"] == ["example.com/other"], "of others is kept"
    assert server.after_jobs() == ["database", "queue"]
    assert conditions(server)["AfterHooks"]["status"] == "True"
    before = len(server.writes)
    await process.look()
    assert len(server.writes) == before


@pytest.mark.parametrize("after", [AFTER, []])
async def test_a_finalizer_that_others_add_at_the_same_time_is_kept(
    server: Cluster, process: Process, after: list[dict[str, Any]]
) -> None:
    server.preview(after=[] if after else AFTER)
    await process.live()
    server.preview(after=after)
    others = [1]

    def meddle(method: str, path: str) -> None:
        if (method, path) == ("PATCH", F1) and others:
            others.pop()
            server.put(
                F1, metadata={"finalizers": [*(server.objects[F1]["metadata"].get("finalizers") or ()), "example.com/other"]}
            )

    server.refuse = meddle
    with pytest.raises(ApiError, match="has been modified"):
        await process.look()
    await process.live()
    assert set(server.objects[F1]["metadata"]["finalizers"]) == {"example.com/other", *([FINALIZER] if after else [])}


async def test_one_that_is_being_deleted_gets_no_finalizer(server: Cluster, process: Process) -> None:
    server.preview(after=AFTER)
    stale = parsed(server.put(F1, metadata={"finalizers": ["example.com/other"]}))
    await server.delete()
    with pytest.raises(ApiError):
        await process.maker.reconcile(stale)
    assert server.objects[F1]["metadata"]["finalizers"] == ["example.com/other"]
    assert server.posted == []
    assert not any(path in server.objects for path in COPY)


@pytest.mark.parametrize("spec", [{"base": "none"}, {"ttl": "999999999h"}, {"after": [{"name": "x", "job": {}}]}])
async def test_nothing_begun_needs_no_hooks(server: Cluster, process: Process, spec: dict[str, Any]) -> None:
    server.preview(**{"after": AFTER, **spec})
    await process.live()
    assert not server.objects[F1]["metadata"].get("finalizers")
    await server.delete()
    assert (F1 in server.objects, server.posted) == (False, [])


async def test_hooks_that_are_removed_while_it_is_deleted_do_not_run(server: Cluster, process: Process) -> None:
    server.outcomes.update(database=None)
    await made(server, process)
    await server.delete()
    await process.live()
    server.put(F1, spec={"base": "web"})
    await process.live()
    assert F1 not in server.objects
    assert server.after_jobs() == ["database"]


async def test_a_hook_that_could_not_run_at_the_end_is_refused_at_the_beginning(server: Cluster, process: Process) -> None:
    for field in ("before", "after"):
        server.preview("f1", **{field: [hook("database"), hook("queue", serviceAccountName="root")]})
        await process.live()
        ready = conditions(server)["Ready"]
        message = f"spec.{field}: hook queue may not have another serviceAccountName than the base"
        assert (ready["reason"], ready["message"]) == ("CannotBeCopied", message)
        assert not any(path in server.objects for path in COPY)
        assert server.posted == []
        assert not server.objects[F1]["metadata"].get("finalizers")
    server.preview(after=AFTER)
    await process.live()
    server.preview(after=[hook("database", serviceAccountName="root"), hook("queue")])
    await server.delete()
    await process.live()
    assert server.after_jobs() == ["queue"]
    reason = "spec.after: hook database may not have another serviceAccountName than the base"
    assert process.events == [("AfterHookFailed", f"hook database: {reason}")]


@pytest.mark.parametrize("policy", ["Foreground", "Orphan", "Background"])
async def test_each_way_of_deletion(server: Cluster, process: Process, policy: str) -> None:
    await made(server, process, after=[hook("database", serviceAccountName="web"), hook("queue")])
    server.drop_base()
    await server.delete(policy)
    if policy == "Foreground":
        assert not any(path in server.objects for path in COPY), "at once, by Kubernetes"
        assert F1 in server.objects
    await process.live()
    assert F1 not in server.objects
    assert server.after_jobs() == ["database", "queue"]
    assert [path in server.objects for path in COPY] == [policy == "Orphan"] * 3
    if policy == "Orphan":
        assert "deletionTimestamp" not in server.objects[COPY[1]]["metadata"]
    assert process.events == [("AfterHooksDone", "hooks database, queue have succeeded")]


async def test_an_orphaned_copy_is_left_also_before_kubernetes_has_let_it_go(server: Cluster, process: Process) -> None:
    await made(server, process)
    server.put(F1, metadata={"deletionTimestamp": write_time(time.time()), "finalizers": [FINALIZER, "orphan"]})
    await process.look()
    assert all(path in server.objects for path in COPY)
    assert server.after_jobs() == ["database"]


# -- others -------------------------------------------------------------------------------------------------------------------


async def test_one_of_the_same_name_made_at_once_is_another(server: Cluster, process: Process) -> None:
    """Somebody has taken the finalizer off by hand, and made it anew."""
    server.outcomes.update(database=None)
    await made(server, process)
    await server.delete()
    await process.live()
    old = parsed(server.objects[F1])
    (job,) = [name for name in server.jobs() if "database" in name]
    server.put(F1, metadata={"finalizers": []})
    server.drop(F1)
    server.collect()
    server.outcomes.clear()
    await made(server, process)
    before = len(server.writes)
    await process.maker.reconcile(old)
    assert len(server.writes) == before, "nothing is done to the new one"
    await server.delete()
    await process.live()
    assert F1 not in server.objects
    assert server.after_jobs() == ["database", "database", "queue"]
    assert server.jobs() == [job], "the Job of the former one is not taken for its own: Kubernetes deletes it in time"


async def test_another_preview_of_the_name_waits_for_it(server: Cluster, process: Process) -> None:
    server.outcomes.update(database=None)
    await made(server, process)
    await server.delete()
    await process.live()
    server.preview("second", name="f1")
    await process.look(f"{PREVIEWS}/second")
    status = server.objects[f"{PREVIEWS}/second"]["status"]
    assert status["conditions"][0]["reason"] in ("NameTaken", "Replacing")
    server.outcomes.clear()
    await process.live()
    await process.look(f"{PREVIEWS}/second")
    assert server.objects[COPY[1]]["metadata"]["ownerReferences"][0]["name"] == "second"


async def test_what_others_have_put_in_the_way_is_not_touched(server: Cluster, process: Process) -> None:
    await made(server, process)
    await server.delete()
    for path in COPY[1:]:
        server.put(path, metadata={"ownerReferences": []})
    await process.look()
    (job,) = [path for path in server.objects if path.startswith(JOBS) and "database" in path]
    server.put(job, metadata={"labels": {}})
    await process.live()
    assert all(path in server.objects for path in COPY[1:])
    assert process.events[0][1] == f"hook database: Job {job.rpartition('/')[2]} exists and is not of this Preview"
    assert job in server.objects


async def test_a_leader_that_is_deposed_writes_nothing(server: Cluster, process: Process) -> None:
    await made(server, process)
    await server.delete()
    requests = itertools.count(1)

    def depose(method: str, path: str) -> None:
        process.leads = next(requests) <= 2

    for _ in range(2):
        before = len(server.writes)
        requests, process.leads = itertools.count(1), True
        server.refuse = depose
        await process.look()
        assert len(server.writes) <= before + 1
        server.refuse = lambda method, path: None
    assert server.after_jobs() == []
    assert F1 in server.objects
