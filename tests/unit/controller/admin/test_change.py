"""Creating, replacing and deleting an application, with a failure, a lost answer and a kill at every request."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from controller.admin import recovery
from controller.admin.documents import Document
from controller.admin.objects import UNDER_WAY
from controller.admin.problems import Refused
from controller.scaledobject import SKIP
from fleet.discovery.kubernetes.client import ApiError
from tests.support.apply_api import ApplyApi
from tests.unit.controller.admin.processes import NAMESPACE, Process, document, of_app, paths_of

HTTP, SERVICE, DEPLOYMENT = paths_of()
JOURNAL = "/api/v1/namespaces/weir-system/configmaps"

OLD = document(replicas={"min": 0, "max": 3}, environment={"A": "1", "B": "2"}, ports=[{"port": 80}, {"port": 81, "name": "b"}])
NEW = document(image="example.com/web:2", hosts=["new.example.com"], environment={"A": "3"}, ports=[{"port": 90, "name": "c"}])

Work = Callable[[Process], Awaitable[object]]


async def creating(process: Process) -> object:
    return await process.apps.create("eve", NAMESPACE, OLD)


async def replacing(process: Process) -> object:
    return await process.apps.replace("eve", NAMESPACE, NEW, None)


async def deleting(process: Process) -> object:
    return await process.apps.delete(NAMESPACE, "web", None)


async def outcome(call: Awaitable[object]) -> tuple[str, bool]:
    """What became of a call, in one word or as the step that failed; and whether its change is there."""
    try:
        await call
    except ApiError:
        return "not begun", False
    except Refused as refused:
        problem = refused.problem
        undone = "" if problem.rolled_back in (None, True) else "not undone: "
        return f"{undone}{problem.step or problem.type}", problem.type == "urn:weir:problem:done-but-unread"
    return "done", True


async def server_with(*documents: Document) -> ApplyApi:
    server = ApplyApi()
    for each in documents:
        await Process(server, "earlier").apps.create("adam", NAMESPACE, each)
    return server


def journal_of(server: ApplyApi) -> list[str]:
    return [path for path in server.objects if path.startswith(JOURNAL)]


async def test_it_is_made_asleep_and_owned_by_one() -> None:
    server = await server_with(OLD)
    owner = server.objects[HTTP]["metadata"]
    assert not owner.get("annotations")
    assert server.objects[DEPLOYMENT]["spec"]["replicas"] == 0
    for path in (SERVICE, DEPLOYMENT):
        (reference,) = server.objects[path]["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["kind"]) == (owner["uid"], "HTTPScaledObject")
    assert journal_of(server) == []


async def test_keda_has_nothing_to_scale_before_the_deployment_is_there() -> None:
    server = ApplyApi()
    await creating(Process(server))
    writes = [(path, body) for method, path, body in server.writes if method == "PATCH"]
    assert writes[0][0] == HTTP
    assert writes[0][1]["metadata"]["annotations"][SKIP] == "true"
    assert [path for path, _ in writes] == [HTTP, SERVICE, DEPLOYMENT, DEPLOYMENT, HTTP]


async def test_a_change_keeps_what_is_not_ours() -> None:
    server = await server_with(OLD)
    server.changed_by_other(DEPLOYMENT, "keda", {"spec": {"replicas": 4}})
    server.changed_by_other(DEPLOYMENT, "kubectl", {"metadata": {"annotations": {"team": "a"}}})
    await replacing(Process(server))
    after = server.objects[DEPLOYMENT]
    assert (after["spec"]["replicas"], after["metadata"]["annotations"]) == (4, {"team": "a"})
    container = after["spec"]["template"]["spec"]["containers"][0]
    assert [one["name"] for one in container["env"]] == ["A"]
    assert [one["containerPort"] for one in container["ports"]] == [90]


@pytest.mark.parametrize("times", [1, 2])
async def test_the_first_update_does_not_wake_it(times: int) -> None:
    server = await server_with(OLD)
    for number in range(times):
        await Process(server).apps.replace("eve", NAMESPACE, document(image=f"example.com/web:{number + 5}"), None)
    assert server.objects[DEPLOYMENT]["spec"]["replicas"] == 0


@pytest.mark.parametrize("work", [creating, replacing], ids=lambda work: work.__name__)
@pytest.mark.parametrize("how", ["fail_at", "lose_at"])
async def test_a_failure_at_every_request_leaves_all_or_nothing(work: Work, how: str) -> None:
    """And says so, with the step; the same call again does it."""
    outcomes = set()
    for number in itertools.count(1):
        server = await server_with(*([OLD] if work is replacing else []))
        before = of_app(server)
        process = Process(server)
        setattr(process.line, how, number)
        problem, expected = await outcome(work(process))
        outcomes.add(problem)
        if problem.startswith("not undone"):
            assert journal_of(server)
        count = process.line.count
        process.line.fail_at = process.line.lose_at = 0
        await process.recovery.sweep()
        if expected:
            assert of_app(server).keys() == set(paths_of())
            assert not server.objects[HTTP]["metadata"].get("annotations")
        else:
            assert of_app(server) == before, f"request {number}"
        assert journal_of(server) == []
        await work(Process(server))
        assert of_app(server).keys() == set(paths_of())
        if count < number:
            break
    assert {"done", "not begun", "creating HTTPScaledObject" if work is creating else "marking HTTPScaledObject"} <= outcomes
    assert len(outcomes) >= (6 if how == "fail_at" else 5)


@pytest.mark.parametrize("work", [creating, replacing, deleting], ids=lambda work: work.__name__)
@pytest.mark.parametrize("how", ["kill_at", "kill_after"])
@pytest.mark.parametrize("then", ["restart", "again", "other"])
async def test_a_kill_at_every_request_leaves_all_or_nothing(
    monkeypatch: pytest.MonkeyPatch, work: Work, how: str, then: str
) -> None:
    """After a restart of the same controller, after the same call there, and after another controller has taken over."""
    monkeypatch.setattr(recovery, "TAKEOVER_SECONDS", 0.0)
    complete: dict[str, object] = {}
    if work is not deleting:
        finished = await server_with(*([OLD] if work is replacing else []))
        await work(Process(finished))
        complete = {path: found["spec"] for path, found in of_app(finished).items()}
    killed = 0
    for number in itertools.count(1):
        server = await server_with(*([] if work is creating else [OLD]))
        before = {path: found["spec"] for path, found in of_app(server).items()}
        process = Process(server)
        setattr(process.line, how, number)
        if not await process.until_killed(work(process)):
            break
        killed += 1
        successor = Process(server, "weir-controller-1" if then == "other" else "weir-controller-0")
        if then == "again":
            problem, _ = await outcome(work(successor))
            assert problem in (("done", "urn:weir:problem:not-found") if work is deleting else ("done",))
        else:
            await successor.recovery.sweep()
        after = {path: found["spec"] for path, found in of_app(server).items()}
        assert after in ((complete,) if then == "again" else (before, complete)), f"request {number}"
        assert all(not found["metadata"]["annotations"] for found in of_app(server).values())
        await successor.recovery.sweep()
        assert journal_of(server) == []
    assert killed >= (4 if work is deleting else 15)


async def test_fifty_concurrent_creates_by_two_controllers_are_one_app() -> None:
    server = ApplyApi()
    processes = [Process(server, "weir-controller-0"), Process(server, "weir-controller-1")]
    calls = [processes[number % 2].apps.create("eve", NAMESPACE, OLD) for number in range(50)]
    results = await asyncio.gather(*calls)
    assert sum(created for _, created in results) == 1
    assert {live.uid for live, _ in results} == {server.objects[HTTP]["metadata"]["uid"]}
    assert [path for method, path, _ in server.writes if method == "POST"].count(JOURNAL) < 50
    assert of_app(server).keys() == set(paths_of())
    assert journal_of(server) == []


async def test_fifty_different_creates_of_one_name_are_one_app_and_forty_nine_refusals() -> None:
    server = ApplyApi()
    processes = [Process(server, "weir-controller-0"), Process(server, "weir-controller-1")]
    calls = [
        processes[number % 2].apps.create("eve", NAMESPACE, document(image=f"example.com/web:{number}")) for number in range(50)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Refused)]
    assert [one.problem.type for one in refused] == ["urn:weir:problem:exists"] * 49
    (won,) = [number for number, result in enumerate(results) if not isinstance(result, Refused)]
    assert server.objects[DEPLOYMENT]["spec"]["template"]["spec"]["containers"][0]["image"] == f"example.com/web:{won}"


@pytest.mark.parametrize("path", paths_of())
async def test_an_object_of_somebody_else_is_left_alone(path: str) -> None:
    server = ApplyApi()
    server.changed_by_other(path, "kubectl", {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": {"mine": True}})
    before = of_app(server)
    with pytest.raises(Refused, match="was not made by this API"):
        await creating(Process(server))
    assert of_app(server) == before
    with pytest.raises(Refused, match="there is no app"):
        await deleting(Process(server))
    assert of_app(server) == before


@pytest.mark.parametrize("path", paths_of())
async def test_an_object_that_somebody_makes_in_the_middle_is_left_alone(path: str) -> None:
    """After the last look, and before the write."""
    server, theirs = ApplyApi(), {"replicas": 2} if path == DEPLOYMENT else {"theirs": True}

    def interfere(method: str, at: str) -> ApiError | None:
        if (method, at) == ("PATCH", path) and path not in server.objects:
            fields = {"metadata": {"name": "web", "namespace": NAMESPACE, "labels": {"a": "b"}}, "spec": theirs}
            server.changed_by_other(path, "kubectl", fields)
        return None

    server.refuse = interfere
    with pytest.raises(Refused) as caught:
        await creating(Process(server))
    assert (caught.value.status, caught.value.problem.rolled_back) == (409, True)
    left = of_app(server)
    assert left.keys() == {path}
    assert (left[path]["spec"], left[path]["metadata"]["labels"]) == (theirs, {"a": "b"})


async def test_a_missing_object_is_made_again_and_taken_away_when_that_fails() -> None:
    server = await server_with(OLD)
    server.drop(SERVICE)
    server.managers.pop(SERVICE)
    before = of_app(server)
    server.refuse = lambda method, path: ApiError("quota", status=403) if (method, path) == ("PATCH", DEPLOYMENT) else None
    server.refuse = _once(server.refuse)
    with pytest.raises(Refused) as caught:
        await replacing(Process(server))
    assert (caught.value.problem.step, caught.value.problem.rolled_back) == ("updating Deployment", True)
    assert of_app(server) == before
    await replacing(Process(server))
    assert of_app(server).keys() == set(paths_of())


async def test_an_undoing_that_fails_is_repeated_later() -> None:
    server = await server_with(OLD)
    before, process = of_app(server), Process(server)
    server.refuse = lambda method, path: ApiError("down") if method == "PATCH" and path != HTTP else None
    with pytest.raises(Refused) as caught:
        await replacing(process)
    assert (caught.value.problem.rolled_back, caught.value.status) == (False, 503)
    with pytest.raises(ApiError):
        await process.recovery.sweep()
    assert len(journal_of(server)) == 1
    server.refuse = lambda method, path: None
    await process.recovery.sweep()
    assert of_app(server) == before
    assert journal_of(server) == []


async def test_a_living_controller_is_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ApplyApi()
    slow, other = Process(server, "weir-controller-0"), Process(server, "weir-controller-1")
    slow.line.kill_after = 7
    await slow.until_killed(creating(slow))
    found = of_app(server)
    await other.recovery.sweep()
    await other.recovery.sweep()
    assert of_app(server) == found
    monkeypatch.setattr("controller.admin.apps.BUSY_SECONDS", 0.05)
    with pytest.raises(Refused, match="another change of this app is under way, by weir-controller-0"):
        await creating(other)


async def test_a_mark_that_arrives_after_all_have_given_up_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "TAKEOVER_SECONDS", 0.0)
    server = await server_with(OLD)
    server.changed_by_other(HTTP, "late", {"metadata": {"annotations": {UNDER_WAY: "late"}}})
    await Process(server).recovery.sweep()
    assert not server.objects[HTTP]["metadata"]["annotations"]
    server.changed_by_other(HTTP, "late", {"metadata": {"annotations": {UNDER_WAY: "late", SKIP: "true"}}})
    await Process(server).recovery.sweep()
    assert of_app(server) == {}


async def test_an_app_that_somebody_deletes_in_the_middle_is_not_made_again() -> None:
    server = await server_with(OLD)

    def interfere(method: str, path: str) -> ApiError | None:
        if (method, path) == ("PATCH", DEPLOYMENT) and HTTP in server.objects:
            server.drop(HTTP)
            server.collect()
        return None

    server.refuse = interfere
    with pytest.raises(Refused) as caught:
        await replacing(Process(server))
    assert caught.value.status == 409
    assert of_app(server) == {}
    assert journal_of(server) == []


def _once(refuse: Callable[[str, str], ApiError | None]) -> Callable[[str, str], ApiError | None]:
    done: list[ApiError] = []

    def first(method: str, path: str) -> ApiError | None:
        found = None if done else refuse(method, path)
        if found is not None:
            done.append(found)
        return found

    return first
