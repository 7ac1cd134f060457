"""An API server for tests, on a loopback socket: lists in pages, watches with bookmarks, and the faults of real servers.

Keeps objects and their history like kube-apiserver (one growing version for all), and changes nothing by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.ports import KeptPort

__all__ = ["ApiServer", "Fault", "Request", "Watch", "serving", "write_kubeconfig"]

Object = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One received GET request."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "1"


@dataclass
class Fault:
    """Answers a number of matching requests with an error."""

    matches: Callable[[Request], bool]
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)
    """Of the body."""


@dataclass(eq=False)
class Watch:
    """One open watch."""

    request: Request
    writer: asyncio.StreamWriter
    among: list[Watch]
    muted: bool = False
    """Nothing is sent any more, without an error: like a connection that a firewall has dropped."""

    def send(self, event: Object) -> None:
        self.send_raw(json.dumps(event).encode() + b"\n")

    def send_raw(self, data: bytes) -> None:
        if not self.muted and not self.writer.is_closing():
            self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        """End the watch as a server does after timeoutSeconds."""
        self.leave()
        self.writer.write(b"0\r\n\r\n")
        self.writer.close()

    def cut(self) -> None:
        self.leave()
        self.writer.transport.abort()

    def leave(self) -> None:
        if self in self.among:
            self.among.remove(self)


class ApiServer:
    """`put` and `delete` change objects, which is sent to watches unless a fault is set."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: dict[str, Object] = {}
        """By path, such as "/api/v1/namespaces/default/services/web"."""
        self.history: list[tuple[int, str, Object]] = []
        self.oldest = 0
        """Watches from an older version get 410."""
        self.requests: list[Request] = []
        self.watches: list[Watch] = []
        self.faults: list[Fault] = []
        self.continue_expires = False
        self.list_gate = asyncio.Event()
        """Responses to lists are prepared at once, but sent only after this is set."""
        self.list_gate.set()
        self._pages: dict[str, tuple[int, list[Object]]] = {}
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._kept = KeptPort()
        self.port = self._kept.number

    # -- called by tests ------------------------------------------------------------------------------------------

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def down(self) -> None:
        """Reset every connection, and refuse new ones."""
        assert self._server is not None
        self._server.close()
        connections = dict(self._connections)
        for task, writer in connections.items():
            writer.transport.abort()
            task.cancel()
        if connections:
            await asyncio.wait(connections)
        await self._server.wait_closed()
        self.watches.clear()

    async def close(self) -> None:
        await self.down()
        self._kept.release()

    def put(self, path: str, **content: Any) -> Object:
        collection, _, name = path.rpartition("/")
        namespace = collection.split("/namespaces/")[1].split("/")[0]
        self.version += 1
        metadata = {"name": name, "namespace": namespace, "resourceVersion": str(self.version)}
        metadata |= content.pop("metadata", {})
        kind = "MODIFIED" if path in self.objects else "ADDED"
        self.objects[path] = {"metadata": metadata, **content}
        self._record(kind, path)
        return self.objects[path]

    def delete(self, path: str) -> None:
        self.version += 1
        gone = self.objects[path]
        gone["metadata"] = gone["metadata"] | {"resourceVersion": str(self.version)}
        self._record("DELETED", path)
        del self.objects[path]

    def bookmark(self) -> None:
        """Send a bookmark to every watch."""
        self.version += 1
        for watch in self.watches:
            watch.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.version)}}})

    def compact(self) -> None:
        """Forget the history."""
        self.version += 1
        self.oldest = self.version

    def fail(self, status: int, *, times: int = 1, watches: bool | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.faults.append(Fault(lambda request: watches in (None, request.is_watch), status, headers or {}, times))

    def lists(self, plural: str = "") -> list[Request]:
        return [request for request in self.requests if not request.is_watch and plural in request.path]

    # -- responses to clients -------------------------------------------------------------------------------------

    def _record(self, kind: str, path: str) -> None:
        self.history.append((self.version, kind, json.loads(json.dumps(self.objects[path])) | {"_path": path}))
        for watch in self.watches:
            self._send(watch, *self.history[-1][1:])

    def _send(self, watch: Watch, kind: str, found: Object) -> None:
        if _selected(watch.request, found["_path"], found):
            watch.send({"type": kind, "object": {key: value for key, value in found.items() if key != "_path"}})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        task.add_done_callback(lambda task: self._connections.pop(task).transport.abort())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = _parsed(await reader.readuntil(b"\r\n\r\n"))
                self.requests.append(request)
                if not await self._answer(request, reader, writer):
                    break

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request. Returns whether the connection can be used for another one."""
        for fault in self.faults:
            if fault.times and fault.matches(request):
                fault.times -= 1
                _reply(writer, fault.status, {"message": "a fault", "code": fault.status, **fault.more}, fault.headers)
                return True
        if request.is_watch:
            return await self._watch(request, reader, writer)
        if request.path in self.objects:
            _reply(writer, 200, self.objects[request.path])
        elif request.path.rpartition("/")[2] in ("configmaps", "services", "endpointslices"):
            answer = self._list(request)
            await self.list_gate.wait()
            _reply(writer, *answer)
        else:
            _reply(writer, 404, {"message": f"{request.path} not found", "code": 404})
        return True

    def _list(self, request: Request) -> tuple[int, Object]:
        token = request.query.get("continue")
        if len(request.query.get("labelSelector", "").partition("=")[2]) > 63:
            return 400, {"message": "unable to parse requirement: must be no more than 63 characters", "code": 400}
        if token is None:
            version, found = self.version, list(self._found(request))
        elif self.continue_expires:
            return 410, {"message": "the continue token is too old", "code": 410}
        else:
            version, found = self._pages.pop(token)
        limit = int(request.query.get("limit", "0")) or len(found)
        metadata = {"resourceVersion": str(version)}
        if len(found) > limit:
            metadata["continue"] = f"{version}-{len(self._pages)}-{len(found)}"
            self._pages[metadata["continue"]] = (version, found[limit:])
        return 200, {"metadata": metadata, "items": found[:limit]}

    def _found(self, request: Request) -> Iterator[Object]:
        for path in sorted(self.objects):
            if _selected(request, path, self.objects[path]):
                yield json.loads(json.dumps(self.objects[path]))

    async def _watch(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        watch = Watch(request, writer, self.watches)
        since = int(request.query["resourceVersion"])
        if since < self.oldest:
            watch.send({"type": "ERROR", "object": {"code": 410, "message": "too old resource version", "reason": "Expired"}})
            watch.end()
            return False
        for version, kind, found in self.history:
            if version > since:
                self._send(watch, kind, found)
        self.watches.append(watch)
        try:
            await reader.read(1)  # returns when the connection ends
        finally:
            watch.leave()
        return False


@asynccontextmanager
async def serving(kubeconfig: Path) -> AsyncIterator[ApiServer]:
    """A running server, and a kubeconfig file for it."""
    server = ApiServer()
    await server.up()
    write_kubeconfig(kubeconfig, server.port)
    try:
        yield server
    finally:
        await server.close()


def write_kubeconfig(path: Path, port: int, token: str = "first") -> None:  # noqa: S107
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(document))


def _selected(request: Request, path: str, found: Object) -> bool:
    api, _, rest = path.partition("/namespaces/")
    namespace, plural, name = rest.split("/")
    if request.path not in (f"{api}/{plural}", f"{api}/namespaces/{namespace}/{plural}"):
        return False
    fields = request.query.get("fieldSelector", "")
    if fields and fields != f"metadata.name={name}":
        return False
    key, has_value, value = request.query.get("labelSelector", "").partition("=")
    labels = found["metadata"].get("labels", {})
    return not key or (labels.get(key) == value if has_value else key in labels)


def _parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    target = urlsplit(first.split(" ")[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return Request(target.path, dict(parse_qsl(target.query)), headers)


def _reply(writer: asyncio.StreamWriter, status: int, body: Object, headers: Mapping[str, str] | None = None) -> None:
    data = json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} Any\r\n{head}\r\n".encode() + data)
