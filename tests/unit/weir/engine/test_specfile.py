"""The file of apps: what it may say, and what apps and processes follow from it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.routing.route import (
    HeaderMatch,
    Rule,
)
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


def test_an_unquoted_off_is_off() -> None:
    """YAML reads it as false."""
    spec = _parse("interceptor: {proxy_plaintext: off, proxy_protocol: off}").spec
    assert spec.interceptor == {"proxy_plaintext": "off", "proxy_protocol": "none"}


def test_files_of_settings_are_found_from_the_directory_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "more").mkdir()
    text = "interceptor: {proxy_tls_ca: ca.pem, proxy_tls_client_certs: optional, proxy_tls_directories: 'more, /'}"
    assert parse_spec(text, tmp_path / "apps.yaml").spec.interceptor == {
        "proxy_tls_ca": f"{tmp_path}/ca.pem",
        "proxy_tls_client_certs": "optional",
        "proxy_tls_directories": f"{tmp_path}/more,/",
    }


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
