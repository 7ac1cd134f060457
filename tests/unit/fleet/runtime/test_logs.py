"""Log lines, for people and for collectors."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from fleet.runtime.logs import configure_logging
from fleet.runtime.settings import SettingsError

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


def test_once_more_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    log.info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(SettingsError, match="log level 'loud' is none of DEBUG, INFO"):
        configure_logging("loud")
