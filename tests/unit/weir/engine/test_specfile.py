"""The file of apps: valid files, and the line, field and reason of each kind of error."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from tests.support.broken import BROKEN
from tests.support.full import FULL
from weir.engine.spec import port_is_given
from weir.engine.specfile import SpecError, SpecFile, load_spec, parse_spec

FILE = Path(__file__).parent / "fleet.yaml"


def _parse(text: str) -> SpecFile:
    return parse_spec(dedent(text), FILE)


def _error(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        _parse(text)
    return str(caught.value).removeprefix(f"{FILE}:")


def test_the_least_that_works() -> None:
    (app,) = _parse("apps: [{name: web, hosts: [web.localhost], command: ./serve}]").spec.apps
    assert app.key == "default/web"
    assert app.command == ("/bin/sh", "-c", "./serve")
    assert (app.min, app.max) == (0, 4)


def test_everything_that_can_be_said() -> None:
    file = _parse(
        """
        interceptors: 3
        poll_interval: 500ms
        ports: {proxy: 8000, rpc: 9000}
        interceptor: {max_held: 7}
        scaler: {member_ttl: 5}
        apps:
          - name: web
            namespace: team
            rules:
              - hosts: [a.localhost, "*.b.localhost"]
                paths: [/api]
                headers: [{name: X-Env, value: blue}, {name: X-Any}]
            command: [python3, -m, http.server, $PORT]
            env: {KEY: "1"}
            cwd: .
            min: 1
            max: 9
            target: 2.5
            rate: {target: 100, window: 10s, granularity: 0.5}
            cooldown: 2m
            activity_period: 3
            scale_down_window: 0
            drain: 0
            grace: 1s
            readiness: {path: /healthz, timeout: 5s, interval: 50ms}
            timeouts: {readiness: 10s, request: 0}
        """
    )
    (app,) = file.spec.apps
    assert file.spec.poll_interval == 0.5
    assert app.cooldown == 120.0
    assert app.readiness.interval == 0.05
    (route,) = file.table.routes
    assert route.app == "team/web"
    headers = (HeaderMatch(name="X-Env", value="blue"), HeaderMatch(name="X-Any"))
    assert route.rules == (Rule(hosts=("a.localhost", "*.b.localhost"), paths=("/api",), headers=headers),)
    assert route.scaling.concurrency == 2.5
    assert route.scaling.rate is not None
    assert route.scaling.rate.window == 10.0
    assert (route.timeouts.readiness, route.timeouts.request, route.timeouts.idle) == (10.0, 0.0, None)


def test_a_number_is_a_rate() -> None:
    (app,) = _parse("apps: [{name: a, hosts: [a], command: x, rate: 50}]").spec.apps
    assert app.rate is not None
    assert (app.rate.target, app.rate.window) == (50, 10.0)


def test_settings_take_what_every_field_takes() -> None:
    spec = _parse(
        "interceptor: {readiness_timeout: 90s, max_held_bytes: 16Mi, cold_start_header: false}\nscaler: {resync: 5}"
    ).spec
    assert spec.interceptor == {"readiness_timeout": 90.0, "max_held_bytes": 16 << 20, "cold_start_header": False}
    assert spec.scaler == {"resync": 5}


def test_a_character_in_two_halves_is_one() -> None:
    (app,) = _parse(r'apps: [{name: a, hosts: [a], command: "\ud83d\ude00"}]').spec.apps
    assert app.command[-1] == "\U0001f600"


def test_an_empty_file_has_no_apps() -> None:
    assert _parse("").spec.apps == []


def test_merge_keys_yield_to_what_is_written() -> None:
    file = _parse(
        """
        apps:
          - &first {name: a, hosts: [a], command: x, max: 2}
          - <<: *first
            name: b
            hosts: [b]
        """
    )
    assert [(app.name, app.hosts, app.max) for app in file.spec.apps] == [("a", ["a"], 2), ("b", ["b"], 2)]


WRONG = [
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  max: many\n", "5: apps[0].max: should be a whole number"),
    ("apps:\n- {name: a, hosts: [a], command: x}\n- name: b\n  hosts: [b]\n  command: x\n  max: 0\n", "6: apps[1].max: "),
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  min: 3\n  max: 2\n", "6: apps[0].max: 2 is less than min, which is 3"),
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  min: 5\n", "2: apps[0].max: 4 is less than min, which is 5"),
    ("apps:\n- name: a\n  hosts: [a]\n", "2: apps[0].command: is missing"),
    ("apps:\n- hosts: [a]\n  command: x\n", "2: apps[0].name: is missing"),
    ("apps:\n- name: a\n  command: x\n", "2: apps[0].hosts: is missing"),
    ("apps:\n- name: a\n  hosts: [a]\n  comand: x\n", "4: apps[0].comand: is not a field; did you mean command?"),
    ("app: []\n", "1: app: is not a field; did you mean apps?"),
    ("interceptors: 0\n", "1: interceptors: "),
    ("poll_interval: 0\n", "1: poll_interval: "),
    ("poll_interval: soon\n", "1: poll_interval: should be seconds, or a duration like 500ms, 10s, 1m30s"),
    ("apps:\n- name: no\n  hosts: [a]\n  command: x\n", "2: apps[0].name: should be text; write it in quotes"),
    ("apps:\n- name: A_b\n  hosts: [a]\n  command: x\n", "2: apps[0].name: should be lower-case"),
    ("apps:\n- name: a\n  hosts: [a]\n  command: []\n", "4: apps[0].command: should be a command line, or a list of words"),
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  env:\n    A: 1\n", "6: apps[0].env.A: should be text; write it in quotes"),
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  env:\n    A-B: x\n", "6: apps[0].env.A-B: should be the name of"),
    ("apps:\n- name: a\n  hosts: ['a b']\n  command: x\n", "3: apps[0].hosts[0]: 'a b' is not a host"),
    ("kind: X\n", "1: kind: is not a field; this is an object of Kubernetes, and weir up takes a list of apps"),
    ("nothing: 1\n", "1: nothing: is not a field"),
    (
        "apps:\n- name: a\n  hosts: [a]\n  paths: ['/x?y']\n  command: x\n",
        "4: apps[0].paths[0]: '/x?y' has a query or a fragment",
    ),
    (
        "apps:\n- name: a\n  hosts: [a]\n  paths: ['/x#y']\n  command: x\n",
        "4: apps[0].paths[0]: '/x#y' has a query or a fragment",
    ),
    ("apps:\n- name: a\n  hosts: [a]\n  paths:\n  - /x\n  - y\n  command: x\n", "6: apps[0].paths[1]: 'y' does not start"),
    ("apps:\n- name: a\n  rules:\n  - hosts: [a]\n  - hosts: []\n  command: x\n", "5: apps[0].rules[1].hosts: is missing"),
    ("apps:\n- name: a\n  rules:\n  - hosts: [a]\n  hosts: [b]\n  command: x\n", "3: apps[0].rules: say either rules, or hosts"),
    ("apps:\n- name: a\n  rules:\n  - hosts: [a]\n    paths: [b]\n  command: x\n", "5: apps[0].rules[0].paths[0]: 'b' does not"),
    (
        "apps:\n- {name: a, hosts: [a], command: x}\n- {name: a, hosts: [b], command: x}\n",
        "3: apps[1].name: default/a is already",
    ),
    (
        "apps:\n- {name: b, hosts: [a], command: x}\n- {name: a, hosts: [A.], command: x}\n",
        "3: apps[1]: asks for the same requests",
    ),
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  cwd: /does/not/exist\n", "5: apps[0].cwd: /does/not/exist is not"),
    (
        "apps:\n- name: a\n  hosts: [a]\n  command: x\n  rate: {target: 1, window: 1, granularity: 2}\n",
        "5: apps[0].rate.granular",
    ),
    (
        "apps:\n- name: a\n  hosts: [a]\n  command: x\n  readiness: {tcp: true, path: /x}\n",
        "5: apps[0].readiness.path: say tcp or",
    ),
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  max: 1\n  max: 2\n", "6: apps[0].max: is written twice"),
    ("interceptor:\n  max_held: 0\n", "2: interceptor.max_held: should be at least 1"),
    ("interceptor:\n  log_json: true\n", "2: interceptor.log_json: is not a setting that a file may give"),
    ("interceptor:\n  max_hold: 1\n", "2: interceptor.max_hold: is not a setting that a file may give; did you mean max_held?"),
    ("interceptor:\n  trusted_proxies: lan\n", "2: interceptor.trusted_proxies: 'lan' is neither an address nor a network"),
    ("scaler:\n  port: 1\n", "2: scaler.port: is not a setting that a file may give"),
    ("- a\n", "1: the file should be a mapping"),
    ("apps: [\n", "2: "),
    ("apps:\n\t- a\n", "2: "),
    ("a: &a [*a]\n", "1: a[0][0]: is deeper than 32 levels"),
    ("apps: !!python/object:os.system {}\n", "1: apps: should be a list"),
    ("apps: !!timestamp x\n", "1: apps: "),
    ("? [a]\n: b\n", "1: has a key that is not a plain word"),
    ("apps:\n- <<: 5\n", "2: apps[0].<<: expected a mapping"),
    ("apps:\n- <<: [5]\n", "2: apps[0].<<: expected a mapping"),
    ("a: " + "[" * (2000 if FULL else 1000), "1: is deeper than 32 levels"),
    ("a: " + "9" * 5000, "1: a: is not a value that can be read: '999"),
    ('apps:\n- name: a\n  hosts: [a]\n  command: "x\\0"\n', "4: apps[0].command: is not a value that can be read"),
    ('apps:\n- name: a\n  hosts: [a]\n  command: x\n  placeholder: {body: "\\ud800"}\n', "5: apps[0].placeholder.body: is not a"),
    ('"\\ud800": 1\n', "1: has a key that cannot be read"),
    (
        "apps:\n- name: a\n  hosts: [a]\n  command: x\n  cwd: ~nobody-is-called-so/x\n",
        "5: apps[0].cwd: ~nobody-is-called-so/x is not",
    ),
    (f"apps:\n- name: a\n  hosts: [a]\n  command: x\n  cwd: {'x' * 5000}\n", "5: apps[0].cwd: xxx"),
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  placeholder: soon\n", "5: apps[0].placeholder: should be true, false, or"),
    (
        "apps:\n- name: a\n  hosts: [a]\n  command: x\n  maintenance: {everyone: true}\n",
        "5: apps[0].maintenance.everyone: is not a field",
    ),
    (
        "apps:\n- name: a\n  hosts: [a]\n  command: x\n  rate: fast\n",
        "5: apps[0].rate: should be a number of requests per second, or",
    ),
    (
        "apps:\n- name: a\n  hosts: [a]\n  command: x\n  readiness: {path: x}\n",
        '5: apps[0].readiness.path: should be a path that starts with "/"',
    ),
    ("apps:\n- name: a\n  hosts: [a]\n  command: x\n  paths: /x\n", "5: apps[0].paths: should be a list, like [a, b]"),
    (
        "apps:\n- name: a\n  hosts: [a]\n  command: x\n  placeholder: {headers: {X: 'a '}}\n",
        "5: apps[0].placeholder.headers.X: no message",
    ),
    ("interceptor:\n  readiness_timeout: 1h30\n", "2: interceptor.readiness_timeout: should be seconds, or a duration"),
    ("interceptor:\n  max_held_bytes: 16MB\n", "2: interceptor.max_held_bytes: should be bytes, or a quantity"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_wrong_files(text: str, expected: str) -> None:
    assert _error(text).startswith(expected)


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_everything_that_is_wrong_in_a_file_is_reported(text: str, expected: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, FILE)
    told = [line.removeprefix(f"{FILE}:").replace(str(FILE.parent), "HERE") for line in caught.value.lines]
    assert told == expected


def test_fields_that_begin_with_x_are_the_users_own_at_every_level() -> None:
    base = (
        "apps: [{name: a, hosts: [a], command: x, rate: {target: 1}, static: [{paths: [/], response_headers: {x-b: c}}]%s}]\n%s"
    )
    plain = _parse(base % ("", "ports: {proxy: 1}\ninterceptor: {max_held: 2}\n"))
    own = base.replace("target: 1", "target: 1, x-a: 1").replace("paths: [/]", "paths: [/], x-a: [1]") % (
        ", x-a: {b: c}, readiness: {x-a: 1}, timeouts: {x-a: 1}",
        "x-a: &a {proxy: 1, x-a: 1}\nports: {<<: *a}\ninterceptor: {max_held: 2, x-a: 3}\ndefaults: {x-a: 1}\n",
    )
    assert _parse(own).table.version == plain.table.version
    assert _parse(own).spec.interceptor == plain.spec.interceptor


def test_defaults_are_what_apps_do_not_say() -> None:
    first, second, third = _parse(
        """
        defaults: {max: 9, cooldown: 1m30s, env: {A: a, B: b}, readiness: {timeout: 5}, command: ./all}
        apps:
        - {name: a, hosts: [a], env: {B: own}, readiness: {path: /up}}
        - {name: b, hosts: [b], max: 2, command: ./b, env: {}}
        - {name: c, hosts: [c], port: 3000}
        """
    ).spec.apps
    assert (first.max, first.cooldown, first.env, first.command[-1]) == (9, 90.0, {"A": "a", "B": "own"}, "./all")
    assert (first.readiness.path, first.readiness.timeout) == ("/up", 5.0)
    assert (second.max, second.command[-1], second.env) == (2, "./b", {"A": "a", "B": "b"})
    assert (third.port, third.max) == (3000, 1)


def test_a_fixed_port_makes_one_replica() -> None:
    first, second = _parse(
        "apps: [{name: a, hosts: [a], command: x, port: 3000}, {name: b, hosts: [b], command: x, port: 3001, max: 1}]"
    ).spec.apps
    assert (first.port, first.max, second.max) == (3000, 1, 1)
    assert not first.same_process(first.model_copy(update={"port": 3001}))


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


def test_the_first_fault_of_the_file_is_reported() -> None:
    text = "apps:\n- name: a\n  hosts: [a]\n  command: x\n  max: 0\n- name: b\n  hosts: [b]\n  command: x\n  min: -1\n"
    assert _error(text).startswith("5: apps[0].max")


def test_an_alias_that_contains_itself_is_reported() -> None:
    assert "deeper than" in _error("interceptor: &a\n  x: *a\n")


def test_a_line_is_told_for_every_fault() -> None:
    with pytest.raises(SpecError) as caught:
        _parse("apps:\n- {}\n- {}\n")
    told = [line.removeprefix(f"{FILE}:")[: len("2: apps[0].hosts")] for line in caught.value.lines]
    assert told == [
        "2: apps[0].name:", "2: apps[0].comma", "2: apps[0].hosts", "3: apps[1].name:", "3: apps[1].comma", "3: apps[1].hosts",
    ]  # fmt: skip


def test_more_faults_than_anybody_reads_are_counted() -> None:
    with pytest.raises(SpecError) as caught:
        _parse("apps: [" + "{}, " * 50 + "]")
    assert len(caught.value.lines) == 101
    assert caught.value.lines[-1] == f"{FILE}: and 50 more errors"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        load_spec(tmp_path / "none.yaml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="UTF-8"):
        load_spec(path)


def test_the_directory_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = tmp_path / "fleet.yaml"
    path.write_text("apps: [{name: a, hosts: [a], command: x, cwd: sub}, {name: b, hosts: [b], command: x}]")
    file = load_spec(path)
    assert [app.directory(file.directory) for app in file.spec.apps] == [tmp_path / "sub", tmp_path]


@given(st.text(max_size=200))
def test_any_text_is_a_file_or_an_error_of_ours(text: str) -> None:
    try:
        parse_spec(text, FILE)
    except SpecError:
        return


def test_what_makes_another_process() -> None:
    base = "apps: [{name: a, hosts: [a], command: x%s}]"
    first = _parse(base % "").spec.apps[0]
    assert first.same_process(_parse(base % ", max: 9, target: 3, cooldown: 1").spec.apps[0])
    assert not first.same_process(_parse(base % " --flag").spec.apps[0])
    assert not first.same_process(_parse(base % ", env: {A: b}").spec.apps[0])
    assert not first.same_process(_parse(base % ", app_protocol: h2c").spec.apps[0])


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


A = "apps:\n- name: a\n  hosts: [a]\n  command: x\n"
WRONG_ANSWERS = [
    ("  placeholder: yes\n  fallback: b\n", "6: apps[0].fallback: there is no app default/b; did you mean default/a?"),
    ("  fallback: a\n", "5: apps[0].fallback: is the app itself"),
    ("  placeholder: soon\n", "5: apps[0].placeholder: "),
    ("  placeholder:\n    body: x\n    file: y\n", "7: apps[0].placeholder.file: say body or file, not both"),
    ("  placeholder:\n    status: 100\n", "6: apps[0].placeholder.status: 100 is not the status of an answer"),
    ("  placeholder:\n    headers:\n      A: 1\n", "7: apps[0].placeholder.headers.A: should be text; write it in quotes"),
    (
        "  placeholder:\n    headers:\n      Connection: close\n",
        "7: apps[0].placeholder.headers.Connection: Connection belongs to",
    ),
    ("  placeholder:\n    boddy: x\n", "6: apps[0].placeholder.boddy: is not a field; did you mean body?"),
    ("  maintenance:\n    file: none.html\n", f"6: apps[0].maintenance.file: {FILE.parent}/none.html: No such file"),
    ("  maintenance:\n    file: .\n", f"6: apps[0].maintenance.file: {FILE.parent}: Is a directory"),
    ('  maintenance:\n    file: "a\\0b"\n', "6: apps[0].maintenance.file: "),
    ("  maintenance:\n    file: /dev/zero\n", "6: apps[0].maintenance.file: /dev/zero: not a regular file"),
    ("  maintenance:\n    status: 99\n", "6: apps[0].maintenance.status: 99 is not"),
    ("  static:\n  - body: ok\n", "6: apps[0].static[0].paths: is missing, and so are hosts, headers, methods and user_agents"),
    ("  static:\n  - paths: [/]\n    status: 1\n", "7: apps[0].static[0].status: 1 is not"),
    ("  static:\n  - paths: [/]\n  - paths:\n    - a\n", "8: apps[0].static[1].paths[0]: 'a' does not start"),
    ("  static:\n  - hosts: [a b]\n", "6: apps[0].static[0].hosts[0]: 'a b' is not a host"),
    ("  static:\n  - user_agents:\n    - ''\n", "7: apps[0].static[0].user_agents[0]: is empty"),
    ("  static:\n  - paths: [/]\n    response_headers: {TE: x}\n", "7: apps[0].static[0].response_headers.TE: TE belongs"),
    ("  affinity: {}\n", "5: apps[0].affinity: is either by a cookie or by a header"),
    ("  affinity:\n    cookie: a b\n", "6: apps[0].affinity.cookie: 'a b' is not the name of a cookie"),
    ("  affinity:\n    header: x\n    max_age: soon\n", "7: apps[0].affinity.max_age: should be seconds"),
    ("  cors: {}\n", "5: apps[0].cors.allow_origins: "),
    ("  cors:\n    allow_origins: [a.test]\n", "6: apps[0].cors.allow_origins[0]: 'a.test' is not an origin"),
    ("  cors:\n    allow_origins: ['*']\n    allow_credentials: true\n", '6: apps[0].cors.allow_origins: "*" does not go with'),
    ("  max_held: 0\n", "5: apps[0].max_held: "),
    ("  max_held_bytes: lots\n", "5: apps[0].max_held_bytes: should be bytes, or a quantity like 500k"),
    ("  max_held_bytes: 1.5\n", "5: apps[0].max_held_bytes: "),
    ("  max_requests: 0\n", "5: apps[0].max_requests: "),
    ("  backend_concurrency: -1\n", "5: apps[0].backend_concurrency: "),
    ("  readiness_path: up\n", "5: apps[0].readiness_path: 'up' is not a path"),
    ("  server_timing: 1\n", "5: apps[0].server_timing: "),
    ("  app_protocol: https\n", "5: apps[0].app_protocol: should be 'http',"),
    ("  app_protocol: h2c\n  readiness:\n    path: /up\n", "6: apps[0].readiness: its path is asked over HTTP/1.1"),
    ("  answer_half_closed: maybe\n", "5: apps[0].answer_half_closed: should be true or false"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_ANSWERS)
def test_wrong_answers(text: str, expected: str) -> None:
    assert _error(A + text).startswith(expected)
