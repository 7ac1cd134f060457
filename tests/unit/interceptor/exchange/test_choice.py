"""Which backend a request goes to, where the less loaded of two is not the answer: sessions, losses, fallbacks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from interceptor.app.admission import UNBOUNDED
from interceptor.exchange import choice as typed

HEAD: Any = object()
choice: Any = typed
"""Backends are fakes here."""


class Backend:
    """An endpoint with a load, that takes what is below a bound unless too many connections to it are being opened."""

    def __init__(self, name: str, load: int = 0, *, dials: bool = True) -> None:
        self.name, self.load, self.dials = name, load, dials

    def __repr__(self) -> str:
        return self.name

    def takes(self, bound: int) -> bool:
        return self.load < bound and self.dials


class Backends:
    """A set of endpoints: the first is what is found, the last what is chosen at random."""

    def __init__(self, *ready: Backend) -> None:
        self.ready = list(ready)

    def find(self, bound: int, *, but: Backend | None = None) -> Backend | None:
        able = [each for each in self.ready if each.takes(bound)]
        return next((each for each in able if each is not but), next(iter(able), None))

    def choose(self) -> Backend | None:
        return self.ready[-1] if self.ready else None


def app(*ready: Backend, session: Backend | None = None, sessions: bool = False, room: bool = False, ceiling: int = 2) -> Any:
    """`session`: the backend that the request's session belongs to."""
    found = SimpleNamespace(find=lambda head, ready: session if session in ready else None)
    return SimpleNamespace(
        endpoints=Backends(*ready), sessions=found if sessions or session else None, room=room, ceiling=ceiling, fallback=None
    )


A, B = Backend("a"), Backend("b")
BUSY, FULL, DIALS = Backend("busy", 1), Backend("full", 2), Backend("dials", dials=False)


@pytest.mark.parametrize(
    ("given", "preferred"),
    [(app(A, B), None), (app(A, B, sessions=True), None), (app(A, B, session=B), B), (app(A, session=B), None)],
)
def test_a_session_prefers_its_backend_while_that_is_ready(given: Any, preferred: Backend | None) -> None:
    assert choice.preferred(given, HEAD) is preferred


@pytest.mark.parametrize(
    ("given", "found", "settled"),
    [
        (app(A, B, session=B), A, B),
        (app(A, BUSY, session=BUSY), A, BUSY),
        (app(A, FULL, session=FULL), A, A),  # another one, since it is at the ceiling
        (app(A, DIALS, session=DIALS), A, None),  # it waits, since that takes a moment only
        (app(A, B, session=B), None, None),
        (app(A, B), A, A),
    ],
)
def test_what_was_found_gives_way_to_the_backend_of_the_session(given: Any, found: Any, settled: Backend | None) -> None:
    assert choice.settled(given, HEAD, found) is settled


@pytest.mark.parametrize(
    ("given", "lost", "attempts", "other"),
    [
        (app(A, B), None, 0, A),
        (app(A, B), A, 1, B),
        (app(A), A, 1, A),  # the last choice is one all the same
        (app(A, B, room=True), None, 0, None),  # others wait already
        (app(FULL), None, 0, None),
        (app(A, B, session=A), A, 1, A),  # one failed connection says little
        (app(A, B, session=A), A, 2, B),
        (app(A, B, session=B, room=True), None, 0, None),
    ],
)
def test_another_backend(given: Any, lost: Any, attempts: int, other: Backend | None) -> None:
    assert choice.another(given, HEAD, lost=lost, attempts=attempts) is other


def with_fallback(*ready: Backend) -> Any:
    given = app()
    given.fallback = Backends(*ready)
    return given


def test_another_backend_of_the_fallback() -> None:
    assert choice.another_fallback(app()) is None
    assert choice.another_fallback(with_fallback()) is None
    assert choice.another_fallback(with_fallback(DIALS, FULL)) is FULL  # no bound but that of dials
    assert choice.another_fallback(with_fallback(A, DIALS)) is A
    assert choice.another_fallback(with_fallback(DIALS)) is DIALS


def test_a_fallback_for_now() -> None:
    assert choice.fallback_now(app()) == (None, None)
    assert choice.fallback_now(with_fallback()) == (None, None)
    assert choice.fallback_now(with_fallback(DIALS, A)) == (A, A)
    assert choice.fallback_now(with_fallback(DIALS)) == (None, DIALS)
    assert Backend("loaded", 10_000).takes(UNBOUNDED)


def test_a_client_that_has_authenticated_a_connection_goes_back_to_its_backend() -> None:
    own: Any = SimpleNamespace(endpoint=A)
    assert choice.of_authenticated(app(A, B), own) is A
    assert choice.of_authenticated(app(BUSY, B), own) is B
    assert choice.of_authenticated(app(), own) is None
