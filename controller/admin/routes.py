"""The HTTP calls on applications. Each goes the same way: who asks, not too often, whether they may, what they ask for, and then
it is done. A change leaves a line in the log, whatever comes of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel

from controller.admin.authentication import Caller
from controller.admin.body import JSON, MERGE_PATCH, patched, read_json, validated
from controller.admin.checks import checked, etag_of
from controller.admin.context import Context
from controller.admin.documents import NAME, App, AppList, Document, Fault, Plan
from controller.admin.objects import Live, complete
from controller.admin.openapi import body_of, problems_of
from controller.admin.problems import Refused, of_api_error
from controller.admin.views import app_of, summary_of
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["caller_of", "router"]

MAX_PAGE = 500
PAGE = 100

_audit = logging.getLogger("controller.admin.audit")

router = APIRouter()


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def caller_of(request: Request) -> Caller:
    """The caller of a request, who is not asking too often. Raises Refused: 401, 429 or 503."""
    context = _context(request)
    address = request.client.host if request.client is not None else ""
    caller = await context.authenticator.caller(request.headers.getlist("authorization"), address)
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
    context = _context(request)
    await context.permit(caller, "list", namespace)
    items, next_token = await context.apps.page(namespace, limit, token)
    return _json(AppList(items=[summary_of(item, context.url) for item in items], next=next_token))


@router.post(
    "/v1/namespaces/{namespace}/apps",
    status_code=201,
    response_model=App,
    openapi_extra=body_of("Document", JSON),
    responses=problems_of(400, 408, 409, 413, 415)
    | {
        200: {"model": App | Plan, "description": "The same app exists; or the plan of a dry run.", "headers": ETAG},
        201: {"description": "Created.", "headers": ETAG},
    },
)
async def create_app(request: Request, caller: Calling, namespace: Namespace, dry_run: DryRun = None) -> Response:
    """Create an application, which is asleep until its first request. The same call again gives the same result."""
    context = _context(request)
    async with _audited(caller, "create", namespace, dry_run=dry_run) as entry:
        await context.permit(caller, "create", namespace)
        document = _document(await read_json(request, JSON), namespace, context)
        entry.name = document.name
        if dry_run:
            return _json(Plan(objects=await context.apps.plan(namespace, document, None, new=True)))
        live, created = await context.apps.create(caller.username, namespace, document)
        entry.result = "created" if created else "was there"
        return await _app(context, live, 201 if created else 200)


@router.get(
    "/v1/namespaces/{namespace}/apps/{name}",
    response_model=App,
    responses=problems_of(404) | {200: {"description": "The app.", "headers": ETAG}},
)
async def get_app(request: Request, caller: Calling, namespace: Namespace, name: Name) -> Response:
    """One application: what it is, and how it is."""
    context = _context(request)
    await context.permit(caller, "get", namespace, name)
    return await _app(context, await context.apps.get(namespace, name), 200)


@router.put(
    "/v1/namespaces/{namespace}/apps/{name}",
    response_model=App | Plan,
    openapi_extra=body_of("Document", JSON),
    responses=problems_of(400, 408, 409, 412, 413, 415)
    | {
        200: {"description": "Replaced, or the same already; or the plan of a dry run.", "headers": ETAG},
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
    if_match: IfMatch = None,
) -> Response:
    """Create an application, or make it what the document says."""
    context = _context(request)
    async with _audited(caller, "replace", namespace, name, dry_run=dry_run) as entry:
        await context.permit(caller, "replace", namespace, name)
        document = _document(await read_json(request, JSON), namespace, context, name)
        if dry_run:
            return _json(Plan(objects=await context.apps.plan(namespace, document, if_match)))
        live, created = await context.apps.replace(caller.username, namespace, document, if_match)
        entry.result = "created" if created else "replaced"
        return await _app(context, live, 201 if created else 200)


@router.patch(
    "/v1/namespaces/{namespace}/apps/{name}",
    response_model=App | Plan,
    openapi_extra=body_of("Patch", MERGE_PATCH),
    responses=problems_of(400, 404, 408, 409, 412, 413, 415)
    | {200: {"description": "Changed; or the plan of a dry run.", "headers": ETAG}},
)
async def patch_app(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    dry_run: DryRun = None,
    if_match: IfMatch = None,
) -> Response:
    """Change fields of an application by a JSON merge patch (RFC 7396)."""
    context = _context(request)
    async with _audited(caller, "patch", namespace, name, dry_run=dry_run) as entry:
        await context.permit(caller, "patch", namespace, name)
        patch = await read_json(request, MERGE_PATCH)

        def edit(document: Document) -> Document:
            return checked(complete(patched(document, patch), namespace, context.domain), namespace)

        if dry_run:
            return _json(Plan(objects=await context.apps.plan_edit(namespace, name, edit, if_match)))
        live, _ = await context.apps.edit(caller.username, namespace, name, edit, if_match)
        entry.result = "patched"
        return await _app(context, live, 200)


@router.delete(
    "/v1/namespaces/{namespace}/apps/{name}",
    status_code=204,
    responses=problems_of(404, 409, 412)
    | {
        202: {"description": "Deleted; the API server is still removing what belonged to it."},
        204: {"description": "Deleted, and nothing is left."},
    },
)
async def delete_app(
    request: Request, caller: Calling, namespace: Namespace, name: Name, *, dry_run: DryRun = None, if_match: IfMatch = None
) -> Response:
    """Delete an application, and all that was made for it."""
    context = _context(request)
    async with _audited(caller, "delete", namespace, name, dry_run=dry_run) as entry:
        await context.permit(caller, "delete", namespace, name)
        is_gone = await context.apps.delete(namespace, name, if_match, dry_run=dry_run is not None)
        entry.result = "deleted"
        return Response(status_code=204 if is_gone else 202)


class _Entry:
    """What the line in the log says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.result = "done"


@asynccontextmanager
async def _audited(caller: Caller, action: str, namespace: str, name: str = "", *, dry_run: object) -> AsyncIterator[_Entry]:
    """Log who has asked for which change, and what came of it. Errors of the API server become problems."""
    entry = _Entry(name)
    try:
        try:
            yield entry
        except ApiError as error:
            raise of_api_error(error) from error
    except BaseException as error:
        problem = error.problem if isinstance(error, Refused) else None
        entry.result = f"{problem.status} {problem.detail}" if problem is not None else type(error).__name__
        raise
    finally:
        what = f"{action} (dry run)" if dry_run else action
        app = f"{namespace}/{entry.name}"
        fields = {"user": caller.username, "action": what, "app": app, "result": entry.result}
        _audit.info("%s app %s by %r: %s", what, app, caller.username, entry.result, extra=fields)


def _document(body: Any, namespace: str, context: Context, name: str = "") -> Document:
    """The complete document of a body. `name` is that of the path."""
    document = validated(Document, body)
    if name and document.name != name:
        detail = "is another than in the path"
        raise Refused(422, "invalid-document", f"/name: {detail}", errors=[Fault(detail=detail, pointer="/name")])
    return checked(complete(document, namespace, context.domain), namespace)


async def _app(context: Context, live: Live, status: int) -> Response:
    scaled = await context.scaled_object(live)
    return _json(app_of(live, scaled, context.url), status, {"ETag": etag_of(live)})


def _json(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, media_type=JSON, headers={"Cache-Control": "no-store", **(headers or {})})
