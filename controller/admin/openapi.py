"""The OpenAPI document: bodies and problems that FastAPI does not see, because the API reads and refuses by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from controller.admin.documents import Document, Problem
from controller.admin.problems import PROBLEM_JSON, TITLES

__all__ = ["BODIES", "body_of", "document", "problems_of"]

Json = dict[str, Any]

BODIES: list[type[BaseModel]] = [Document]
"""Models of bodies that routes name by `body_of`."""

_ALWAYS = (401, 403, 422, 429, 500, 502, 503)
_HEADERS = {
    401: ("WWW-Authenticate", "string"),
    429: ("Retry-After", "integer"),
    503: ("Retry-After", "integer"),
}


def body_of(schema: str, media_type: str) -> Json:
    """A request body, for the description of a route."""
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": True, "content": content}}


def problems_of(*statuses: int) -> dict[int | str, Json]:
    """Answers with problems: these, and those that every call may give."""
    return {status: _problem(status) for status in sorted({*_ALWAYS, *statuses})}


def _problem(status: int) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    described: Json = {"description": TITLES[status], "content": {PROBLEM_JSON: {"schema": schema}}}
    if status in _HEADERS:
        name, kind = _HEADERS[status]
        described["headers"] = {name: {"schema": {"type": kind}}}
    return described


def document(app: FastAPI) -> Json:
    """The document of an application, made once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    models = [*((model, "validation") for model in BODIES), (Problem, "serialization")]
    _, extra = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    components = made.setdefault("components", {})
    schemas = {**extra["$defs"], **components.get("schemas", {})}
    schemas["Patch"] = {
        "type": "object",
        "description": "A JSON merge patch (RFC 7396) of a Document: fields to change, null for those to remove.",
    }
    components["schemas"] = schemas
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A Kubernetes token, as kubectl create token makes it."}
    }
    made["security"] = [{"bearer": []}]
    app.openapi_schema = made
    return made
