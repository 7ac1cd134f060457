"""The routes that a file of apps makes, and bodies from files beside it."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest

from fleet.routing.check_answers import MAX_ANSWER_BYTES
from fleet.routing.cors import Cors
from fleet.routing.route import (
    Affinity,
    ColdStart,
    HeaderMatch,
    Placeholder,
    Protection,
    Route,
    Rule,
    StaticResponse,
    StaticRoute,
    Target,
)
from weir.engine.specfile import SpecError, SpecFile, load_spec, parse_spec

FILE = Path(__file__).parent / "fleet.yaml"


def _parse(text: str) -> SpecFile:
    return parse_spec(dedent(text), FILE)


def _route(fields: str) -> Route:
    file = _parse(
        f"apps: [{{name: a, hosts: [a], command: x, {fields}}}, {{name: b, namespace: other, hosts: [b], command: x}},"
        " {name: c, hosts: [c], command: x}]"
    )
    return file.table.apps["default/a"]


def test_what_a_request_meets_while_an_app_sleeps() -> None:
    cold = _route("placeholder: true, fallback: c, max_held: 5, max_held_bytes: 1Mi").cold_start
    assert cold == ColdStart(Placeholder(StaticResponse(), browsers_only=True), Target("default/c"), 5, 1 << 20)
    assert _route("fallback: other/b").cold_start.fallback == Target("other/b")
    full = _route(
        "placeholder: {status: 202, headers: {Refresh: '5'}, body: <p>soon, everyone: true, when_full: true}"
    ).cold_start
    headers = (("Refresh", "5"), ("Content-Type", "text/html; charset=utf-8"))
    assert full == ColdStart(Placeholder(StaticResponse(202, headers, b"<p>soon")), overflow_placeholder=True)
    assert _route("placeholder: false, maintenance: false").cold_start == ColdStart()


def test_fixed_answers() -> None:
    first = "{hosts: [a], paths: [/healthz], headers: [{name: x}], body: ok, response_headers: {A: b}}"
    second = "{user_agents: ['*bot*'], status: 404, always: true}"
    text = ("Content-Type", "text/plain; charset=utf-8")
    assert _route(f"static: [{first}, {second}]").static_routes == (
        StaticRoute(StaticResponse(None, (("A", "b"), text), b"ok"), (Rule(("a",), ("/healthz",), (HeaderMatch("x"),)),)),
        StaticRoute(StaticResponse(404), user_agents=("*bot*",), always=True),
    )


def test_maintenance_and_how_an_app_is_treated() -> None:
    assert _route("maintenance: true").maintenance == StaticResponse()
    assert _route("maintenance: {status: 500}").maintenance == StaticResponse(500)
    route = _route(
        "affinity: {cookie: weir, max_age: 1h}, backend_concurrency: 0, max_requests: 9, readiness_path: /up, server_timing: true"
    )
    assert route.affinity == Affinity(cookie="weir", max_age=3600.0)
    assert (route.protection, route.server_timing) == (Protection(0, 9, "/up"), True)
    assert (_route("max: 1").answer_half_closed, _route("answer_half_closed: false").answer_half_closed) == (None, False)
    assert _route("answer_half_closed: true").answer_half_closed
    assert _route("affinity: {header: X-Session}").affinity == Affinity(header="X-Session")
    assert _route('cors: {allow_origins: ["*"]}').cors == Cors(("*",))
    lists = "allow_methods: [PUT], allow_headers: [x-a], expose_headers: [x-b]"
    cors = _route(f'cors: {{allow_origins: ["https://a.test"], {lists}, max_age: 1m, allow_credentials: true}}').cors
    assert cors == Cors(("https://a.test",), ("PUT",), ("x-a",), ("x-b",), 60.0, allow_credentials=True)


def test_bodies_come_from_files_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "soon.html").write_text("<p>soon")
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "apps: [{name: a, hosts: [a], command: x, placeholder: {file: soon.html}, static: [{paths: [/], file: soon.html}]}]"
    )
    file = load_spec(path)
    (route,) = file.table.routes
    assert route.cold_start.placeholder is not None
    assert route.cold_start.placeholder.response == route.static_routes[0].response
    assert route.static_routes[0].response == StaticResponse(None, (("Content-Type", "text/html; charset=utf-8"),), b"<p>soon")
    assert file.files == {tmp_path / "soon.html"}
    (tmp_path / "soon.html").write_text("<p>now")
    assert load_spec(path).table.version != file.table.version


def test_a_body_that_is_no_file_or_too_large(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("apps: [{name: a, hosts: [a], command: x, placeholder: {file: soon.html}}]")
    (tmp_path / "soon.html").write_bytes(b"x" * (MAX_ANSWER_BYTES + 1))
    with pytest.raises(SpecError, match="larger than 1048576 bytes"):
        load_spec(path)
    (tmp_path / "soon.html").unlink()
    os.mkfifo(tmp_path / "soon.html")  # opening it would wait for a writer for ever
    with pytest.raises(SpecError, match="not a regular file"):
        load_spec(path)


@pytest.mark.parametrize(
    ("app", "port", "found"),
    [
        ("port: 5300, ", "5300, protocol: UDP", "port 5300 is for flows of app default/a, and for app default/a"),
        ("port: 5300, ", "5300", "port 5300 is for connections of app default/a, and for app default/a"),
        ("", "9000, protocol: UDP", ""),
        ("", "9000", "port 9000 is for "),
    ],
)
def test_a_port_of_udp_is_another_one_than_that_of_tcp(app: str, port: str, found: str) -> None:
    text = f"ports: {{page: 9000}}\napps: [{{name: a, command: x, {app}ports: [{{port: {port}}}]}}]"
    if not found:
        assert _parse(text).table.apps["default/a"].ports[0].protocol == "UDP"
        return
    with pytest.raises(SpecError, match=found):
        _parse(text)
