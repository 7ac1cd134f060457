"""Calls of the Admin API on applications as they run: streams of events, demand, wake, sleep, logs."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.admin import authentication, following, logs, sse
from controller.by_hand import AWAKE_UNTIL, NO_COOLDOWN_UNTIL
from fleet.defaults import BUSY_LEASES
from fleet.demand.busy import encode_leases
from fleet.demand.ledger import Ledger
from fleet.discovery.kubernetes.client import ApiError, Query
from fleet.runtime import guarded
from interceptor.rpc import QueueServicer
from protos.weir.interceptor.v1 import queue_pb2_grpc
from tests.support.apply_api import ApplyApi
from tests.support.waiting import settled, until
from tests.wire.admin import APPS, USERS, AdminRig, admin, paths_of
from tests.wire.test_controller import Interceptor

WEB = {"name": "web", "image": "example.com/web:1"}
HTTP, SERVICE, DEPLOYMENT = paths_of()
SCALED = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/web"
PODS = "/api/v1/namespaces/shop/pods"
READY = {"conditions": [{"type": "Ready", "status": "True", "message": "fine"}]}


class Member(Interceptor):
    """With the demand that a test gives it."""

    def __init__(self, table: Path) -> None:
        super().__init__(table)
        self.ledger = Ledger()
        clock = asyncio.get_running_loop().time
        queue = QueueServicer(self.ledger, member="x", incarnation="1", clock=clock)
        self._rpc.add(queue_pb2_grpc.add_QueueServiceServicer_to_server, queue, "weir.interceptor.v1.QueueService")


class LogApi(ApplyApi):
    """With logs of pods: bytes by path; None at the end of one that goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, asyncio.Queue[bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    @asynccontextmanager
    async def stream(self, path: str, query: Query, *, silence: float) -> AsyncIterator[Any]:
        if not path.endswith("/log"):
            async with super().stream(path, query, silence=silence) as found:
                yield found
            return
        self.asked.append((path, dict(query)))
        pod = path.removesuffix("/log").rpartition("/")[2]
        if pod not in self.contents:
            raise ApiError("container is waiting to start", status=400)
        yield _Log(self.contents[pod])

    def pod(self, name: str, *content: bytes, phase: str = "Running", app: str = "web") -> asyncio.Queue[bytes]:
        self.put(f"{PODS}/{name}", metadata={"labels": {"weir.dev/app": app}}, status={"phase": phase})
        queue = self.contents[name] = asyncio.Queue()
        for each in content:
            queue.put_nowait(each)
        return queue


class _Log:
    def __init__(self, queue: asyncio.Queue[bytes]) -> None:
        self._queue = queue

    async def read(self) -> bytes:
        return await self._queue.get()


class Rig(AdminRig):
    """The API, and two interceptors."""

    api: LogApi
    members: list[Member]

    async def events(self, method: str, path: str, body: Any = None, **headers: str) -> list[tuple[str, Any]]:
        answer = await self.call(method, path, body, **headers)
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
        return events_of(answer.text)

    def keda(self) -> None:
        """KEDA says that its part is fine."""
        self.api.put(SCALED, status=READY)


def events_of(text: str) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]
    return [(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in blocks]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    table = tmp_path / "routes.json"
    api = LogApi()
    for token, (username, groups) in USERS.items():
        api.tokens[token] = {"username": username, "uid": username, "groups": groups}
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(Member(table)) for _ in range(2)]
        addresses = ",".join(member.address for member in members)
        flags = ["--members", addresses, "--admin-rate", "1000", "--verify-timeout", "0.3"]
        held = await stack.enter_async_context(admin(api, table, *flags))
        found = Rig(held.api, held.controller, held.client)
        found.members = members
        yield found


