"""The paths of helm-web-api (microsoft/helm-web-api, docs/api.md): /install, /upgrade and /delete, with its bodies and answers.

Off unless WEIR_ADMIN_HELM_NAMESPACE names the namespace of their releases. What it did wrong is not repeated: callers have a
token and permissions, values are no arguments of a shell, a wrong body is not an internal error, and a reason is the reason.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, StringConstraints
from starlette.convertors import StringConvertor, register_url_convertor

from controller.admin.body import JSON, MAX_BODY, merged, read_body, read_json, validated
from controller.admin.documents import Fault
from controller.admin.problems import Refused
from controller.admin.releases.documents import Model, ReleaseDocument, ReleaseName
from controller.admin.releases.part import ReleasesPart
from controller.admin.releases.routes import Audited, audited
from controller.admin.routes import caller_of
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["any_case", "old_router", "read_fields", "values_of"]

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 1000
MAX_KEYS_OF_PATH = 32
MAX_INDEX = 100
DELETE_SECONDS = 300
_DOT = re.compile(r"(?<!\\)\.")
"""Between two keys; one with a backslash is part of a key."""
_INDEX = re.compile(r"[0-9]+")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_SEGMENT = re.compile(r"([^\[\]]*)((?:\[[0-9]{1,3}\])*)")
_TRUE = ("true", "1", "on", True, 1)


def any_case(word: str) -> str:
    """The path of this one word, whose case does not count: helm-web-api's server, Express, has it so."""
    kind = type(word, (StringConvertor,), {"regex": f"(?ai:{re.escape(word)})"})
    register_url_convertor(f"any_case_{word}", kind())
    return f"/{{word:any_case_{word}}}"


old_router = APIRouter(include_in_schema=False)


class Installation(Model):
    """What helm-web-api takes; releaseName is only needed for an upgrade. `credentials` is ours."""

    chartName: Annotated[str, StringConstraints(min_length=1, max_length=500)]  # noqa: N815 - its own names
    releaseName: ReleaseName | None = None  # noqa: N815
    privateChartsRepo: Annotated[str, StringConstraints(max_length=500)] | None = None  # noqa: N815
    credentials: Annotated[str, StringConstraints(max_length=253)] | None = None
    values: dict[str, Any] = Field({}, max_length=MAX_FIELDS)
    reuseValue: bool | int | str | None = None  # noqa: N815


class Upgrade(Installation):
    releaseName: ReleaseName  # noqa: N815


class Deletion(Model):
    releaseName: ReleaseName  # noqa: N815


@old_router.post(any_case("install"))
async def install(request: Request) -> Response:
    """Install a chart."""

    async def work(part: ReleasesPart, entry: Audited, body: Any) -> dict[str, Any]:
        asked = validated(Installation, body)
        document = _document(part, asked, asked.values, asked.releaseName or _new_name(asked.chartName))
        entry.name = document.name
        await part.releases.apply(entry.caller, part.old_namespace, document, _nobody, new=True)
        service = await part.releases.service(entry.caller, part.old_namespace, document.name)
        return {"serviceName": service, "releaseName": document.name}

    return await _answered(request, "install", work)


@old_router.post(any_case("upgrade"))
async def upgrade(request: Request) -> Response:
    """Upgrade a release that exists."""

    async def work(part: ReleasesPart, entry: Audited, body: Any) -> dict[str, Any]:
        asked = validated(Upgrade, body)
        entry.name = asked.releaseName
        # Not found is an answer of its own: an upgrade installs nothing here.
        now = await part.releases.get(entry.caller, part.old_namespace, asked.releaseName)
        document = _document(part, asked, asked.values, asked.releaseName)
        if asked.reuseValue in _TRUE:
            document = document.model_copy(update={"values": merged(now.values, document.values)})
        await part.releases.apply(entry.caller, part.old_namespace, document, _nobody)
        return {}

    return await _answered(request, "upgrade", work)


@old_router.post(any_case("delete"))
async def delete(request: Request) -> Response:
    """Delete a release."""

    async def work(part: ReleasesPart, entry: Audited, body: Any) -> dict[str, Any]:
        entry.name = validated(Deletion, body).releaseName
        await part.releases.delete(entry.caller, part.old_namespace, entry.name, DELETE_SECONDS, _nobody)
        return {}

    return await _answered(request, "delete", work)


