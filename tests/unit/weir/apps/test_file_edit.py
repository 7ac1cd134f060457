"""Changes of a file of apps keep every character of what is not changed."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.full import examples
from weir.apps.file_edit import REMOVED, CannotEditError, with_app, with_changes, without_app
from weir.engine.document import parse_document
from weir.files import STARTER

FILE = """\
# ours
apps: # all of them
  # the shop
  - name: shop # sells
    hosts: [shop.localhost]
    command: ./shop
    env: # what it reads
      # quiet
      LOG: info # level
      A: "1"
    # port: 3000

  # the wiki
  - name: wiki
    command: >
      ./wiki
      --fast
    hosts:
      - wiki.localhost # main
      # - old.localhost
      - w.localhost

# the end
defaults: {cooldown: 5m}
"""
NEW = {"name": "new", "hosts": ["new.localhost"], "command": "python3 -m http.server $PORT # fast", "env": {"A": "no", "B": "1"}}
ITEM = """  - name: new
    hosts: [new.localhost]
    command: 'python3 -m http.server $PORT # fast'
    env: {A: 'no', B: '1'}
"""


def apps_of(text: str) -> list[dict[str, Any]]:
    apps: list[dict[str, Any]] = parse_document(text).value["apps"]
    return apps


def test_an_app_comes_behind_the_others_and_their_comments() -> None:
    at = FILE.index("\n# the end")
    assert with_app(FILE, NEW) == FILE[:at] + "\n" + ITEM + FILE[at:]
    assert with_app(STARTER, NEW) == STARTER + ITEM


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"apps:\n{ITEM}"),
        ("# mine", f"# mine\napps:\n{ITEM}"),
        ("apps:", f"apps:\n{ITEM}"),
        ("apps: # none yet\n# the end\n", f"apps: # none yet\n{ITEM}# the end\n"),
        ("apps: [] # none yet\ninterceptors: 2\n", f"apps: # none yet\n{ITEM}interceptors: 2\n"),
        ("interceptors: 2 # two\n# the end", f"interceptors: 2 # two\napps:\n{ITEM}# the end"),
        ("---\nx-note: |\n  text\n", f"---\nx-note: |\n  text\napps:\n{ITEM}"),
        (
            "apps:\n- name: a\n  command: a",
            f"apps:\n- name: a\n  command: a\n{ITEM.replace('  ', '', 1).replace(chr(10) + '  ', chr(10))}",
        ),
        ("apps:\r\n  - name: a\r\n", "apps:\r\n  - name: a\r\n" + ITEM.replace("\n", "\r\n")),
    ],
)
def test_the_first_app_of_a_file(text: str, expected: str) -> None:
    assert with_app(text, NEW) == expected


@pytest.mark.parametrize(
    "text", ["{}", "{interceptors: 2}", "apps: [{name: a}]", "apps: [{name: a}, # one\n]", "{apps: [{name: a,}]}"]
)
def test_in_brackets(text: str) -> None:
    assert apps_of(with_app(text, NEW))[-1] == NEW


def test_fields_change_where_they_stand() -> None:
    assert with_changes(FILE, 0, {("command",): "./new"}) == FILE.replace("./shop", "./new")
    assert with_changes(FILE, 0, {("env", "LOG"): "debug"}) == FILE.replace("LOG: info", "LOG: debug")
    assert with_changes(FILE, 0, {("env", "LOG"): REMOVED}) == FILE.replace("      LOG: info # level\n", "")
    assert with_changes(FILE, 0, {("env", "B"): "2"}) == FILE.replace('A: "1"\n', "A: \"1\"\n      B: '2'\n")
    assert with_changes(FILE, 0, {("name",): "shop2"}) == FILE.replace("name: shop #", "name: shop2 #")
    assert with_changes(FILE, 0, {("max",): 3}) == FILE.replace('A: "1"\n', 'A: "1"\n    max: 3\n')
    assert with_changes(FILE, 0, {("timeouts", "idle"): "5s"}) == FILE.replace('A: "1"\n', 'A: "1"\n    timeouts: {idle: 5s}\n')
    assert with_changes(FILE, 1, {("command",): "./wiki"}) == FILE.replace(">\n      ./wiki\n      --fast", "./wiki")
    assert with_changes(FILE, 0, {("command",): "./shop", ("max",): REMOVED, ("a", "b"): REMOVED}) == FILE


def test_comments_within_a_list_that_is_replaced_stay_above_it() -> None:
    before = FILE[FILE.index("    hosts:\n") : FILE.index("\n# the end")]
    kept = "    # main\n    # - old.localhost\n    hosts: [w.localhost]\n"
    assert with_changes(FILE, 1, {("hosts",): ["w.localhost"]}) == FILE.replace(before, kept)


def test_an_app_goes_alone() -> None:
    first, second = FILE.index("  - name: shop"), FILE.index("\n  # the wiki")
    assert without_app(FILE, 0) == FILE[:first] + FILE[second:]
    third = FILE.index("  - name: wiki")
    assert without_app(FILE, 1) == FILE[:third] + FILE[FILE.index("\n# the end") :]
    only = "apps: # all\n  # a\n  - name: a\n    # in it\n# the end\n"
    assert without_app(only, 0) == "apps: [] # all\n  # a\n# the end\n"
    assert without_app("apps: [{name: a}, {name: b}] # x", 0) == "apps: [{name: b}] # x"
    assert without_app("apps: [{name: a}, {name: b}] # x", 1) == "apps: [{name: a}] # x"
    assert apps_of(without_app("apps: [{name: a}]", 0)) == []


def test_a_field_beside_the_dash() -> None:
    text = "apps:\n  - command: x # old\n    # about\n    name: a\n"
    assert with_changes(text, 0, {("max",): 2}) == text + "    max: 2\n"
    assert apps_of(with_changes(text, 0, {("command",): REMOVED})) == [{"name": "a"}]
    assert "# about" in with_changes(text, 0, {("command",): REMOVED})


@pytest.mark.parametrize(
    "text",
    [
        "x-a: &a {name: a}\napps: [*a]",
        "x-a: &a [{name: a, command: x}]\napps: *a",
        "apps:\n  - &a\n    name: a\n    command: x\n  - <<: *a\n    name: b\n",
        "apps:\n  - name: a\n    command: &c x\n  - name: b\n    command: *c\n",
    ],
)
def test_what_is_shared_is_not_changed_for_all(text: str) -> None:
    with pytest.raises(CannotEditError):
        with_changes(text, 0, {("command",): "other"})


def test_a_merged_field_is_overridden_and_cannot_be_removed() -> None:
    text = "x-a: &a\n  max: 2\napps:\n  - <<: *a\n    name: a\n"
    assert apps_of(with_changes(text, 0, {("max",): 3})) == [{"name": "a", "max": 3}]
    with pytest.raises(CannotEditError, match="is not written here itself"):
        with_changes(text, 0, {("max",): REMOVED})


def test_a_text_that_is_no_yaml() -> None:
    with pytest.raises(CannotEditError):
        with_app("apps: [", NEW)


QUOTED = [
    " ",
    "",
    "'",
    '"',
    "no",
    "1",
    "0x1",
    "~",
    "- b",
    "a: b",
    "# c",
    "[x",
    "*a",
    "&a",
    "!t",
    "{}",
    "a, b",
    "%",
    "@",
    "`",
    ">",
]
words = st.sampled_from([*QUOTED, "a", "x y", "a\nb", "é\u202e", "|"])
values = st.recursive(
    words | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words.filter(bool), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["name", "command", "env", "hosts", "max", "x-a"])
apps = st.dictionaries(names, values, min_size=1, max_size=4)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file as people write it: block and flow styles by turns, and comments wherever they may stand."""
    whole = {"defaults": {"cooldown": 1}, "apps": draw(st.lists(apps, max_size=3)), "interceptors": 1}
    text = yaml.safe_dump(
        {key: whole[key] for key in draw(st.permutations([*whole]))},
        default_flow_style=draw(st.sampled_from([False, None, True])),
        indent=draw(st.sampled_from([2, 4])),
        width=draw(st.sampled_from([20, 1 << 20])),
        sort_keys=False,
    )
    parsed = parse_document(text).value
    lines = text.splitlines(keepends=True)
    for number in draw(st.lists(st.integers(0, len(lines)), max_size=4)):
        indent = " " * draw(st.integers(0, 6))
        commented = [*lines[:number], f"{indent}# note {number}\n", *lines[number:]]
        if parse_as("".join(commented)) == parsed:
            lines = commented
    return "".join(lines)