async def test_a_stream_ends_when_the_whole_fleet_serves_it(rig: Rig) -> None:
    rig.members[1].answering.clear()
    task = asyncio.create_task(rig.events("POST", "?wait=true", WEB))
    await until(lambda: SCALED in rig.api.objects)
    rig.keda()
    await until(lambda: "not: " in json.dumps(rig.api.objects[HTTP].get("status", {})))
    await asyncio.sleep(0.3)  # it must not be done now, and nothing tells that it is not
    assert not task.done()
    rig.members[1].answering.set()
    events = await task
    steps = [data["step"] for name, data in events if name == "progress"]
    assert steps[:3] == ["creating HTTPScaledObject", "creating Service", "creating Deployment"]
    assert "completing HTTPScaledObject" in steps
    told = [data["message"] for name, data in events if data.get("step") == "waiting until it is served"]
    assert any("1/2 interceptors" in message for message in told), told
    name, last = events[-1]
    assert (name, last["outcome"], last["created"], last["app"]["name"]) == ("done", "served", True, "web")
    again = await rig.events("POST", "?wait=true", WEB)
    assert [(name, data["outcome"], data["created"]) for name, data in again] == [("done", "served", False)]
    # A change of the route is served anew; one of the Deployment alone is served already.
    rig.members[0].answering.clear()
    task = asyncio.create_task(rig.events("PUT", "/web?wait=true", WEB | {"hosts": ["other.example.com"]}))
    await asyncio.sleep(0.5)  # it must not be done now, and nothing tells that it is not
    assert not task.done()
    rig.members[0].answering.set()
    assert (await task)[-1][1]["outcome"] == "served"
    answer = await rig.client.patch(
        f"{APPS}/web?wait=true", content=b'{"image": "b"}', headers={"Content-Type": "application/merge-patch+json"}
    )
    assert events_of(answer.text)[-1][1]["outcome"] == "served"
    gone = await rig.events("DELETE", "/web?wait=true")
    assert (gone[0][1]["step"], gone[-1]) == ("deleting HTTPScaledObject", ("done", {"outcome": "deleted"}))


async def test_a_stream_is_bounded_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "WAIT_SECONDS", 0.3)
    events = await rig.events("POST", "?wait=true", WEB)
    assert events[-1][0] == "done"
    assert (events[-1][1]["outcome"], events[-1][1]["app"]["state"]) == ("not-served", "asleep")
    assert events[-1][1]["reason"]


async def test_another_objects_hosts_end_a_stream_at_once(rig: Rig) -> None:
    spec = {"hosts": ["web.shop"], "scaleTargetRef": {"name": "a", "service": "a", "port": 80}}
    rig.api.put(f"{HTTP}-older", spec=spec, metadata={"creationTimestamp": "2025-01-01T00:00:00Z"})
    started = time.monotonic()
    events = await rig.events("POST", "?wait=true", WEB)
    assert (events[-1][1]["outcome"], events[-1][1]["reason"]) == ("not-served", "ClaimedByOlder")
    assert time.monotonic() - started < 10


async def test_what_is_refused_before_its_first_step_is_no_stream(rig: Rig) -> None:
    await rig.call("POST", body=WEB)
    for method, path, body, headers, status in (
        ("POST", "?wait=true", WEB | {"image": "b"}, {}, 409),
        ("POST", "?wait=true", {"name": "web"}, {}, 422),
        ("POST", "?wait=maybe", WEB, {}, 422),
        ("PUT", "/web?wait=true", WEB | {"image": "b"}, {"If_Match": '"old"'}, 412),
        ("DELETE", "/web?wait=true", None, {"If_Match": '"old"'}, 412),
        ("DELETE", "/none?wait=true", None, {}, 404),
        ("POST", "/none/wake?wait=true", None, {}, 404),
    ):
        answer = await rig.call(method, path, body, **headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), path


async def test_a_failure_within_a_stream_is_its_last_event(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "controller.admin.audit")
    refusal = ApiError("exceeded quota", status=403)
    rig.api.refuse = lambda method, path: refusal if path == DEPLOYMENT and method == "PATCH" else None
    events = await rig.events("POST", "?wait=true", WEB)
    problem = events[-1][1]["problem"]
    assert (events[-1][0], problem["status"]) == ("failed", 403)
    assert (problem["step"], problem["rolled_back"]) == ("creating Deployment", True)
    lines = [record.getMessage() for record in caplog.records if record.name == "controller.admin.audit"]
    assert len(lines) == 1
    assert lines[0].startswith("create app shop/web by 'adam': 403 ")


