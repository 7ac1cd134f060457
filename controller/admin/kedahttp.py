"""The admin paths of kedahttp (osscda/kedahttp): POST /app and DELETE /app, with its bodies and its answers, which are texts.

Off unless WEIR_ADMIN_KEDAHTTP_NAMESPACE names the namespace of their applications. What it did wrong is not repeated: callers
have a token and permissions, both calls may be repeated, a failure leaves nothing behind, and applications
are counted one by one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from controller.admin.body import BODY_SECONDS, MAX_BODY, validated
from controller.admin.checks import checked
from controller.admin.documents import MAX_REPLICAS, Document
from controller.admin.objects import complete
from controller.admin.problems import Refused
from controller.admin.routes import audited, caller_of, context_of
from fleet.defaults import PORT_LIMIT

__all__ = ["kedahttp_router"]

kedahttp_router = APIRouter(include_in_schema=False)

_STEPS = (("Deployment", "deployment"), ("replicas", "deployment"), ("Service", "service"), ("HTTPScaledObject", "scaledobject"))
"""What a step's name contains, and what kedahttp calls it."""
_OWN = frozenset({401, 403, 408, 409, 413, 429})
"""Statuses that say more than its 400 and 500, and are kept."""


@kedahttp_router.post("/app")
async def create(request: Request) -> Response:
    """Create an application; the same one again is no mistake."""
    try:
        caller, context = await caller_of(request), context_of(request)
        namespace = context.kedahttp_namespace
        async with audited(caller, "create", namespace) as entry:
            await context.permit(caller, "create", namespace)
            document = complete(_document(await _body(request)), namespace, context.domain)
            entry.name = document.name
            await context.apps.create(caller.username, namespace, checked(document, namespace))
            entry.result = "created"
        return Response(status_code=200)
    except Refused as refused:
        return _text(refused, "creating")


@kedahttp_router.delete("/app")
async def delete(request: Request) -> Response:
    """Delete an application. That it is gone already is what was wanted."""
    try:
        caller, context = await caller_of(request), context_of(request)
        namespace, name = context.kedahttp_namespace, request.query_params.get("name", "")
        async with audited(caller, "delete", namespace, name[:63]) as entry:
            if not name:
                raise Refused(400, "no-name", "'name' query param required")
            validated(Document, {"name": name, "image": "none"})
            await context.permit(caller, "delete", namespace, name)
            try:
                await context.apps.delete(namespace, name, None)
                entry.result = "deleted"
            except Refused as refused:
                if refused.status != 404:
                    raise
                entry.result = "was not there"
        return PlainTextResponse("deleted")
    except Refused as refused:
        return _text(refused, "deleting")


def _document(body: Any) -> Document:
    """Raises Refused."""
    if not isinstance(body, dict) or not all(isinstance(body.get(field, ""), str) for field in ("name", "image", "port")):
        raise Refused(400, "not-json", "decoding request")
    port = body.get("port", "")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= PORT_LIMIT):
        raise Refused(400, "invalid-port", "invalid port")
    fields = {
        "name": body.get("name", ""),
        "image": body.get("image", ""),
        "ports": [{"port": int(port)}],
        "environment": {"ENV": "cscaler"},
        "replicas": {"min": 0, "max": MAX_REPLICAS},
    }
    return validated(Document, fields)


async def _body(request: Request) -> Any:
    """Any media type, as kedahttp took it. Raises Refused."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > MAX_BODY:
                    raise Refused(413, "too-large", f"the body has more than {MAX_BODY} bytes", headers={"Connection": "close"})
        return from_json(bytes(data), allow_inf_nan=False)
    except TimeoutError as error:
        raise Refused(408, "too-slow", "the body did not arrive in time") from error
    except (ValueError, ClientDisconnect) as error:
        raise Refused(400, "not-json", "decoding request") from error


def _text(refused: Refused, doing: str) -> Response:
    status, detail = refused.status, refused.problem.detail
    if refused.problem.step is not None or status >= 500:
        step = refused.problem.step or ""
        status, detail = 500, f"{doing} {next((word for part, word in _STEPS if part in step), 'scaledobject')}"
    elif status not in _OWN:
        status = 400
    return PlainTextResponse(detail, status, headers=refused.headers)
