"""Every object that the add-on accepts is accepted, on a real API server: its schemas are defined in another group, beside ours.

Each object of the corpus is sent to both, as a dry run, so nothing is stored. The half of the corpus with changes to the minimal
object is left to the unit tests, because it gives the same results.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cluster.api import Api, ApiError, namespaced
from tests.cluster.controlplane import until
from tests.support.addon import HTTP_SCALED_OBJECT, INTERCEPTOR_ROUTE, Schema, definition
from tests.support.corpus import corpus
from tests.support.full import FULL
from tests.support.structural import faults

GROUP = "addon.example.com"
DEFINITIONS = namespaced("customresourcedefinitions")
AT_ONCE = 16
STEP = 1 if FULL else 4
"""One of this many objects is tested, unless at full size."""

pytestmark = [pytest.mark.usefixtures("installed"), pytest.mark.timeout(900)]

KINDS = [
    pytest.param("HTTPScaledObject", "http.keda.sh/v1alpha1", HTTP_SCALED_OBJECT, id="http"),
    pytest.param("InterceptorRoute", "http.keda.sh/v1beta1", INTERCEPTOR_ROUTE, id="route"),
]


async def verdict(api: Api, api_version: str, kind: str, namespace: str, made: Schema) -> str:
    """Why the server refuses an object; "" if it accepts it."""
    path = f"/apis/{api_version}/namespaces/{namespace}/{kind.lower()}s"
    whole = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "tried"}, **made}
    try:
        await api.call("POST", path, whole, dryRun="All", fieldValidation="Strict")
    except ApiError as error:
        if error.status not in (400, 422):
            raise
        return str(error)
    return ""


@pytest.mark.parametrize(("kind", "api_version", "schema"), KINDS)
async def test_what_the_addon_accepts_is_accepted(api: Api, namespace: str, kind: str, api_version: str, schema: Schema) -> None:
    await api.create(DEFINITIONS, definition(kind, GROUP, schema))

    async def served() -> bool | None:
        try:
            return await verdict(api, f"{GROUP}/v1", kind, namespace, dict(objects)["full"]) == "" or None
        except ApiError:
            return None

    objects = list(corpus(schema, ("full",)))[::STEP]
    try:
        await until(served, f"{kind} of {GROUP} is served")
        places = asyncio.Semaphore(AT_ONCE)

        async def tried(what: str, made: Schema) -> tuple[str, bool, bool, str]:
            async with places:
                theirs = await verdict(api, f"{GROUP}/v1", kind, namespace, made)
                ours = "" if theirs else await verdict(api, api_version, kind, namespace, made)
            return what, not list(faults(schema, made)), not theirs, ours

        results = await asyncio.gather(*(tried(what, made) for what, made in objects))
    finally:
        await api.delete(namespaced("customresourcedefinitions", name=f"{kind.lower()}s.{GROUP}"))
    assert [(what, ours) for what, _, _, ours in results if ours] == []
    # Our own evaluation of schemas, which tests without an API server use, agrees with the server.
    misread = [what for what, expected, theirs, _ in results if expected != theirs]
    assert not misread, f"{len(misread)}: {misread[:50]}"
    assert sum(theirs for _, _, theirs, _ in results) > len(results) / 4


async def test_headers_of_two_writers_who_apply_are_merged(api: Api, namespace: str) -> None:
    async def apply(manager: str, headers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        body = {
            "apiVersion": "http.keda.sh/v1alpha1",
            "kind": "HTTPScaledObject",
            "metadata": {"name": "shared"},
            "spec": {"scaleTargetRef": {"service": "web", "port": 80}, "headers": headers},
        }
        path = namespaced("httpscaledobjects", namespace, "shared")
        made = await api.call("PATCH", path, body, kind="application/apply-patch+yaml", fieldManager=manager)
        found: list[dict[str, Any]] = made["spec"]["headers"]
        return found

    await apply("one", [{"name": "X-A", "value": "1"}])
    assert await apply("two", [{"name": "X-B"}]) == [{"name": "X-A", "value": "1"}, {"name": "X-B"}]