async def test_a_caller_who_leaves_a_stream_leaves_the_change(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "controller.admin.audit")
    async with rig.client.stream("POST", f"{APPS}?wait=true", json=WEB) as answer:
        async for line in answer.aiter_lines():
            assert line == "event: progress"
            break
    await until(lambda: DEPLOYMENT in rig.api.objects and not rig.api.objects[HTTP]["metadata"].get("annotations"))
    await until(lambda: caplog.records)
    assert [record.getMessage() for record in caplog.records if record.name == "controller.admin.audit"] == [
        "create app shop/web by 'adam': created"
    ]
    assert (await rig.call("GET", "/web")).status_code == 200


async def test_streams_of_a_user_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_STREAMS_OF_USER", 1)
    async with rig.client.stream("POST", f"{APPS}?wait=true", json=WEB) as answer:
        assert answer.status_code == 200
        refused = await rig.call("PUT", "/other?wait=true", WEB | {"name": "other"})
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:weir:problem:too-many")
        assert paths_of("other")[0] not in rig.api.objects
        assert (await rig.call("GET", "/web/logs")).status_code == 429
        assert (await rig.call("GET", "/web")).status_code == 200
    await until(lambda: not rig.controller._admin._context.streams.places._taken)  # type: ignore[union-attr]


async def test_demand_is_that_of_all_interceptors_or_of_none(rig: Rig) -> None:
    await rig.call("POST", body=WEB)
    found = (await rig.call("GET", "/web")).json()
    assert (found["demand"], found["demand_unknown"]) == (0, None)
    now = asyncio.get_running_loop().time()
    held = [member.ledger.entry("shop/web").acquire(now) for member in rig.members]
    held.append(rig.members[0].ledger.entry("shop/web").hold(now))
    rig.members[0].ledger.entry("shop/other").acquire(now)
    assert (await rig.call("GET", "/web")).json()["demand"] == 3
    for lease in held[:2]:
        lease.release(now)
    assert (await rig.call("GET", "/web")).json()["demand"] == 1
    ends = {"shop/web": {"pod-1": time.time() + 60, "pod-2": time.time() - 1}, "shop/other": {"pod-3": time.time() + 60}}
    leases = {"leases.json": encode_leases(ends).decode()}
    rig.api.put(f"/api/v1/namespaces/weir-system/configmaps/{BUSY_LEASES}", data=leases)
    await until(lambda: rig.controller._leases.current)
    assert (await rig.call("GET", "/web")).json()["demand"] == 2
    await rig.members[1]._rpc.stop(0)
    found = (await rig.call("GET", "/web")).json()
    assert found["demand"] is None
    assert found["demand_unknown"].startswith("1 of 2 interceptors do not tell: ")


async def test_the_last_wake(rig: Rig) -> None:
    await rig.call("POST", body=WEB)
    assert (await rig.call("GET", "/web")).json()["last_wake"] is None

    async def last() -> Any:
        return (await rig.call("GET", "/web")).json()["last_wake"]

    rig.api.changed_by_other(DEPLOYMENT, "keda", {"spec": {"replicas": 1}})
    await until(lambda: rig.controller._admin._wakes.last("shop/web"))  # type: ignore[union-attr]
    first = await last()
    assert abs(datetime.fromisoformat(first).timestamp() - time.time()) < 5
    rig.api.changed_by_other(DEPLOYMENT, "hpa", {"spec": {"replicas": 3}})
    rig.api.changed_by_other(DEPLOYMENT, "keda", {"spec": {"replicas": 0}})
    assert await last() == first
    rig.api.objects[DEPLOYMENT]["metadata"]["managedFields"] = []
    owner = {
        "manager": "keda",
        "subresource": "scale",
        "time": "2026-02-03T04:05:06Z",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }
    rig.api.put(DEPLOYMENT, spec=rig.api.objects[DEPLOYMENT]["spec"] | {"replicas": 1}, metadata={"managedFields": [owner]})
    await until(lambda: rig.controller._admin._wakes.last("shop/web") == "2026-02-03T04:05:06Z")  # type: ignore[union-attr]


