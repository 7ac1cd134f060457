"""`depends_on` in a file of apps: what it becomes, and what is refused, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.routing.route import Dependency
from tests.support.jsonschema import accepts
from weir.engine.document import parse_document
from weir.engine.schema import file_schema
from weir.engine.specfile import SpecError, parse_spec

FILE = Path(__file__).parent / "fleet.yaml"


def _text(**needs: str) -> str:
    lines = ["apps:"]
    for name, said in needs.items():
        lines += [f"- name: {name}", f"  hosts: [{name}.localhost]", "  command: x", f"  depends_on: {said}"]
    return "\n".join(lines)


def _faults(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, FILE)
    return [line.removeprefix(f"{FILE}:") for line in caught.value.lines]


def test_names_and_fields() -> None:
    text = _text(web="[api, {name: db, keep_awake: false}, {name: cache, optional: true}]", api="[default/db]", db="[]")
    apps = parse_spec(text, FILE).table.apps
    assert apps["default/web"].depends_on == (
        Dependency("default/api"), Dependency("default/db", keep_awake=False), Dependency("default/cache", optional=True),
    )  # fmt: skip
    assert apps["default/api"].depends_on == (Dependency("default/db"),)
    assert accepts(file_schema(), parse_document(text).value)


@pytest.mark.parametrize(
    ("needs", "faults"),
    [
        ({"web": "[api]", "api": "[web]"}, ["5: apps[0].depends_on: is a circle: api -> web -> api"]),
        ({"web": "[web]"}, ["5: apps[0].depends_on[0]: is the application itself"]),
        ({"web": "[api, api]", "api": "[]"}, ["5: apps[0].depends_on[1]: default/api is there twice"]),
        ({"web": "[apj]", "api": "[]"}, ["5: apps[0].depends_on[0]: there is no app default/apj; did you mean default/api?"]),
        ({"web": "[other/api]"}, ["5: apps[0].depends_on[0]: other/api is in another namespace"]),
        ({"web": "[A B]"}, ["5: apps[0].depends_on[0]: there is no app default/A B; did you mean default/web?"]),
        (
            {"web": "[{name: api, optinal: true}]", "api": "[]"},
            ["5: apps[0].depends_on[0].optinal: is not a field; did you mean optional?"],
        ),
        ({"web": "{api: {condition: healthy}}"}, ["5: apps[0].depends_on: should be a list, like [a, b]"]),
        ({"web": "[1]"}, ["5: apps[0].depends_on[0]: should be the name of an app, or fields with values, like {a: b}"]),
    ],
)  # fmt: skip
def test_what_is_wrong(needs: dict[str, str], faults: list[str]) -> None:
    assert _faults(_text(**needs)) == faults


def test_a_long_circle_is_told_once() -> None:
    count = 200
    needs = {f"a{number}": f"[a{(number + 1) % count}]" for number in range(count)}
    faults = _faults(_text(**needs))
    assert len(faults) == 1
    assert "is a circle" in faults[0]
    assert len(faults[0]) < 200


def test_defaults_have_none() -> None:
    text = "defaults: {depends_on: [db]}\n" + _text(db="[]")
    assert "depends_on" in _faults(text)[0]
