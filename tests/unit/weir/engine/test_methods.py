"""Methods in a file of apps."""

from pathlib import Path

import pytest

from weir.engine.specfile import SpecError, parse_spec

FILE = """\
apps:
- name: web
  methods: [GET, HEAD]
  command: [serve]
  static:
  - {methods: [OPTIONS], status: 204}
- name: api
  rules:
  - {hosts: [a.test], methods: [POST]}
  command: [serve]
"""


def test_methods_in_a_file_of_apps() -> None:
    table = parse_spec(FILE, Path("weir.yaml")).table
    web, api = table.apps["default/web"], table.apps["default/api"]
    assert [rule.methods for rule in (*web.rules, *api.rules)] == [("GET", "HEAD"), ("POST",)]
    assert web.static_routes[0].rules[0].methods == ("OPTIONS",)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("methods: [GET, HEAD]", "weir.yaml:3: apps[0].methods[1]"),
        ("methods: [POST]", "weir.yaml:9: apps[1].rules[0].methods[0]"),
    ],
)
def test_a_method_in_small_letters_is_reported_with_its_line(wrong: str, place: str) -> None:
    last = wrong.split("[")[1].rsplit(",", maxsplit=1)[-1].strip(" ]")
    with pytest.raises(SpecError) as error:
        parse_spec(FILE.replace(wrong, wrong.replace(last, last.lower())), Path("weir.yaml"))
    assert str(error.value).startswith(place)