async def test_the_last_wake_survives_every_controller_and_costs_one_write(tmp_path: Path) -> None:
    api = LogApi()
    api.tokens["adam"] = {"username": "adam", "uid": "uid-of-adam", "groups": []}

    def kept() -> Any:
        return api.objects.get(HTTP, {}).get("status", {}).get("lastWakeTime")

    async with admin(api, tmp_path / "routes.json") as rig:
        await rig.call("POST", body=WEB)
        await until(lambda: "conditions" in api.objects[HTTP].get("status", {}))
        api.changed_by_other(DEPLOYMENT, "keda", {"spec": {"replicas": 1}})
        await until(kept)
        woken = kept()
        assert (await rig.call("GET", "/web")).json()["last_wake"] == woken
        for manager, replicas in (("hpa", 3), ("hpa", 7), ("keda", 0)):
            api.changed_by_other(DEPLOYMENT, manager, {"spec": {"replicas": replicas}})
        await until(lambda: rig.controller._admin._wakes._deployments.get("shop/web").replicas == 0)  # type: ignore[union-attr]
        await settled(lambda: len(api.writes), seconds=0.5)
        written = [body["status"].get("lastWakeTime") for _, path, body in api.writes if path == f"{HTTP}/status"]
        assert [time for time in written if time is not None] == [woken]
    async with admin(api, tmp_path / "routes.json") as rig:
        answer = (await rig.call("GET", "/web")).json()
        assert (answer["state"], answer["last_wake"]) == ("asleep", woken)
        await settled(lambda: len(api.writes), seconds=0.5)
        assert kept() == woken, "a controller that has seen nothing takes nothing away"


async def test_awake_by_hand(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "controller.admin.audit")
    made = await rig.call("POST", body=WEB | {"cooldown": 5})
    await until(lambda: SCALED in rig.api.objects)
    woken = await rig.call("POST", "/web/wake?seconds=600")
    assert woken.status_code == 200, woken.text
    left = datetime.fromisoformat(woken.json()["awake_until"]) - datetime.now(UTC)
    assert 590 < left.total_seconds() <= 600
    assert woken.headers["etag"] == made.headers["etag"], "it is no change of the document"
    await until(lambda: rig.api.objects[SCALED]["spec"]["minReplicaCount"] == 1)
    # An update keeps it.
    assert (await rig.call("PUT", "/web", WEB | {"cooldown": 6})).json()["awake_until"] == woken.json()["awake_until"]
    # Without seconds, it is the cooldown, or a minute.
    left = datetime.fromisoformat((await rig.call("POST", "/web/wake")).json()["awake_until"]) - datetime.now(UTC)
    assert 50 < left.total_seconds() <= 60
    slept = await rig.call("POST", "/web/sleep")
    assert (slept.status_code, slept.json()["awake_until"]) == (200, None)
    await until(
        lambda: (rig.api.objects[SCALED]["spec"]["minReplicaCount"], rig.api.objects[SCALED]["spec"]["cooldownPeriod"]) == (0, 0)
    )
    annotations = rig.api.objects[HTTP]["metadata"]["annotations"]
    assert AWAKE_UNTIL not in annotations
    assert 25 < datetime.fromisoformat(annotations[NO_COOLDOWN_UNTIL]).timestamp() - time.time() < 60
    for query in ("?seconds=0", "?seconds=86401", "?seconds=-1", "?seconds=1e3", "?seconds="):
        assert (await rig.call("POST", f"/web/wake{query}")).status_code == 422
    lines = [record.getMessage() for record in caplog.records if " app shop/web by 'adam': a" in record.getMessage()]
    assert [line.split(" ")[0] for line in lines] == ["wake", "wake", "sleep"]


