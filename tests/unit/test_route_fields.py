"""Every field of a route has a description, is available in custom resources and in the file of apps, and is documented."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.interceptor_route import InterceptorRouteSpec
from fleet.routing.declare import declared
from fleet.routing.port import ListenPort
from fleet.routing.route import (
    ColdStart,
    Copy,
    Placeholder,
    Previews,
    RateTarget,
    Route,
    StaticFile,
    StaticResponse,
    StaticRoute,
    Target,
    Timeouts,
    WeightedTarget,
)
from tools.docs_tables import FieldDoc, Key, fields_of_app, fields_of_object, fields_of_route, main

DOCS = Path(__file__).parents[2] / "docs"

_OF_THE_OBJECT: dict[Key, str] = {
    (Route, "app"): "the namespace and the name of whatever declares it",
    (Route, "protection"): "its fields stand beside those of the route",
    (Copy, "name"): "of a Preview object, or the key of a copy in the file",
    (Copy, "app"): "follows from the names of the base and of the preview",
    (Copy, "target"): "that of the base, with another Service or app",
    (Copy, "created"): "metadata.creationTimestamp of a Preview; apps of a file have no age",
    (Copy, "elsewhere"): "the status of a Preview says so; all apps of a file are in one namespace",
    (StaticFile, "path"): "follows from the keys of a ConfigMap",
    (StaticFile, "body"): "the value of such a key",
    (StaticFile, "content_type"): "follows from the key's extension",
}
IN_NO_OBJECT: dict[Key, str] = {
    **_OF_THE_OBJECT,
    (Route, "created"): "metadata.creationTimestamp",
    (WeightedTarget, "direct"): "directPodRouting says it of all Services of the object",
    (Previews, "copies"): "Preview objects",
    (Route, "maintenance"): "an annotation, so that kubectl annotate puts a page up",
}
IN_NO_FILE: dict[Key, str] = {
    **_OF_THE_OBJECT,
    (Route, "created"): "apps of a file have no age",
    (Route, "scaling"): "its fields stand beside those of the route",
    (Route, "cold_start"): "its fields stand beside those of the route",
    (Target, "direct"): "there is no Service",
    (WeightedTarget, "direct"): "there is no Service",
    (Placeholder, "response"): "its fields stand beside those of the placeholder",
    (StaticRoute, "response"): "its fields stand beside those of the static answer",
    (StaticRoute, "rules"): "it has one rule, whose fields are its own",
    (StaticResponse, "files"): "an answer has one file",
    (ListenPort, "service_port"): "an app listens on one port",
}
FORMS: dict[str, tuple[Callable[[], Iterable[FieldDoc]], dict[Key, str]]] = {
    "InterceptorRoute": (lambda: fields_of_object(InterceptorRouteSpec), IN_NO_OBJECT),
    "HTTPScaledObject": (lambda: fields_of_object(HTTPScaledObjectSpec), IN_NO_OBJECT),
    "file of apps": (fields_of_app, IN_NO_FILE),
}


def named(keys: Iterable[Key]) -> set[str]:
    return {f"{struct.__name__}.{field}" for struct, field in keys}


def test_the_fields_are_found() -> None:
    found = {(field.owner, field.name) for field in fields_of_route()}
    assert {(Route, "app"), (Timeouts, "idle"), (RateTarget, "window"), (ColdStart, "max_held")} < found


def test_every_field_says_what_it_means() -> None:
    assert [field.name for field in fields_of_route() if not field.field.meaning.endswith(".")] == []


def test_a_field_without_a_meaning_is_no_field() -> None:
    class Silent(msgspec.Struct):
        said: Annotated[int, "something else"] = 0

    with pytest.raises(TypeError, match=r"Silent\.said has no Field"):
        declared(Silent)


@pytest.mark.parametrize("form", FORMS)
def test_every_field_can_be_written(form: str) -> None:
    fields, left_out = FORMS[form]
    there = {told.key for told in fields()}
    every = {(field.owner, field.name) for field in fields_of_route()}
    assert named(every - there) == named(left_out), "a field is missing, or one that is left out for a reason is there"


@pytest.mark.parametrize(("page", "form"), [("kubernetes.md", "InterceptorRoute"), ("local.md", "file of apps")])
def test_every_field_is_reported(page: str, form: str) -> None:
    rows = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]
    told: dict[Key, list[FieldDoc]] = {}
    for each in FORMS[form][0]():
        told.setdefault(each.key, []).append(each)
    for key, many in told.items():
        assert any(f"`{each.path}`" in row and each.meaning.replace("*", "\\*") in row for row in rows for each in many), key


def test_the_tables_are_as_the_code_says() -> None:
    assert main(check=True) == 0
