"""The schema for editors accepts valid files, and refuses errors that are visible in one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.routing.declare import declared
from fleet.routing.route import Timeouts
from tests.support.broken import BROKEN
from tests.support.certificates import Authority
from tests.support.jsonschema import accepts
from weir.engine.document import DocumentError, parse_document
from weir.engine.schema import file_schema
from weir.engine.specfile import parse_spec
from weir.files import STARTER

ROOT = Path(__file__).parents[4]
SCHEMA = file_schema()
_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
DOCS = [
    block
    for name in ("docs/local.md", "docs/schedules.md", "docs/dependencies.md", "README.md")
    for block in _BLOCK.findall((ROOT / name).read_text())
    if "apiVersion" not in block
]

BEYOND = (
    "is less than min", "is already apps", "asks for the same requests", "is not a host", "does not start with", "say either",
    "No such file", "is not a directory", "there is no app", "replicas cannot all have", "port 8080 is for", "port 8082 is for",
    "port 9000 is for", "port 3000 is for", "ports end at", "say tcp or path", "say body or file", "is written twice",
    "not a plain word", "is not the name of a", "can carry it", "belongs to the connection", "either by a cookie",
    "is the app itself", "is not a path that", "is more than the window", "and so are hosts", "is empty",
    "port 4000 is for", "port means one replica", "is not a method", "asked over HTTP/1.1", "every weight is",
    "belongs into the rules", "is there twice", "as the client sent it", "cannot be changed", "is needed: the rule",
    "say path or command", "is the cookie of affinity", "of a member of baggage",
)  # fmt: skip
"""Errors that a schema cannot find: combinations of values, files, syntax, and the grammar of hosts and headers."""


def _value(text: str) -> Any:
    return parse_document(text).value


def _whole(block: str) -> str:
    """Examples with a part of an app are completed by the other required fields."""
    if block.lstrip().startswith(("apps:", "defaults:", "interceptors:", "ports:", "x-")):
        return block
    hosts = "" if "hosts:" in block else "    hosts: [a]\n"
    return f"apps:\n  - name: a\n    command: x\n{hosts}{block}"


@pytest.mark.parametrize("block", DOCS)
def test_the_examples_of_the_documents_are_good(block: str, tmp_path: Path) -> None:
    for name in ("soon.html", ".env"):
        (tmp_path / name).write_text("")
    (tmp_path / "cert.pem").write_bytes(Authority().pem)
    text = _whole(block)
    parse_spec(text, tmp_path / "apps.yaml")
    assert accepts(SCHEMA, _value(text))


def test_the_demo_and_the_starter_are_good() -> None:
    demo = (ROOT / "deploy/examples/local/demo.yaml").read_text()
    for text in (demo, STARTER):
        assert accepts(SCHEMA, _value(text))
    assert parse_spec(STARTER, ROOT / "weir.yaml").spec.apps[0].hosts == ["hello.localhost"]


def test_editors_are_told_what_a_field_means_as_its_route_says() -> None:
    idle = SCHEMA["$defs"]["TimeoutsSpec"]["properties"]["idle"]
    assert idle["description"] == declared(Timeouts)["idle"].field.meaning
    assert idle["anyOf"][0] == {"type": "number", "minimum": 0}


@pytest.mark.parametrize(("text", "faults"), BROKEN)
def test_broken_files_are_refused_where_a_schema_can_tell(text: str, faults: list[str]) -> None:
    try:
        value = _value(text)
    except DocumentError:
        return
    telling = [fault for fault in faults if not any(words in fault for words in BEYOND)]
    assert accepts(SCHEMA, value) == (not telling), telling


GOOD = [
    "apps: [{name: a, hosts: [a], command: x, schedule: [{start: 0 8 * * 1-5, end: 0 18 * * 1-5, timezone: UTC, replicas: 2}]}]",
    "defaults: {schedule: [{start: 0 8 * * 1-5, end: 0 18 * * 1-5, timezone: UTC}]}\napps: [{name: a, hosts: [a], command: x}]",
    "{}",
    "x-a: 1\nports: {x-b: 2}\n",
    "apps: [{name: a, hosts: [a], command: [a, b], cooldown: 1m30s, drain: 0, max_held_bytes: 16Mi, rate: 5, placeholder: true}]",
    "defaults: {command: x, env: {A: b}, env_file: [a, b]}\napps: [{name: a, paths: [/], rate: {target: 1, window: 9}, x-c: []}]",
    "interceptor: {readiness_timeout: 90s, log_level: debug, max_held: 1}\nscaler: {resync: 5}\n",
]
BAD = [
    "apps: [{name: a, hosts: [a], command: x, schedule: [{start: 0 8 * * 1-5, end: 0 18 * * 1-5}]}]",
    "apps: [{name: a, hosts: [a]}]",
    "apps: [{name: a, command: x}]",
    "apps: [{name: a, hosts: [a], command: x, cooldown: 1h30}]",
    "defaults: {env: {PORT: '1'}}",
    "defaults: {hosts: [a]}",
    "interceptor: {log_json: true}",
    "interceptor: {log_level: loud}",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_the_schema_takes(text: str) -> None:
    assert accepts(SCHEMA, yaml.safe_load(text))
    parse_spec(text.replace(", env_file: [a, b]", ""), Path("apps.yaml"))


@pytest.mark.parametrize("text", BAD)
def test_what_the_schema_refuses(text: str) -> None:
    assert not accepts(SCHEMA, yaml.safe_load(text))