def parse_as(text: str) -> Any:
    try:
        return parse_document(text).value
    except Exception:  # noqa: BLE001  a comment within a text of several lines
        return None


def notes(text: str) -> list[str]:
    return sorted(re.findall(r"# note \d+", text))


@given(files(), apps, st.data())
@settings(max_examples=examples(400, share=20), deadline=None)
def test_any_change_of_any_file(text: str, fields: dict[str, Any], data: st.DataObject) -> None:
    before = parse_document(text).value
    added = with_app(text, fields)
    assert parse_document(added).value == {**before, "apps": [*before["apps"], fields]}
    assert notes(added) == notes(text)
    if not before["apps"]:
        return
    index = data.draw(st.integers(0, len(before["apps"]) - 1))
    try:
        removed = without_app(text, index)
    except CannotEditError:
        removed = ""
    if removed:
        assert apps_of(removed) == [app for number, app in enumerate(before["apps"]) if number != index]
    path = data.draw(st.tuples(names) | st.tuples(names, st.sampled_from(["A", "B"])))
    value = data.draw(st.just(REMOVED) | values)
    try:
        changed = with_changes(text, index, {path: value})
    except CannotEditError:
        return
    assert [app for number, app in enumerate(apps_of(changed)) if number != index] == [
        app for number, app in enumerate(before["apps"]) if number != index
    ]
    if value is not REMOVED:
        assert notes(changed) == notes(text)