def values_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values by paths as `helm --set` has them: a.b[0].c, and a backslash before a dot that is none. The values themselves stay
    what they are. Raises Refused."""
    values: Any = {}
    for path, value in given.items():
        keys = _keys(path)
        if keys is None:
            raise _wrong("values", f"has {path[:100]!r}, which is no path of a value")
        values = _put(values, keys, value, path)
    return dict(values)


def _keys(path: str) -> list[str | int] | None:
    keys: list[str | int] = []
    for part in _DOT.split(path):
        found = _SEGMENT.fullmatch(part.replace("\\.", "."))
        if found is None or not found[1]:
            return None
        keys.append(found[1])
        keys += [int(index) for index in _INDEX.findall(found[2])]
    if len(keys) > MAX_KEYS_OF_PATH or any(isinstance(key, int) and key > MAX_INDEX for key in keys):
        return None
    return keys


def _put(target: Any, keys: list[str | int], value: Any, path: str) -> Any:
    """The target with the value in its place; what is missing on the way is made."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(key, int):
        items = [] if target is None else target
        if not isinstance(items, list):
            raise _wrong("values", f"has {path[:100]!r} and something else in its way")
        items = [*items, *[None] * (key + 1 - len(items))]
        items[key] = _put(items[key], rest, value, path)
        return items
    if target is not None and not isinstance(target, dict):
        raise _wrong("values", f"has {path[:100]!r} and something else in its way")
    made = dict(target or {})
    made[key] = _put(made.get(key), rest, value, path)
    return made


def _document(part: ReleasesPart, asked: Installation, values: Mapping[str, Any], name: str) -> ReleaseDocument:
    chart: dict[str, Any] = {"credentials": asked.credentials} if asked.credentials is not None else {}
    given = asked.chartName.lower()
    if given.startswith("oci://"):
        chart["oci"] = given
    else:
        repository = asked.privateChartsRepo or part.default_repository
        if repository is None:
            raise _wrong("privateChartsRepo", "is missing, and WEIR_ADMIN_CHARTS has no repository to take the chart from")
        if urlsplit(repository).username is not None:
            detail = "has a user in it, and addresses are written into logs: put it into a Secret, and name that as credentials"
            raise _wrong("privateChartsRepo", detail)
        chart |= {"repository": repository, "name": given.rpartition("/")[2]}
    return validated(ReleaseDocument, {"name": name, "chart": chart, "values": values_of(values)})


def _new_name(chart: str) -> str:
    """A name for a release that has none: of the chart, and something that no other has."""
    begin = _NOT_IN_NAMES.sub("-", chart.lower().rpartition("/")[2]).strip("-")[:40].strip("-") or "release"
    return f"{begin}-{uuid.uuid4().hex[:8]}"


async def _answered(
    request: Request, action: str, work: Callable[[ReleasesPart, Audited, Any], Awaitable[dict[str, Any]]]
) -> Response:
    """Its answers: a status, and what else there is; or a reason."""
    try:
        caller = await caller_of(request)
        part: ReleasesPart = request.app.state.releases
        request.app.state.context.check_served(part.old_namespace)
        async with audited(caller, action, part.old_namespace) as entry:
            part.releases.check()
            found = await work(part, entry, await read_fields(request))
        return JSONResponse({"status": "success", **found}, headers={"Cache-Control": "no-store"})
    except Refused as refused:
        failed = {"status": "failed", "reason": refused.problem.detail}
        return JSONResponse(failed, refused.status, headers=refused.headers)
    except ApiError as error:
        return JSONResponse({"status": "failed", "reason": str(error)}, 503, headers={"Retry-After": "2"})


async def read_fields(request: Request) -> Any:
    """JSON, or the fields of a form, in which values have names like values[a.b]. A field of a form that is empty is one that
    nobody has filled in."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return await read_json(request, JSON)
    try:
        pairs = parse_qsl(
            (await read_body(request, FORM, most=MAX_BODY)).decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise Refused(400, "not-a-form", f"the body is no form: {error}") from error
    body: dict[str, Any] = {}
    for name, value in pairs:
        if name.startswith("values[") and name.endswith("]"):
            body.setdefault("values", {})[name[len("values[") : -1]] = value
        elif value:
            body[name] = value
    return body


def _wrong(field: str, detail: str) -> Refused:
    return Refused(422, "invalid-document", f"/{field}: {detail}", errors=[Fault(detail=detail, pointer=f"/{field}")])


def _nobody(step: str) -> None:
    pass
