"""What helm takes for the API server: a listener on loopback, which asks for each request whether the caller may do it, and then
makes it with the controller's own rights.

So a release can do no more than the caller could with kubectl, whatever a chart renders to the second time, looks up in the
cluster, or has stored in an older revision. Helm has no credentials; the address of each operation has a secret in it, which is
forgotten when the operation ends.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn
from starlette.types import Receive, Scope, Send

from controller.admin.authentication import Caller
from controller.admin.authorization import Authorizer
from controller.admin.problems import Refused
from controller.admin.releases.access import Access, NotForHelm, accesses_of, is_discovery
from controller.admin.releases.escalation import RBAC, Escalation, WouldEscalate
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.runtime.address import join_address
from fleet.runtime.diagnostics import BACKLOG, QuietServer
from fleet.runtime.guarded import GuardedProtocol
from fleet.runtime.listen import bound
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Guard", "Pass"]

HOST = "127.0.0.1"
MAX_BODY = 4 << 20
"""Bytes of one object. API servers take 3 MiB."""
MAX_DECIDED = 2000
DECIDED_SECONDS = 10.0
"""Seconds for which a permission is not asked for again in one operation: helm polls."""
MAX_ASKED = 8
"""Permissions asked for at once."""
MAX_REFUSALS = 20
SILENCE_SECONDS = 600.0
"""Seconds for which a watch may say nothing."""
MAX_HELM_CONNECTIONS = 100
GUARD_STOP_SECONDS = 1
JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
"""In which helm writes its own Secrets. What a chart makes comes as JSON."""
_MERGES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Gone",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
_PAST = {"POST": "created", "PUT": "updated", "PATCH": "patched", "DELETE": "deleted"}
STORED = "sh.helm.release.v1."
"""Begin of the names of Secrets in which helm keeps revisions. They are of no interest to who watches the progress."""

_log = logging.getLogger(__name__)


class Pass:
    """One operation's way to the API server. `on_write` hears of each write that was done, in a few words."""

    def __init__(self, caller: Caller, authorizer: Authorizer, on_write: Callable[[str], None]) -> None:
        self.caller = caller
        self.secret = secrets.token_urlsafe(32)
        self.refusals: list[str] = []
        """What was refused, the first few."""
        self.on_write = on_write
        self._authorizer = authorizer
        self._clock = asyncio.get_running_loop().time
        self._known: dict[Access, tuple[bool, float]] = {}
        self._asking = asyncio.Semaphore(MAX_ASKED)

    async def may(self, access: Access) -> bool:
        """Whether the caller may. Raises Refused: 503."""
        allowed, until = self._known.get(access, (False, 0.0))
        now = self._clock()
        if now < until:
            return allowed
        async with self._asking:
            allowed = await self._authorizer.may(self.caller, access.need, access.namespace, access.name)
        if len(self._known) >= MAX_DECIDED:
            self._known.clear()
        self._known[access] = (allowed, now + DECIDED_SECONDS)
        return allowed

    def refuse(self, what: str) -> None:
        if what not in self.refusals and len(self.refusals) < MAX_REFUSALS:
            self.refusals.append(what)


