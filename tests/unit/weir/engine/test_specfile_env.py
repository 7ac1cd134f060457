"""Files of environment variables that a file of apps names."""

from __future__ import annotations

from pathlib import Path

import pytest

from weir.engine.fields import port_is_given
from weir.engine.specfile import SpecError, load_spec

ENV = """\
# a note
PLAIN=one two # not this
export SPACED =  x
SINGLE='a $b \\n'   # note
DOUBLE="a\\n\\"b\\" #c"
EMPTY=
HASH=a#b
PLAIN=last
"""


def test_env_files_in_their_order_and_env_above_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ENV)
    (tmp_path / "more.env").write_text("HASH=more\nOWN=file\n")
    path = tmp_path / "fleet.yaml"
    path.write_text("apps: [{name: a, hosts: [a], command: x, env_file: [.env, more.env], env: {OWN: app}}]")
    file = load_spec(path)
    assert file.spec.apps[0].env == {
        "PLAIN": "last", "SPACED": "x", "SINGLE": "a $b \\n", "DOUBLE": 'a\n"b" #c', "EMPTY": "", "HASH": "more", "OWN": "app",
    }  # fmt: skip
    assert file.files == {tmp_path / ".env", tmp_path / "more.env"}
    path.write_text("apps: [{name: a, hosts: [a], command: x, env_file: .env}]")
    before = load_spec(path)
    (tmp_path / ".env").write_text("A=b\n")
    assert load_spec(path).spec != before.spec


def test_everything_that_is_wrong_in_an_env_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nno\nB-C=1\nD='x\nPORT=3000\n")
    path = tmp_path / "fleet.yaml"
    path.write_text("apps:\n- name: a\n  hosts: [a]\n  command: x\n  max: 0\n  env_file: .env\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert [line.removeprefix(f"{path}:") for line in caught.value.lines] == [
        "5: apps[0].max: should be at least 1",
        "6: apps[0].env_file[0]: .env:2: 'no': should be NAME=value",
        "6: apps[0].env_file[0]: .env:3: 'B-C' should be the name of an environment variable",
        "6: apps[0].env_file[0]: .env:4: D: the quote ' does not end at the end of the value",
        f"6: apps[0].env_file[0]: .env:5: PORT: {port_is_given('3000')}",
    ]


def test_a_file_named_by_many_is_read_and_told_once(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "defaults: {env_file: none.env}\napps: [{name: a, hosts: [a], command: x}, {name: b, hosts: [b], command: x}]"
    )
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert len(caught.value.lines) == 1
