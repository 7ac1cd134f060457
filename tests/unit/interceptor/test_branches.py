"""Which backend of a rule a request goes to, by weight, by its session, and by what is ready."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Affinity
from interceptor.app import branches
from interceptor.app.affinity import Sessions
from interceptor.app.branches import Alternatives, Shares
from interceptor.http1.request import parse_request


def part(name: str, *, ready: bool = True, affinity: Affinity | None = None) -> Any:
    """As much of a part of an application as is looked at."""
    backend = SimpleNamespace(backend=Backend(f"{name}.test", 80))
    sessions: Any = None if affinity is None else Sessions("n/a", affinity, "key", place=name)
    return SimpleNamespace(name=name, endpoints=SimpleNamespace(ready=[backend] if ready else []), sessions=sessions)


def asked(*fields: bytes) -> Any:
    return parse_request(b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", *fields, b"", b"")))


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What chance says, one after the other."""
    given: list[float] = []
    monkeypatch.setattr(branches, "_random", lambda: given.pop(0))
    return given


def test_points_are_shared_out_by_weight(points: list[float]) -> None:
    shares = Shares([(part("a"), 3), (part("b"), 1), (part("c"), 4)])
    points += [number / 8 + 0.01 for number in range(8)]
    assert "".join(shares.pick(asked()).name for _ in range(8)) == "aaabcccc"


def test_what_is_not_ready_has_no_share_unless_nothing_is(points: list[float]) -> None:
    points += [0.0, 0.99]
    assert [Shares([(part("a", ready=False), 9), (part("b"), 1)]).pick(asked()).name for _ in range(2)] == ["b", "b"]
    points += [0.0, 0.99]
    nothing = Shares([(part("a", ready=False), 1), (part("b", ready=False), 1)])
    assert [nothing.pick(asked()).name for _ in range(2)] == ["a", "b"]


def test_a_cookie_decides_before_weight(points: list[float]) -> None:
    affinity = Affinity(cookie="s")
    canary, stable = part("canary", affinity=affinity), part("stable", affinity=affinity)
    shares: Any = Shares([(stable, 99), (canary, 1)])
    ((_, value),) = canary.sessions.fields(asked(), Backend("canary.test", 80))
    cookie = b"Cookie: " + value.partition(b";")[0]
    assert shares.pick(asked(cookie)) is canary
    assert stable.sessions.forgotten(asked(cookie)) == ()
    ((_, forgotten),) = canary.sessions.forgotten(asked(cookie))
    assert forgotten.endswith(b"Max-Age=0")
    canary.endpoints.ready = []
    points.append(0.5)
    assert shares.pick(asked(cookie)) is stable
    stable.endpoints.ready = []
    assert shares.pick(asked(cookie)) is canary  # it waits where it was


def test_a_header_decides_and_a_change_of_weights_moves_few() -> None:
    affinity = Affinity(header="X-User")
    one, other = part("one", affinity=affinity), part("other", affinity=affinity)
    before, after = Shares([(one, 90), (other, 10)]), Shares([(one, 80), (other, 20)])
    users = [asked(b"X-User: %d" % number) for number in range(500)]
    moves = Counter((before.pick(user).name, after.pick(user).name) for user in users)
    assert [before.pick(user) for user in users] == [before.pick(user) for user in users]
    assert moves["other", "one"] == 0
    assert 20 < moves["one", "other"] < 85  # a tenth of them
    assert 20 < moves["other", "other"] < 85


def test_a_request_without_the_header_goes_by_chance(points: list[float]) -> None:
    affinity = Affinity(header="X-User")
    points.append(0.9)
    assert Shares([(part("a", affinity=affinity), 1), (part("b", affinity=affinity), 1)]).pick(asked()).name == "b"


def test_a_connection_that_its_client_authenticated_decides() -> None:
    one, other = part("a"), part("b")
    own: Any = SimpleNamespace(endpoint=other.endpoints.ready[0])
    assert Shares([(one, 1_000_000), (other, 1)]).pick(asked(), own) is other


def test_the_first_alternative_that_has_something() -> None:
    none: Any = SimpleNamespace(ready=[], find=lambda _: None, choose=lambda: None)
    some: Any = SimpleNamespace(ready=["x"], find=lambda _: "found", choose=lambda: "chosen")
    there: Any
    nowhere: Any
    there, nowhere = Alternatives([none, some]), Alternatives([none, none])
    assert (there.ready, there.find(1), there.choose()) == (["x"], "found", "chosen")
    assert (nowhere.ready, nowhere.find(1), nowhere.choose()) == ([], None, None)
