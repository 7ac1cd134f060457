"""What `weir up` suggests of apps that wake after each other."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fleet.demand.pair import LEAST_WAKES
from fleet.events.lifecycle import Kind
from weir.engine.specfile import SpecFile, parse_spec
from weir.engine.suggestions import LocalSuggestions

WORDS = (
    "web seems to call api (in about 100 % of its wakes), which woke before web was ready or within 2 s of that: "
    "add depends_on: [api]"
)


def file_of(*needs: str, more: str = "") -> SpecFile:
    fields = f"hosts: [web.localhost], command: x, depends_on: [{', '.join(needs)}]{more}"
    text = f"apps: [{{name: web, {fields}}}, {{name: api, hosts: [api.localhost], command: x}}]"
    return parse_spec(text, Path("apps.yaml"))


class Engine:
    def __init__(self, file: SpecFile) -> None:
        self.file, self.now = file, 0.0
        self.suggestions = LocalSuggestions(lambda: self.file.table, lambda: self.file.copies)

    def chains(self, *names: str, asked: bool = True, count: int = LEAST_WAKES) -> None:
        for _ in range(count):
            for name in names:
                for kind in (Kind.WAKE, Kind.FAILED, Kind.READY):
                    self.suggestions.heard(kind, f"default/{name}", self.now, asked=asked)
                    self.now += 1.0
            for name in names:
                self.suggestions.heard(Kind.SLEEP, f"default/{name}", self.now, asked=False)


def test_it_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine = Engine(file_of())
    engine.chains("web", "api")
    assert caplog.messages == [f"default/web: {WORDS}"]
    assert (engine.suggestions.words("default/web"), engine.suggestions.words("default/api")) == (WORDS, "")
    engine.chains("web", count=10 * LEAST_WAKES)
    assert engine.suggestions.of("default/web") == ()
    engine.chains("web", "api", count=10 * LEAST_WAKES)
    assert engine.suggestions.words("default/web") == WORDS
    assert len(caplog.messages) == 1, "it has come and gone, and is known"
    engine.suggestions.forget("default/web")
    assert engine.suggestions.of("default/web") == ()


def test_what_the_file_declares_is_not_suggested(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine = Engine(file_of("api"))
    engine.chains("web", "api")
    assert (engine.suggestions.words("default/web"), caplog.messages) == ("", [])


@pytest.mark.parametrize("root", ["web--f1", "web"])
def test_previews_and_wakes_without_requests_say_nothing(root: str) -> None:
    engine = Engine(file_of(more=", previews: {copies: {f1: {command: y}}}"))
    assert engine.file.copies
    root = next(iter(engine.file.copies)).partition("/")[2] if root != "web" else root
    engine.chains(root, "api", asked=root != "web")
    assert engine.suggestions.of(f"default/{root}") == ()
