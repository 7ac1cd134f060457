"""Bodies from ConfigMaps in the answers of routes; and the result if they are missing."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from controller.answers import MAINTENANCE, MAINTENANCE_BODY
from controller.bodies import UNAVAILABLE, Absent, Bodies, are_known, filled, without_bodies
from fleet.discovery.kubernetes.objects import ConfigMap
from fleet.routing.check_answers import MAX_ANSWER_BYTES
from fleet.routing.route import MAX_FILES, MAX_RESPONSE_HEADERS, Route, StaticFile, StaticResponse
from tests.unit.controller.objects import route

HTML, CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
PAGE = ConfigMap({"index.html": "<p>soon", "style.css": "p {}"}, {"logo.png": base64.b64encode(b"\x89PNG").decode()})


def static(key: str | None = "index.html", **response: Any) -> dict[str, Any]:
    source = {"name": "page"} if key is None else {"name": "page", "key": key}
    return {"rules": [{}], "response": {**response, "bodyFromConfigMap": source}}


def fill(bodies: Bodies, *statics: dict[str, Any], **fields: Any) -> tuple[Route, tuple[str, ...]]:
    resource = route(staticRoutes=[*statics], **fields)
    assert resource.route is not None, resource.problem
    return filled(resource.route, resource.references, bodies)


def answer(bodies: Bodies, **fields: Any) -> StaticResponse:
    made, missing = fill(bodies, static(**fields))
    assert missing == ()
    return made.static_routes[0].response


def trouble(found: ConfigMap | Absent, key: str | None = "index.html", **fields: Any) -> str:
    made, missing = fill({"shop/page": found}, static(key, **fields))
    assert made.static_routes[0].response == UNAVAILABLE
    (why,) = missing
    assert why.startswith("staticRoutes[0].response: ")
    return why


BODIES: Bodies = {"shop/page": PAGE}


def test_a_key_is_the_body_and_tells_its_kind() -> None:
    assert answer(BODIES) == StaticResponse(None, (("Content-Type", HTML),), b"<p>soon")
    assert answer(BODIES, key="logo.png").body == b"\x89PNG"
    assert answer(BODIES, statusCode=418, headers={"content-type": "x/y"}) == StaticResponse(
        418, (("content-type", "x/y"),), b"<p>soon"
    )


def test_without_a_key_there_are_files() -> None:
    files = (
        StaticFile("/index.html", b"<p>soon", HTML),
        StaticFile("/logo.png", b"\x89PNG", "image/png"),
        StaticFile("/style.css", b"p {}", CSS),
    )
    assert answer(BODIES, key=None) == StaticResponse(files=files)
    typed = answer(BODIES, key=None, headers={"Content-Type": "x/y"})
    assert {file.content_type for file in typed.files} == {None}


def test_every_place_gets_its_body() -> None:
    page = {"response": static()["response"]}
    made, missing = fill(
        BODIES,
        {"rules": [{}], "response": {"body": "own"}},
        static("style.css"),
        coldStart={"placeholder": page},
        metadata={"annotations": {MAINTENANCE: "true", MAINTENANCE_BODY: "page/index.html"}},
    )
    assert missing == ()
    assert [one.response.body for one in made.static_routes] == [b"own", b"p {}"]
    assert made.cold_start.placeholder is not None
    assert made.maintenance is not None
    assert made.cold_start.placeholder.response.body == made.maintenance.body == b"<p>soon"


def test_a_route_without_references_is_the_same_one() -> None:
    resource = route()
    assert resource.route is not None
    assert filled(resource.route, (), {}) == (resource.route, ())


@pytest.mark.parametrize(
    ("found", "key", "why"),
    [
        (Absent("there is none"), "index.html", "ConfigMap shop/page: there is none"),
        (PAGE, "other.html", "ConfigMap shop/page has no key 'other.html'"),
        (ConfigMap(), None, "ConfigMap shop/page is empty"),
        (ConfigMap({}, {"a": "%"}), "a", "key 'a' is not base64"),
        (ConfigMap({"a": "x" * (MAX_ANSWER_BYTES + 1)}), "a", f"more than {MAX_ANSWER_BYTES} bytes"),
        (ConfigMap({f"a{n}": "" for n in range(MAX_FILES + 1)}), None, f"more than {MAX_FILES} keys"),
        (ConfigMap({"a\r\n": ""}), None, "control characters"),
    ],
)
def test_what_cannot_be_had_is_a_500_and_is_named(found: ConfigMap | Absent, key: str | None, why: str) -> None:
    assert why in trouble(found, key)


def test_no_config_map_makes_a_route_that_no_table_takes() -> None:
    headers = {f"x-{number}": "" for number in range(MAX_RESPONSE_HEADERS)}
    assert "headers" in trouble(PAGE, headers=headers)


def test_the_second_body_that_is_too_much_is_the_one_that_is_missing() -> None:
    size = MAX_ANSWER_BYTES - 100
    large = ConfigMap({"a": "x" * size})
    made, missing = fill({"shop/page": large}, static("a"), static("a"))
    assert [len(one.response.body or b"") for one in made.static_routes] == [size, len(UNAVAILABLE.body or b"")]
    assert missing[0].startswith("staticRoutes[1].response: ")


def test_what_was_not_asked_for_is_not_known() -> None:
    resource = route(staticRoutes=[static()])
    assert not are_known(resource.references, {})
    assert are_known(resource.references, {"shop/page": Absent("there is none")})
    assert are_known((), {})


def test_a_route_without_its_bodies() -> None:
    page = ConfigMap({"index.html": "x" * 100})
    made, _ = fill({"shop/page": page}, static(), static(None), {"rules": [{}], "response": {"body": "ok"}})
    bare, missing = without_bodies(made)
    assert [one.response.body for one in bare.static_routes] == [UNAVAILABLE.body, UNAVAILABLE.body, b"ok"]
    assert [one.partition(":")[0] for one in missing] == ["staticRoutes[0].response", "staticRoutes[1].response"]