async def test_a_stream_until_it_is_awake_and_asleep(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "ASK_SECONDS", 0.01)
    await rig.call("POST", body=WEB)
    task = asyncio.create_task(rig.events("POST", "/web/wake?wait=true"))
    await until(lambda: AWAKE_UNTIL in rig.api.objects[HTTP]["metadata"].get("annotations", {}))
    rig.api.changed_by_other(DEPLOYMENT, "keda", {"spec": {"replicas": 1}})
    await asyncio.sleep(0.1)  # waking is not awake
    assert not task.done()
    rig.api.put(DEPLOYMENT, status={"readyReplicas": 1})
    events = await task
    assert (events[-1][1]["outcome"], events[-1][1]["app"]["state"]) == ("awake", "awake")
    assert {data["step"] for name, data in events if name == "progress"} <= {"waiting until it is awake"}
    task = asyncio.create_task(rig.events("POST", "/web/sleep?wait=true"))
    await until(lambda: NO_COOLDOWN_UNTIL in rig.api.objects[HTTP]["metadata"].get("annotations", {}))
    rig.api.changed_by_other(DEPLOYMENT, "keda", {"spec": {"replicas": 0}})
    assert (await task)[-1][1]["outcome"] == "asleep"
    monkeypatch.setattr(following, "WAIT_SECONDS", 0.05)
    assert (await rig.events("POST", "/web/wake?wait=true"))[-1][1]["outcome"] == "not-awake"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"replicas": {"min": 1, "max": 2}}, "kept-warm"),
        ({"schedule": [{"start": "0 0 1 1 *", "end": "59 23 31 12 *", "timezone": "UTC"}]}, "kept-warm"),
        ({}, "in-demand"),
    ],
)
async def test_what_may_not_sleep(rig: Rig, fields: dict[str, Any], kind: str) -> None:
    await rig.call("POST", body=WEB | fields)
    now = asyncio.get_running_loop().time()
    lease = rig.members[1].ledger.entry("shop/web").hold(now)
    refused = await rig.call("POST", "/web/sleep")
    assert (refused.status_code, refused.json()["type"]) == (409, f"urn:weir:problem:{kind}")
    assert not rig.api.objects[HTTP]["metadata"].get("annotations")
    lease.release(now)
    assert (await rig.call("POST", "/web/sleep")).status_code == (200 if not fields else 409)


async def test_logs(rig: Rig) -> None:
    await rig.call("POST", body=WEB)
    assert (await rig.call("GET", "/web/logs")).text == ""
    rig.api.pod("web-b", b"one\ntw", b"o\n", b"")
    rig.api.pod("web-a", b"no end", b"")
    rig.api.pod("other", b"never\n", b"", app="other")
    rig.api.put(f"{PODS}/web-c", metadata={"labels": {"weir.dev/app": "web"}}, status={"phase": "Pending"})
    answer = await rig.call("GET", "/web/logs?tailLines=5&since=60")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.splitlines() == [
        "[web-a] no end",
        "[web-b] one",
        "[web-b] two",
        "[web-c] (weir: no log: container is waiting to start)",
    ]
    path, query = rig.api.asked[0]
    assert path == f"{PODS}/web-a/log"
    assert query == {"container": "app", "tailLines": "5", "sinceSeconds": "60", "limitBytes": str(logs.MAX_POD_BYTES)}
    assert (await rig.call("GET", "/none/logs")).status_code == 404
    for wrong in ("?tailLines=-1", "?tailLines=10001", "?since=0", "?follow=yes"):
        assert (await rig.call("GET", f"/web/logs{wrong}")).status_code == 422


