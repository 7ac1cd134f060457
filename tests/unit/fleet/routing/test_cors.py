"""What a route may say of pages of other origins."""

from __future__ import annotations

import pytest

from fleet.routing.check import check_route
from fleet.routing.cors import Cors
from fleet.routing.faults import RouteError
from fleet.routing.route import Route, Target


def checked(cors: Cors) -> None:
    check_route(Route(app="d/a", target=Target("d/a"), cors=cors))


@pytest.mark.parametrize(
    "origin", ["*", "https://a.test", "http://localhost:3000", "https://*.a.test", "https://*.a.test:8443", "app+x://a"]
)
def test_origins(origin: str) -> None:
    checked(Cors((origin,)))


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "a.test",
        "https://a.test/",
        "https://A.test",
        "https://a.*.test",
        "https://*",
        "https://a.test:x",
        "**",
        "https://" + "a" * 300,
    ],
)
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(RouteError, match=r"cors\.allow_origins\[0\]"):
        checked(Cors((origin,)))


def test_rules_about_several_fields() -> None:
    with pytest.raises(RouteError, match=r"cors\.allow_origins: is empty"):
        checked(Cors(()))
    with pytest.raises(RouteError, match=r"cors\.allow_headers: .* does not go with credentials"):
        checked(Cors(("https://a.test",), allow_headers=("*",), allow_credentials=True))
    with pytest.raises(RouteError, match=r"cors\.allow_methods\[0\]"):
        checked(Cors(("*",), allow_methods=("post",)))
    checked(Cors(("*",), allow_headers=("*",)))
