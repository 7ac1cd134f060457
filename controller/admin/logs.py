"""What the pods of an application have written, line by line, with the pod's name in front of each.

Read from the API server, and passed on as fast as the caller reads: nothing is kept but the line of each pod that is not
complete.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from time import time

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.admin.objects import APP_LABEL
from controller.admin.problems import Refused
from controller.admin.sse import Place
from controller.by_hand import stamp
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import Resource as Path
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.terminal import one_line

__all__ = ["LINES", "MAX_LINES", "Asked", "Logs", "prefixed"]

LINES, MAX_LINES = 100, 10_000
MAX_PODS = 50
"""Pods that are read at once. Each is a connection to the API server, and one from there to a kubelet."""
MAX_LINE = 16 << 10
"""Bytes; container runtimes split lines there as well."""
MAX_POD_BYTES = 16 << 20
"""Bytes of one pod, unless its log is followed."""
FOLLOW_SECONDS = 3600.0
"""Seconds for which logs are followed."""
CHECK_SECONDS = 10.0
"""Seconds after which it is asked again whether the caller may follow them."""
LOOK_SECONDS = 2.0
"""Seconds between looks for new pods, and for containers that were restarted."""
CONTAINER = "app"
PODS = Path("/api/v1", "pods")


Check = Callable[[], Awaitable[object]]
"""Raises Refused when the caller may not read them (any more)."""


class Asked(msgspec.Struct, frozen=True):
    """A question for logs; `since` in seconds."""

    namespace: str
    name: str
    follow: bool
    lines: int
    since: int | None


class _Meta(msgspec.Struct, frozen=True):
    name: str
    uid: str = ""


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""


class _Pod(msgspec.Struct, frozen=True):
    metadata: _Meta
    status: _Status = _Status()

    @property
    def begins(self) -> bool:
        """Whether there can be no log yet."""
        return self.status.phase == "Pending"


class _Listed(msgspec.Struct, frozen=True):
    items: tuple[_Pod, ...] = ()


class Logs:
    """Logs of applications of this API, from the API server."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def answer(self, asked: Asked, place: Place, check: Check) -> Response:
        """Raises ApiError. The place is released at the end of the answer."""
        try:
            return _Answer(self._api, asked, await pods_of(self._api, asked), place, check)
        except BaseException:
            place.release()
            raise


async def pods_of(api: Api, asked: Asked) -> tuple[_Pod, ...]:
    """Sorted by name, and not more than are read at once. Raises ApiError."""
    query = [("labelSelector", f"{APP_LABEL}={asked.name}"), ("limit", str(10 * MAX_PODS))]
    try:
        listed = msgspec.json.decode(await api.get(PODS.path(asked.namespace), query), type=_Listed)
    except ValueError as error:
        raise ApiError(f"pods of {asked.namespace}: {error}") from error
    return tuple(sorted(listed.items, key=lambda pod: pod.metadata.name)[:MAX_PODS])


class _Answer(Response):
    """Reads from its client as well, to know when that has left."""

    def __init__(self, api: Api, asked: Asked, pods: tuple[_Pod, ...], place: Place, check: Check) -> None:
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Accel-Buffering": "no"}
        super().__init__(media_type="text/plain", headers=headers)
        del self.headers["content-length"]
        self._api = api
        self._asked = asked
        self._pods = pods
        self._place = place
        self._check = check
        self._writing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tasks = (
            asyncio.create_task(self._write(send), name=f"admin:logs:{self._asked.name}"),
            asyncio.create_task(_until_left(receive), name="admin:listener"),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(*tasks)
            self._place.release()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_SECONDS):
                if self._asked.follow:
                    try:
                        await self._follow(send)
                    except* Refused as refused:
                        await self._pass_on(f"(weir: {refused.exceptions[0]})\n".encode(), send)
                    self._pods = ()
                for pod in self._pods:
                    await self._read(pod, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, send: Send) -> None:
        """Read all pods at once, and look for others, until cancelled."""
        reading: dict[str, asyncio.Task[None]] = {}
        ends: dict[str, float] = {}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_checking())
            while True:
                for pod in self._pods:
                    uid = pod.metadata.uid
                    is_over = uid in ends and pod.status.phase != "Running"
                    if pod.begins or is_over or uid in reading:
                        continue
                    task = reading[uid] = group.create_task(self._read(pod, send, again=ends.get(uid)))
                    task.add_done_callback(lambda _, uid=uid: _ended(reading, ends, uid))  # type: ignore[misc]
                await asyncio.sleep(LOOK_SECONDS)
                with contextlib.suppress(ApiError):
                    self._pods = await pods_of(self._api, self._asked)
                there = {pod.metadata.uid for pod in self._pods}
                for uid in ends.keys() - there:
                    del ends[uid]

    async def _keep_checking(self) -> None:
        """Raises Refused when the caller may not follow them any more. What cannot be asked now is asked again."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._check()
            except Refused as refused:
                if refused.status in (401, 403):
                    raise

    async def _read(self, pod: _Pod, send: Send, *, again: float | None = None) -> None:
        """Pass on the log of one pod; `again` is when its last container ended."""
        name = pod.metadata.name
        query = [("container", CONTAINER), *self._extent(again)]
        lines = Lines(name)
        try:
            async with self._api.stream(
                f"{PODS.path(self._asked.namespace, name)}/log", query, silence=FOLLOW_SECONDS + 1
            ) as stream:
                while data := await stream.read():
                    await self._pass_on(lines.of(data), send)
            await self._pass_on(lines.rest(), send)
        except ApiError as error:
            if not self._asked.follow:
                await self._pass_on(prefixed(name, f"(weir: no log: {one_line(str(error))})".encode()), send)

    def _extent(self, again: float | None) -> Iterable[tuple[str, str]]:
        if again is not None:
            yield "sinceTime", stamp(again)
        else:
            yield "tailLines", str(self._asked.lines)
            if self._asked.since is not None:
                yield "sinceSeconds", str(self._asked.since)
        if self._asked.follow:
            yield "follow", "true"
        else:
            yield "limitBytes", str(MAX_POD_BYTES)

    async def _pass_on(self, body: bytes, send: Send) -> None:
        if body:
            async with self._writing:  # uvicorn lets only one writer wait for a client that does not read
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0)  # a pod that writes fast, to a client that reads fast or has left, is one of many things to do


class Lines:
    """The lines in the bytes of one pod. A line that is longer than the maximum comes in several."""

    def __init__(self, pod: str) -> None:
        self._pod = pod
        self._rest = b""

    def of(self, data: bytes) -> bytes:
        """The lines that are complete, with the pod's name in front of each."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        parts = [line[at : at + MAX_LINE] for line in whole for at in range(0, max(len(line), 1), MAX_LINE)]
        while len(self._rest) >= MAX_LINE:
            parts.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return b"".join(prefixed(self._pod, part) for part in parts)

    def rest(self) -> bytes:
        """The last line, if it has no end."""
        rest, self._rest = self._rest, b""
        return prefixed(self._pod, rest) if rest else b""


def prefixed(pod: str, line: bytes) -> bytes:
    return b"[" + pod.encode() + b"] " + line + b"\n"


def _ended(reading: dict[str, asyncio.Task[None]], ends: dict[str, float], uid: str) -> None:
    del reading[uid]
    ends[uid] = time()


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