class Guard:
    """`namespaces` are those that the controller serves; empty for all."""

    def __init__(self, api: Api, authorizer: Authorizer, namespaces: Collection[str]) -> None:
        self._api = api
        self._authorizer = authorizer
        self._namespaces = frozenset(namespaces)
        self._passes: dict[str, Pass] = {}
        self._server: QuietServer | None = None
        self._task: asyncio.Task[None] | None = None
        self._port = 0

    async def start(self) -> None:
        """Raises StartError."""
        listener = bound(HOST, 0, "helm")
        listener.listen(BACKLOG)
        self._port = listener.getsockname()[1]
        self._server = QuietServer(_configuration(self))
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="admin:guard")

    async def stop(self) -> None:
        server, self._server = self._server, None
        task, self._task = self._task, None
        self._passes.clear()
        if server is not None and task is not None:
            server.end()
            await asyncio.wait([task], timeout=2 * GUARD_STOP_SECONDS)
            await cancel_and_wait(task)

    def open(self, caller: Caller, on_write: Callable[[str], None] = lambda what: None) -> Pass:
        """A way for one operation. Close it in the end."""
        opened = Pass(caller, self._authorizer, on_write)
        self._passes[opened.secret] = opened
        return opened

    def close(self, opened: Pass) -> None:
        self._passes.pop(opened.secret, None)

    def url(self, opened: Pass) -> str:
        return f"http://{join_address(HOST, self._port)}/{opened.secret}"

    # -- requests ---------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, secret, path = (scope["raw_path"].decode("ascii", "replace") + "//").split("/", 2)
        opened = self._passes.get(secret)
        if scope["type"] != "http" or opened is None:
            await _answer(send, 404, _status(404, "there is nothing here"))
            return
        request = _Request(scope["method"], f"/{path.removesuffix('//')}", scope)
        try:
            body = await _read(receive, request.content_type)
            await self._check(opened, request, body)
            if request.method == "GET" and "watch" in request.query:
                await self._watch(request, receive, send)
                return
            answer = await self._api.request(
                request.method, request.path, query=request.pairs, body=body, content_type=request.content_type
            )
            if request.method in _PAST and (said := request.said(body)):
                opened.on_write(f"{_PAST[request.method]} {said}")
            await _answer(send, 201 if request.method == "POST" else 200, answer)
        except (NotForHelm, WouldEscalate) as error:
            said = f"{opened.caller.username} would need: {error}" if isinstance(error, WouldEscalate) else f"refused: {error}"
            opened.refuse(said)
            await _answer(send, 403, _status(403, said))
        except Refused as error:
            await _answer(send, error.status, _status(error.status, str(error)))
        except ApiError as error:
            status = error.status or 503
            reason = "AlreadyExists" if (status, request.method) == (409, "POST") else _REASONS.get(status, "")
            await _answer(send, status, _status(status, str(error), reason), error.retry_after)

    async def _check(self, opened: Pass, request: _Request, body: Any) -> None:
        """Raises NotForHelm, WouldEscalate, Refused or ApiError."""
        if request.method == "GET" and is_discovery(request.path):
            return
        accesses = accesses_of(request.method, request.path, request.query, request.content_type)
        for access in accesses:
            if self._namespaces and access.namespace and access.namespace not in self._namespaces:
                raise NotForHelm(f"this controller does not serve namespace {access.namespace}")
            if not await opened.may(access):
                raise WouldEscalate(str(access))
        group = accesses[0].need.group
        if group == RBAC and request.method == "PATCH" and request.content_type not in _MERGES:
            raise NotForHelm(f"a patch of {group} by {request.content_type}")
        if group == RBAC and request.method in ("POST", "PUT", "PATCH"):
            if not isinstance(body, dict):
                raise NotForHelm("a body that is no object")
            await Escalation(opened.may, self._read_role).check(accesses[0], body)

    async def _read_role(self, resource: str, namespace: str, name: str) -> dict[str, Any] | None:
        within = f"/namespaces/{namespace}" if namespace else ""
        try:
            found = msgspec.json.decode(await self._api.request("GET", f"/apis/{RBAC}/v1{within}/{resource}/{name}"))
        except ApiError as error:
            if error.status in (403, 404):  # what the controller cannot read, it cannot compare with what the caller may
                return None
            raise
        return found if isinstance(found, dict) else None

    async def _watch(self, request: _Request, receive: Receive, send: Send) -> None:
        async with self._api.stream(request.path, request.pairs, silence=SILENCE_SECONDS) as stream:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", JSON.encode())]})
            left = asyncio.create_task(_left(receive), name="admin:guard-left")
            try:
                while not left.done():
                    part = asyncio.create_task(stream.read(), name="admin:guard-watch")
                    await asyncio.wait([left, part], return_when=asyncio.FIRST_COMPLETED)
                    if not part.done():
                        part.cancel()
                        await asyncio.wait([part])
                        break
                    try:
                        content = part.result()
                    except ApiError as error:
                        _log.debug("a watch of helm ends: %s", error)
                        break
                    if not content:
                        break
                    await send({"type": "http.response.body", "body": content, "more_body": True})
            finally:
                await cancel_and_wait(left)
            await send({"type": "http.response.body", "body": b""})


class _Request:
    """A request of helm, without the secret."""

    def __init__(self, method: str, path: str, scope: Scope) -> None:
        self.method = method
        self.path = path
        self.pairs = parse_qsl(scope["query_string"].decode("ascii", "replace"), keep_blank_values=True)
        self.query = dict(self.pairs)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self.content_type = headers.get(b"content-type", JSON).partition(";")[0].strip().lower() or JSON
        self.name = path.rpartition("/")[2]

    def said(self, body: Any) -> str:
        """Kind and name of the object; empty if it is helm's own."""
        if self.method != "POST":
            kind, name = self.path.split("/")[-2], self.name
        elif isinstance(body, dict) and isinstance(body.get("metadata"), dict):
            kind, name = self.name, str(body["metadata"].get("name", ""))
        else:
            return ""
        return "" if name.startswith(STORED) else f"{kind} {name}"


async def _read(receive: Receive, content_type: str) -> Any:
    """The body. JSON is decoded, and encoded anew when it is passed on, so nobody reads it differently than it was checked."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "cut-off", "the body ended too early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise Refused(413, "too-large", f"an object has more than {MAX_BODY} bytes")
        more = message.get("more_body", False)
    content = b"".join(parts)
    if not content:
        return None
    if content_type == PROTOBUF:
        return content
    try:
        return msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        raise Refused(415, "not-json", f"helm has sent no JSON: {error}") from error


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, body: bytes, retry_after: float | None = None) -> None:
    headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
    if retry_after is not None:
        headers.append((b"retry-after", str(int(retry_after) + 1).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _status(code: int, message: str, reason: str = "") -> bytes:
    """An error as API servers say it (meta/v1 Status)."""
    said = {"message": message, "reason": reason or _REASONS.get(code, "InternalError"), "code": code}
    return msgspec.json.encode({"apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {}, **said})


def _configuration(guard: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        guard,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http=GuardedProtocol,
        ws="none",
        interface="asgi3",
        backlog=BACKLOG,
        limit_concurrency=MAX_HELM_CONNECTIONS,
        timeout_graceful_shutdown=GUARD_STOP_SECONDS,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
