"""Bodies of requests: read within bounds, decoded, checked against a model, and patched (RFC 7396)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from controller.admin.documents import Document, Fault
from controller.admin.problems import Refused, faults_of_validation
from fleet.runtime.terminal import one_line

__all__ = ["JSON", "MAX_BODY", "MERGE_PATCH", "merged", "patched", "read_body", "read_json", "validated"]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
MAX_BODY = 256 << 10
"""Bytes. An API server takes objects of up to about 1.5 MB, and what is written of a document is several times its size."""
MAX_NAMED = 100
"""Characters of a field's name in a complaint."""
BODY_SECONDS = 10.0
"""Seconds for a body to arrive."""

Model = TypeVar("Model", bound=BaseModel)


async def read_json(request: Request, media_type: str, *, most: int = MAX_BODY) -> Any:
    """The body of a request, of at most that many bytes, decoded. Raises Refused: 400, 408, 413 or 415."""
    data = await read_body(request, media_type, most=most)
    try:
        found = from_json(data, allow_inf_nan=False)
        json.loads(data.decode(), object_pairs_hook=_unique)
        return found
    except ValueError as error:
        raise Refused(400, "not-json", f"the body is not JSON: {error}") from error


def _unique(fields: list[tuple[str, Any]]) -> None:
    """Refuse two fields of the same name: what looked at the body before us may have taken the other one. Keeps nothing."""
    names = set()
    for name, _ in fields:
        if name in names:
            raise ValueError(f"two fields have the name {one_line(name[:MAX_NAMED])!r}")
        names.add(name)


async def read_body(request: Request, media_type: str, *, most: int = MAX_BODY) -> bytes:
    """The bytes of a body. Raises Refused: 400, 408, 413 or 415."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "media-type", f"the body must be {media_type}, without a content coding")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request, most)
    except TimeoutError as error:
        raise Refused(408, "too-slow", f"the body did not arrive within {BODY_SECONDS:g} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "cut-off", "the body ended too early") from error


async def _read(request: Request, most: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refused(413, "too-large", f"the body has more than {most} bytes", headers={"Connection": "close"})
        parts.append(part)
    return b"".join(parts)


def validated(model: type[Model], value: object) -> Model:
    """The value as a model. Raises Refused: 422 with every field that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = faults_of_validation(error, value)
        first = faults[0]
        raise Refused(422, "invalid-document", f"{first.pointer or 'the document'}: {first.detail}", errors=faults) from error


def patched(document: Document, patch: object) -> Document:
    """The document after a merge patch. Raises Refused: 422."""
    if not isinstance(patch, Mapping):
        raise Refused(
            422, "invalid-document", "the patch should be an object", errors=[Fault(detail="should be an object", pointer="")]
        )
    # A name that nobody knows is a mistake here, too, even if it would only take away what there is not.
    faults = [
        Fault(detail="is not a field", pointer="/" + name.replace("~", "~0").replace("/", "~1"))
        for name in patch
        if name not in Document.model_fields
    ]
    if faults:
        raise Refused(422, "invalid-document", f"{faults[0].pointer}: {faults[0].detail}", errors=faults)
    after = validated(Document, merged(document.model_dump(mode="json"), patch))
    if after.name != document.name:
        detail = "an app cannot be renamed"
        raise Refused(422, "invalid-document", f"/name: {detail}", errors=[Fault(detail=detail, pointer="/name")])
    return after


def merged(target: object, patch: object) -> object:
    """RFC 7396 section 2. As deep as the patch, whose depth the decoder bounds."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
