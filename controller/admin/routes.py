"""The HTTP calls on documents of applications. Each goes the same way: who asks, not too often, whether they may, what they ask
for, and then it is done. A change leaves a line in the log, whatever comes of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel

from controller.admin.authentication import Caller
from controller.admin.body import JSON, MERGE_PATCH, patched, read_json, validated
from controller.admin.change import Tell
from controller.admin.checks import checked, etag_of
from controller.admin.context import Context
from controller.admin.documents import NAME, App, AppList, Document, Fault, Plan
from controller.admin.following import until_gone, until_served
from controller.admin.objects import Json, Live, complete
from controller.admin.openapi import body_of, problems_of
from controller.admin.problems import Refused, of_api_error
from controller.admin.sse import DONE, EVENT_STREAM, FAILED, PROGRESS, Progress
from controller.admin.views import app_of, summary_of
from fleet.discovery.kubernetes.client import ApiError

__all__ = [
    "ETAG",
    "EVENTS",
    "MAX_PAGE",
    "PAGE",
    "Calling",
    "DryRun",
    "Entry",
    "Name",
    "Namespace",
    "Wait",
    "answer_of",
    "app_answer",
    "audited",
    "caller_of",
    "context_of",
    "identified",
    "last_seen",
    "router",
]

MAX_PAGE = 500
PAGE = 100

_audit = logging.getLogger("controller.admin.audit")

router = APIRouter()


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def identified(request: Request) -> Caller:
    """Who has sent a request. Raises Refused: 401, 429 or 503."""
    address = request.client.host if request.client is not None else ""
    return await context_of(request).authenticator.caller(request.headers.getlist("authorization"), address)


async def caller_of(request: Request) -> Caller:
    """The caller of a request, who is not asking too often. Raises Refused: 401, 429 or 503."""
    context, caller = context_of(request), await identified(request)
    if (seconds := context.rates.take(caller.username, context.clock())) > 0:
        raise Refused(429, "too-many", "too many requests", headers={"Retry-After": str(int(seconds) + 1)})
    return caller


Calling = Annotated[Caller, Depends(caller_of)]
Namespace = Annotated[str, Path(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Name = Annotated[str, Path(pattern=NAME, max_length=63)]
DryRun = Annotated[
    Literal["All"] | None, Query(alias="dryRun", description="All: nothing is written, and the API server checks everything.")
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=1000, description="The ETag of the app that is meant; 412 if it was changed since."),
]
Wait = Annotated[
    Literal["true", "false"],
    Query(description="true: the answer is a stream of events, from the first step until every interceptor serves the app."),
]
EVENTS = {
    EVENT_STREAM: {
        "schema": {
            "type": "object",
            "description": "One event. The last one is done or failed.",
            "required": ["event", "data"],
            "properties": {
                "event": {"type": "string", "enum": [PROGRESS, DONE, FAILED]},
                "data": {"type": "string", "contentMediaType": JSON},
            },
        }
    }
}
"""The content of an answer with `wait`."""
ETAG = {"ETag": {"description": "Of the document; for If-Match.", "schema": {"type": "string"}}}


@router.get("/v1/namespaces/{namespace}/apps", response_model=AppList, responses=problems_of(410))
async def list_apps(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    token: Annotated[str | None, Query(alias="continue", min_length=1, max_length=4096)] = None,
) -> Response:
    """List the applications of a namespace, in pages."""
    context = context_of(request)
    await context.permit(caller, "list", namespace)
    items, next_token = await context.apps.page(namespace, limit, token)
    return answer_of(AppList(items=[summary_of(item, context.url) for item in items], next=next_token))


@router.post(
    "/v1/namespaces/{namespace}/apps",
    status_code=201,
    response_model=App,
    openapi_extra=body_of("Document", JSON),
    responses=problems_of(400, 408, 409, 413, 415)
    | {
        200: {
            "model": App | Plan,
            "description": "The same app exists; or the plan of a dry run; or, with wait, events.",
            "headers": ETAG,
            "content": EVENTS,
        },
        201: {"description": "Created.", "headers": ETAG},
    },
)
async def create_app(
    request: Request, caller: Calling, namespace: Namespace, *, dry_run: DryRun = None, wait: Wait = "false"
) -> Response:
    """Create an application, which is asleep until its first request. The same call again gives the same result."""
    context = context_of(request)
    async with audited(caller, "create", namespace, dry_run=dry_run) as entry:
        await context.permit(caller, "create", namespace)
        document = _document(await read_json(request, JSON), namespace, context)
        entry.name = document.name
        if dry_run:
            return answer_of(Plan(objects=await context.apps.plan(namespace, document, None, new=True)))

        async def make(tell: Tell) -> tuple[Live, bool]:
            live, created = await context.apps.create(caller.username, namespace, document, tell=tell)
            entry.result = "created" if created else "was there"
            return live, created

        return await _made(context, caller, entry, make, wait)


@router.get(
    "/v1/namespaces/{namespace}/apps/{name}",
    response_model=App,
    responses=problems_of(404) | {200: {"description": "The app.", "headers": ETAG}},
)
async def get_app(request: Request, caller: Calling, namespace: Namespace, name: Name) -> Response:
    """One application: what it is, and how it is."""
    context = context_of(request)
    await context.permit(caller, "get", namespace, name)
    return await app_answer(context, await context.apps.get(namespace, name), 200)


@router.put(
    "/v1/namespaces/{namespace}/apps/{name}",
    response_model=App | Plan,
    openapi_extra=body_of("Document", JSON),
    responses=problems_of(400, 408, 409, 412, 413, 415)
    | {
        200: {
            "description": "Replaced, or the same already; or the plan of a dry run; or, with wait, events.",
            "headers": ETAG,
            "content": EVENTS,
        },
        201: {"model": App, "description": "Created.", "headers": ETAG},
    },
)
async def replace_app(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    dry_run: DryRun = None,
    wait: Wait = "false",
    if_match: IfMatch = None,
) -> Response:
    """Create an application, or make it what the document says."""
    context = context_of(request)
    async with audited(caller, "replace", namespace, name, dry_run=dry_run) as entry:
        await context.permit(caller, "replace", namespace, name)
        document = _document(await read_json(request, JSON), namespace, context, name)
        if dry_run:
            return answer_of(Plan(objects=await context.apps.plan(namespace, document, if_match)))

        async def make(tell: Tell) -> tuple[Live, bool]:
            live, created = await context.apps.replace(caller.username, namespace, document, if_match, tell=tell)
            entry.result = "created" if created else "replaced"
            return live, created

        return await _made(context, caller, entry, make, wait)


@router.patch(
    "/v1/namespaces/{namespace}/apps/{name}",
    response_model=App | Plan,
    openapi_extra=body_of("Patch", MERGE_PATCH),
    responses=problems_of(400, 404, 408, 409, 412, 413, 415)
    | {200: {"description": "Changed; or the plan of a dry run; or, with wait, events.", "headers": ETAG, "content": EVENTS}},
)
async def patch_app(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    dry_run: DryRun = None,
    wait: Wait = "false",
    if_match: IfMatch = None,
) -> Response:
    """Change fields of an application by a JSON merge patch (RFC 7396)."""
    context = context_of(request)
    async with audited(caller, "patch", namespace, name, dry_run=dry_run) as entry:
        await context.permit(caller, "patch", namespace, name)
        patch = await read_json(request, MERGE_PATCH)

        def edit(document: Document) -> Document:
            return checked(complete(patched(document, patch), namespace, context.domain), namespace)

        if dry_run:
            return answer_of(Plan(objects=await context.apps.plan_edit(namespace, name, edit, if_match)))

        async def make(tell: Tell) -> tuple[Live, bool]:
            live, created = await context.apps.edit(caller.username, namespace, name, edit, if_match, tell=tell)
            entry.result = "patched"
            return live, created

        return await _made(context, caller, entry, make, wait)


@router.delete(
    "/v1/namespaces/{namespace}/apps/{name}",
    status_code=204,
    responses=problems_of(404, 409, 412)
    | {
        200: {"description": "With wait, events.", "content": EVENTS},
        202: {"description": "Deleted; the API server is still removing what belonged to it."},
        204: {"description": "Deleted, and nothing is left."},
    },
)
async def delete_app(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    dry_run: DryRun = None,
    wait: Wait = "false",
    if_match: IfMatch = None,
) -> Response:
    """Delete an application, and all that was made for it."""
    context = context_of(request)
    async with audited(caller, "delete", namespace, name, dry_run=dry_run) as entry:
        await context.permit(caller, "delete", namespace, name)
        if wait == "false" or dry_run:
            is_gone = await context.apps.delete(namespace, name, if_match, dry_run=dry_run is not None)
            entry.result = "deleted"
            return Response(status_code=204 if is_gone else 202)
        live = await context.apps.get(namespace, name)

        async def work(progress: Progress) -> Json:
            async with entry.passed_on():
                is_gone = await context.apps.delete(namespace, name, if_match, tell=progress.tell)
                entry.result = "deleted"
            if is_gone:
                return {"outcome": "deleted"}
            return await until_gone(lambda: context.apps.is_gone(namespace, name, live.uid), progress)

        return await context.streams.answer(caller.username, work)


class Entry:
    """The line in the log. It is written once, at the end of what was asked for: that may be later than the call's."""

    def __init__(self, caller: Caller, action: str, namespace: str, name: str) -> None:
        self.name = name
        self.result = "done"
        self._user = caller.username
        self._action = action
        self._namespace = namespace
        self._is_passed_on = False

    @asynccontextmanager
    async def passed_on(self) -> AsyncIterator[None]:
        """For work that goes on without the call: the line is written at the end of this block."""
        self._is_passed_on = True
        try:
            with self._noting():
                yield
        finally:
            self._write()

    @asynccontextmanager
    async def of_call(self) -> AsyncIterator[None]:
        try:
            with self._noting():
                yield
        finally:
            if not self._is_passed_on:
                self._write()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Errors of the API server become problems."""
        try:
            yield
        except ApiError as error:
            refused = of_api_error(error)
            self._note(refused)
            raise refused from error
        except BaseException as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        problem = error.problem if isinstance(error, Refused) else None
        self.result = f"{problem.status} {problem.detail}" if problem is not None else type(error).__name__

    def _write(self) -> None:
        app = f"{self._namespace}/{self.name}"
        fields = {"user": self._user, "action": self._action, "app": app, "result": self.result}
        _audit.info("%s app %s by %r: %s", self._action, app, self._user, self.result, extra=fields)


@asynccontextmanager
async def audited(caller: Caller, action: str, namespace: str, name: str = "", *, dry_run: object = None) -> AsyncIterator[Entry]:
    """Log who has asked for which change, and what came of it. Errors of the API server become problems."""
    entry = Entry(caller, f"{action} (dry run)" if dry_run else action, namespace, name)
    async with entry.of_call():
        yield entry


Make = Callable[[Tell], Awaitable[tuple[Live, bool]]]
"""Makes a change; returns what there is then, and whether the app was created."""


async def _made(context: Context, caller: Caller, entry: Entry, make: Make, wait: str) -> Response:
    """The answer to a change: at once when it is made, or as a stream until the app is served."""
    if wait == "false":
        live, created = await make(lambda step: None)
        return await app_answer(context, live, 201 if created else 200)

    async def work(progress: Progress) -> Json:
        async with entry.passed_on():
            live, created = await make(progress.tell)
        metadata = (live.owner or {})["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        outcome = await until_served(lambda: context.sight.resource(f"{namespace}/{name}"), live, progress)
        return outcome | {"created": created, "app": await last_seen(context, namespace, name)}

    return await context.streams.answer(caller.username, work)


async def last_seen(context: Context, namespace: str, name: str) -> Json | None:
    """The app at the end of a stream; None if it is gone, or cannot be read."""
    try:
        live = await context.apps.get(namespace, name)
        return app_of(live, await context.around(live), context.url).model_dump(mode="json")
    except (ApiError, Refused):
        return None


def _document(body: Any, namespace: str, context: Context, name: str = "") -> Document:
    """The complete document of a body. `name` is that of the path."""
    document = validated(Document, body)
    if name and document.name != name:
        detail = "is another than in the path"
        raise Refused(422, "invalid-document", f"/name: {detail}", errors=[Fault(detail=detail, pointer="/name")])
    return checked(complete(document, namespace, context.domain), namespace)


async def app_answer(context: Context, live: Live, status: int) -> Response:
    around = await context.around(live)
    return answer_of(app_of(live, around, context.url), status, {"ETag": etag_of(live)})


def answer_of(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, media_type=JSON, headers={"Cache-Control": "no-store", **(headers or {})})
