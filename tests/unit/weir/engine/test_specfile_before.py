"""`before` in a file of apps: its forms, whose it is, and what is refused, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.jsonschema import accepts
from weir.engine.document import parse_document
from weir.engine.schema import file_schema
from weir.engine.spec import AppSpec
from weir.engine.specfile import SpecError, parse_spec

FILE = Path(__file__).parent / "fleet.yaml"
APP = "apps:\n- name: web\n  hosts: [web.localhost]\n  command: serve\n"
USUAL = 600.0


def shell(line: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", line)


def apps(text: str) -> dict[str, AppSpec]:
    assert accepts(file_schema(), parse_document(text).value)
    return {app.name: app for app in parse_spec(text, FILE).spec.apps}


def before(app: AppSpec) -> tuple[tuple[str, ...], float] | None:
    return None if app.before is None else (app.before.command, app.before.timeout)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("make migrate", (shell("make migrate"), USUAL)),
        ("[make, migrate]", (("make", "migrate"), USUAL)),
        ("{command: make migrate, timeout: 90s}", (shell("make migrate"), 90.0)),
        ("{command: [make, migrate]}", (("make", "migrate"), USUAL)),
        ("null", None),
    ],
)
def test_forms(written: str, read: tuple[tuple[str, ...], float] | None) -> None:
    assert before(apps(f"{APP}  before: {written}\n")["web"]) == read


def test_a_preview_has_that_of_its_app_or_another_one() -> None:
    copies = "  previews: {copies: {same: {env: {A: b}}, other: {before: [make, other]}}}\n"
    found = apps(f"{APP}  before: make migrate\n{copies}")
    assert before(found["web--same"]) == (shell("make migrate"), USUAL)
    assert before(found["web--other"]) == (("make", "other"), USUAL)


def test_defaults_are_for_apps_that_say_nothing_and_are_started_here() -> None:
    more = (
        "- {name: own, hosts: [own], command: x, before: [make, own]}\n- {name: far, hosts: [far], outside: {host: x, port: 1}}\n"
    )
    found = apps(f"defaults: {{before: make migrate}}\n{APP}{more}")
    assert [before(found[name]) for name in ("web", "own", "far")] == [
        (shell("make migrate"), USUAL),
        (("make", "own"), USUAL),
        None,
    ]


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("5", "5: apps[0].before: should be a command line, a list of words, or fields with values, like {a: b}"),
        ("''", "5: apps[0].before.command: should be a command line, or a list of words"),
        ("[]", "5: apps[0].before.command: should be a command line, or a list of words"),
        ("{timeout: 5}", "5: apps[0].before.command: is missing"),
        ("{command: x, timeout: 0}", "5: apps[0].before.timeout: should be more than 0"),
        ("{command: x, timout: 5}", "5: apps[0].before.timout: is not a field; did you mean timeout?"),
    ],
)
def test_what_is_wrong(written: str, fault: str) -> None:
    text = f"{APP}  before: {written}\n"
    with pytest.raises(SpecError) as caught:
        parse_spec(text, FILE)
    assert [line.removeprefix(f"{FILE}:") for line in caught.value.lines] == [fault]
    assert not accepts(file_schema(), parse_document(text).value)


def test_what_is_outside_has_none() -> None:
    text = "apps:\n- name: far\n  hosts: [far]\n  outside: {host: x, port: 1}\n  before: make migrate\n"
    with pytest.raises(SpecError) as caught:
        parse_spec(text, FILE)
    assert "5: apps[0].before: is for an app that is started here" in caught.value.lines[0]
