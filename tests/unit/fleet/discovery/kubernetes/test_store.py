"""The store against a model: in whatever order events and lists arrive, it never goes back and ends in the right state."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.discovery.kubernetes import store as module
from fleet.discovery.kubernetes.store import Change, Store

KEYS = ("a/1", "a/2", "b/1")


class Truth:
    """The history, version by version: (version, key, value or None)."""

    def __init__(self) -> None:
        self.history: list[tuple[int, str, str | None]] = []
        self.now: dict[str, tuple[int, str]] = {}

    def happen(self, key: str) -> None:
        """The object is created or changed; each third time it is deleted."""
        version = len(self.history) + 1
        if key in self.now and version % 3 == 0:
            del self.now[key]
            self.history.append((version, key, None))
        else:
            self.now[key] = (version, f"{key}@{version}")
            self.history.append((version, key, f"{key}@{version}"))


def put_in(store: Store[str], version: int, listed: dict[str, tuple[int, str]]) -> Iterator[Change[str] | None]:
    """One object a step, as a list is put in while events come."""
    store.whole(version)
    for key, (item, value) in listed.items():
        yield store.put_listed(key, item, value)
    for key in store.unlisted(listed.__contains__):
        yield store.drop_unlisted(key, version)


class Run:
    """A store that receives events late, and lists later."""

    def __init__(self) -> None:
        self.truth, self.store = Truth(), Store[str]()
        self.heard = 0
        self.version_told: dict[str, int] = dict.fromkeys(KEYS, 0)
        self.list: Iterator[Change[str] | None] | None = None

    def told(self, change: Change[str] | None) -> None:
        if change is not None and change.after is not None:
            version = int(change.after.partition("@")[2])
            assert version > self.version_told[change.key], "an older state came back"
            self.version_told[change.key] = version

    def hear(self) -> None:
        if self.heard < len(self.truth.history):
            version, key, value = self.truth.history[self.heard]
            self.heard += 1
            self.told(self.store.delete(key, version) if value is None else self.store.put(key, version, value))

    def begin_list(self) -> None:
        if self.list is None:
            self.list = self._listing(len(self.truth.history), dict(self.truth.now))
            next(self.list)

    def go_on(self) -> None:
        if self.list is not None:
            try:
                self.told(next(self.list))
            except StopIteration:
                self.list = None

    def _listing(self, version: int, listed: dict[str, tuple[int, str]]) -> Iterator[Change[str] | None]:
        with self.store.listing():
            yield None  # it was read, and is on its way
            yield from put_in(self.store, version, listed)


@given(st.lists(st.sampled_from([*KEYS, "hear", "hear", "hear", "list", "go on", "go on"]), max_size=80))
def test_any_order_of_events_and_lists_ends_at_the_truth(steps: list[str]) -> None:
    run = Run()
    actions = {"hear": run.hear, "list": run.begin_list, "go on": run.go_on}
    for step in steps:
        actions.get(step, lambda step=step: run.truth.happen(step))()
    while run.list is not None:
        run.go_on()
    while run.heard < len(run.truth.history):
        run.hear()
    assert dict(run.store.items()) == {key: value for key, (_, value) in run.truth.now.items()}


def test_a_list_that_the_watch_has_overtaken_changes_nothing() -> None:
    store = Store[str]()
    store.put("a/1", 5, "old")
    with store.listing():
        store.delete("a/1", 7)
        store.put("a/2", 8, "new")
        changes = list(put_in(store, 6, {"a/1": (5, "old")}))
    assert changes == [None, None]
    assert dict(store.items()) == {"a/2": "new"}


def test_equal_content_is_no_change_and_the_same_object_stays() -> None:
    store = Store[str]()
    first, second = "a value", "A VALUE".lower()
    assert store.put("a/1", 5, first) == Change("a/1", None, first)
    assert store.put("a/1", 6, second) is None
    assert store.get("a/1") is first
    assert store.delete("a/1", 5) is None, "an event older than what is known"


def test_a_restored_server_is_believed() -> None:
    store = Store[str]()
    store.put("a/1", 500, "late")
    store.put("a/2", 501, "lost")
    store.forget_versions()
    changes = [change for change in put_in(store, 20, {"a/1": (10, "early")}) if change]
    assert changes == [Change("a/1", "late", "early"), Change("a/2", "lost", None)]


def test_what_it_keeps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OBJECTS", 2)
    store = Store[str]()
    store.put("a/1", 1, "x")
    store.put("a/2", 2, "x")
    store.put("a/2", 3, "y")
    with pytest.raises(OverflowError, match="more than 2 objects"):
        store.put("a/3", 4, "x")
