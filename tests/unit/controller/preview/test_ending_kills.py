"""A Preview that is made and deleted, with a kill, a failure or a lost answer at every request of the controller."""

from __future__ import annotations

import itertools

import pytest

from controller.preview.resource import AFTER_TIMEOUT
from tests.unit.controller.preview.lives import (
    AFTER,
    BEFORE,
    COPY,
    F1,
    Cluster,
    Process,
    conditions,
    made,
    process,
    server,
    world_of,
)

__all__ = ["process", "server"]  # the fixtures


@pytest.mark.parametrize("how", ["kill_at", "kill_after", "fail_at", "lose_at"])
@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_whatever_happens_at_a_request_each_hook_runs_once_and_nothing_is_left(
    server: Cluster, process: Process, how: str, policy: str
) -> None:
    await made(server, process)
    await server.delete(policy)
    for number in itertools.count(1):
        now = server.copy()
        first, then = Process(now, process.world), Process(now, process.world)
        setattr(first.line, how, number)
        await first.line.until_killed(first.live())
        if F1 in now.objects:
            await then.live()
        assert F1 not in now.objects, f"request {number}"
        assert now.after_jobs() == ["database", "queue"], f"request {number}"
        assert now.jobs() == []
        assert not any(path in now.objects for path in COPY)
        assert not any(now.running_at_post[1:]), "before its hooks run, nothing of the copy does"
        assert {reason for reason, _ in (*first.events, *then.events)} == {"AfterHooksDone"}
        if first.line.count < number:
            break
    assert number > 20


@pytest.mark.parametrize("how", ["kill_at", "kill_after", "lose_at"])
async def test_whatever_happens_while_it_is_made_what_was_begun_gets_its_hooks(how: str) -> None:
    """Deleted right after a kill at each request of making it."""
    ran = set()
    for number in itertools.count(1):
        server = Cluster()
        async with world_of(server) as world:
            process = Process(server, world)
            server.preview(before=BEFORE, after=AFTER)
            setattr(process.line, how, number)
            killed = await process.line.until_killed(process.live())
            begun = bool(server.posted or any(path in server.objects for path in COPY))
            server.drop_base()
            await server.delete()
            if F1 in server.objects:
                await Process(server, world).live()
        assert F1 not in server.objects, f"request {number}"
        assert server.jobs() == []
        hooks = server.after_jobs()
        assert hooks in ([], ["database", "queue"])
        assert hooks or not begun, f"request {number}: what was begun is cleaned up"
        ran.add(len(hooks))
        if not killed and process.line.count < number:
            break
    assert ran == ({2} if how == "lose_at" else {0, 2})


async def test_a_kill_at_each_request_after_the_time_is_over(server: Cluster, process: Process) -> None:
    server.outcomes["queue"] = None
    await made(server, process)
    await server.delete()
    await process.live()
    for number in itertools.count(1):
        now = server.copy()
        first, then = Process(now, process.world), Process(now, process.world)
        first.late = then.late = AFTER_TIMEOUT + 2
        first.line.kill_after = number
        killed = await first.line.until_killed(first.live())
        if F1 in now.objects:
            await then.live()
        assert (F1 in now.objects, now.jobs(), now.after_jobs()) == (False, [], ["database", "queue"])
        ((reason, message),) = {*first.events, *then.events}
        assert (reason, message) == ("AfterHookTimedOut", "hook queue has not ended within 600 s of the deletion")
        assert conditions(now)["AfterHooks"]["reason"] == reason
        if not killed:
            break
    assert number > 4
