"""What `weir explain` says of what happens to a request."""

from __future__ import annotations

import pytest

from fleet.routing.route import HeaderChanges, Redirect, Rewrite, Route, Rule, Target, WeightedTarget
from fleet.routing.treatment_words import treatment

ROUTE = Route(
    "n/a",
    Target("n/a"),
    (
        Rule(("a.test",), ("/grpc",), rewrite=Rewrite("/"), backends=(WeightedTarget("n/grpc", 50051),)),
        Rule(("a.test",), ("/old",), redirect=Redirect(scheme="https", prefix="/new", status=308)),
        Rule(
            ("a.test",),
            ("/app",),
            request_headers=HeaderChanges(set=(("X-Key", "secret"),), remove=("Cookie",)),
            response_headers=HeaderChanges(add=(("X-B", "secret"),)),
            backends=(WeightedTarget("n/v1", weight=3), WeightedTarget("n/v2"), WeightedTarget("n/v3", weight=0)),
        ),
        Rule(("a.test",)),
    ),
)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (b"/grpc/S/M", ["rules[0]: /grpc becomes /: the backend reads /S/M", "rules[0]: goes to n/grpc:50051 (100 %)"]),
        (b"/grpc/../x", ['rules[0]: answers 400: ".." lead out of /grpc', "rules[0]: goes to n/grpc:50051 (100 %)"]),
        (b"/old/x", ["rules[1]: answers 308 to https://a.test/new/x, and is not counted"]),
        (
            b"/app",
            [
                "rules[2]: headers of the request: sets X-Key; removes Cookie",
                "rules[2]: headers of the response: adds X-B",
                "rules[2]: goes to n/v1 (75 %), n/v2 (25 %)",
            ],
        ),
        (b"/", []),
    ],
)
def test_what_is_said(path: bytes, words: list[str]) -> None:
    assert [*treatment(ROUTE, b"a.test", path, ())] == words


def test_routes_without_it() -> None:
    assert [*treatment(Route("n/a", Target("n/a"), (Rule(),)), b"a", b"/", ())] == []