async def test_logs_that_are_followed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOOK_SECONDS", 0.02)
    await rig.call("POST", body=WEB)
    first = rig.api.pod("web-a", b"one\n")
    got: list[str] = []

    async def read(answer: httpx.Response) -> None:
        async for line in answer.aiter_lines():
            got.append(line)  # noqa: PERF401  # seen while it is being read

    async with rig.client.stream("GET", f"{APPS}/web/logs?follow=true") as answer:
        reader = asyncio.create_task(read(answer))
        await until(lambda: got == ["[web-a] one"])
        second = rig.api.pod("web-b", b"three\n")
        await until(lambda: got[-1] == "[web-b] three")
        first.put_nowait(b"two\n")
        await until(lambda: got[-1] == "[web-a] two")
        first.put_nowait(b"")  # its container restarts
        first.put_nowait(b"four\n")
        await until(lambda: got[-1] == "[web-a] four")
        assert "sinceTime" in rig.api.asked[-1][1]
        second.put_nowait(b"x" * (3 * logs.MAX_LINE) + b"\n")
        await until(lambda: len(got) == 7)
        reader.cancel()
    await until(lambda: not rig.controller._admin._context.streams.places._taken)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("taken", "reason"),
    [("permission", "adam may not in namespace shop: get pods/log"), ("token", "Kubernetes does not accept the token")],
)
async def test_logs_are_not_followed_longer_than_they_may_be(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, taken: str, reason: str
) -> None:
    monkeypatch.setattr(logs, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(logs, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(authentication, "REMEMBERED_SECONDS", 0.05)
    await rig.call("POST", body=WEB)
    rig.api.pod("web-a", b"one\n")
    got: list[str] = []
    async with rig.client.stream("GET", f"{APPS}/web/logs?follow=true") as answer:
        async for line in answer.aiter_lines():
            got.append(line)
            if len(got) == 1:
                if taken == "permission":
                    rig.api.allowed = lambda spec: spec["resourceAttributes"]["subresource"] != "log"
                else:
                    del rig.api.tokens["adam"]
    assert (got[0], got[-1]) == ("[web-a] one", f"(weir: {reason})")
    await until(lambda: not rig.controller._admin._context.streams.places._taken)  # type: ignore[union-attr]


async def test_an_outage_of_the_api_server_ends_no_logs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CHECK_SECONDS", 0.01)
    await rig.call("POST", body=WEB)
    queue = rig.api.pod("web-a", b"one\n")
    asked = 0

    def fails(spec: Any) -> bool:
        nonlocal asked
        asked += 1
        raise ApiError("it is away")

    async with rig.client.stream("GET", f"{APPS}/web/logs?follow=true") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "[web-a] one"
        rig.api.allowed = fails
        await until(lambda: asked > 3)
        queue.put_nowait(b"two\n")
        assert await anext(lines) == "[web-a] two"


async def test_a_caller_who_does_not_read_logs_costs_little(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not read stays where it is, and the connection is ended after a while."""
    monkeypatch.setattr(guarded, "READ_SECONDS", 0.3)
    await rig.call("POST", body=WEB)
    queue = rig.api.pod("web-a", *([b"x" * 65_000 + b"\n"] * 2_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.controller.admin_port, limit=1024)
    writer.write(f"GET {APPS}/web/logs?follow=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer adam\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    await until(lambda: not rig.controller._admin._context.streams.places._taken)  # type: ignore[union-attr]
    assert queue.qsize() > 1_000
    writer.close()


async def test_each_permission_of_logs_is_needed(rig: Rig) -> None:
    await rig.call("POST", body=WEB)
    rig.api.pod("web-a", b"secret\n", b"")
    for verb, resource, subresource in (("list", "pods", ""), ("get", "pods", "log"), ("get", "httpscaledobjects", "")):

        def allowed(spec: Any, refused: object = (verb, resource, subresource)) -> bool:
            found = spec["resourceAttributes"]
            return (found["verb"], found["resource"], found["subresource"]) != refused

        rig.api.allowed = allowed
        answer = await rig.call("GET", "/web/logs")
        assert answer.status_code == 403
        assert "secret" not in answer.text
        assert not rig.api.asked
    rig.api.allowed = lambda spec: spec["resourceAttributes"]["verb"] != "patch"
    for path in ("/web/wake", "/web/sleep"):
        assert (await rig.call("POST", path)).status_code == 403
    assert not rig.api.objects[HTTP]["metadata"].get("annotations")
