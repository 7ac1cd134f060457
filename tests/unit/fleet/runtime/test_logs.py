"""Log lines, for people and for collectors."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from fleet.runtime.logs import configure_logging
from fleet.runtime.settings import SettingsError
from tests.support.acting import HOSTILE, acting

log = logging.getLogger("fleet.example")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, library = logging.getLogger(), logging.getLogger("asyncio")
    handlers, level, library_level = root.handlers[:], root.level, library.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    library.setLevel(library_level)


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    log.debug("not this")
    log.info("routes reloaded: %d", 3)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    fleet\.example: routes reloaded: 3\n", err)


def test_an_object_for_collectors(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", json=True)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("route %s", "default/web", extra={"app": "default/web", "odd": object})
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("ERROR", "fleet.example", "route default/web")
    assert entry["app"] == "default/web"
    assert "ValueError: two\nlines" in entry["error"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry["time"])


@pytest.mark.parametrize("text", [HOSTILE, "\udcff\ud800"], ids=["acting", "halves"])
@pytest.mark.parametrize("as_json", [False, True])
def test_what_others_have_written_acts_on_no_terminal(capsys: pytest.CaptureFixture[str], as_json: bool, text: str) -> None:
    configure_logging("info", json=as_json)
    log.info("member %s at %s: %s", text, "127.0.0.1:1", text, extra={"app": text, "more": {"why": [text]}})
    line = capsys.readouterr().err
    assert line.endswith("\n")
    assert not acting(line[:-1])
    assert len(line.splitlines()) == 1
    if as_json:
        entry = json.loads(line)
        assert entry["message"] == f"member {text} at 127.0.0.1:1: {text}"
        assert (entry["app"], entry["more"]) == (text, {"why": [text]})


@pytest.mark.parametrize("line_feed", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_a_record_cannot_be_forged(capsys: pytest.CaptureFixture[str], line_feed: str) -> None:
    configure_logging("info")
    forged = f"x{line_feed}2026-01-01T00:00:00.000Z ERROR   fleet.example: forged"
    log.info("%s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        log.exception("failed", stack_info=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("20") and "forged" in line] == [lines[0]]
    assert " INFO " in lines[0]
    traced = lines[2:]
    assert all(line.startswith("    ") for line in traced)
    assert "    Traceback (most recent call last):" in traced
    assert "    Stack (most recent call last):" in traced
    assert not acting("".join(lines))


def test_once_more_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    log.info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(SettingsError, match="log level 'loud' is none of debug, info"):
        configure_logging("loud")
