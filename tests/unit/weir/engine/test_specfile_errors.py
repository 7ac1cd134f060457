"""What is wrong in a file of apps: the line, the field and the reason of each kind of error."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.broken import BROKEN
from tests.support.full import FULL
from weir.engine.specfile import SpecError, SpecFile, parse_spec

FILE = Path(__file__).parent / "fleet.yaml"


def _parse(text: str) -> SpecFile:
    return parse_spec(dedent(text), FILE)


def _error(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        _parse(text)
    return str(caught.value).removeprefix(f"{FILE}:")


BEGIN = "apps:\n- name: a\n  hosts: [a]\n  command: x\n  schedule:\n"
SCHEDULE = "  - start: 0 8 * * *\n    end: 0 9 * * *\n    timezone: UTC\n"
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
    ("scaler:\n  port: 1\n", "2: scaler.port: is not a setting that a file may give; it is scaler in ports"),
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
    (
        f"{BEGIN}{SCHEDULE}  - start: 0 8 * * 7\n    end: 0 9 * * *\n    timezone: UTC\n",
        "9: apps[0].schedule[1].start: day of week: 7 is not from 0 to 6; Sunday is 0",
    ),
    (
        f"{BEGIN}  - start: 0 8 * * *\n    end: 0 9 * * *\n    timezone: Berlin\n",
        "8: apps[0].schedule[0].timezone: 'Berlin' is no time zone",
    ),
    (
        f"{BEGIN}{SCHEDULE}    replicas: 5\n",
        "5: apps[0].schedule: its 5 replicas are more than max, which is 4",
    ),
    (
        f"{BEGIN}{SCHEDULE}    replicas: 0\n",
        "9: apps[0].schedule[0].replicas: should be at least 1",
    ),
    ("interceptor:\n  readiness_timeout: 1h30\n", "2: interceptor.readiness_timeout: should be seconds, or a duration"),
    ("interceptor:\n  max_held_bytes: 16MB\n", "2: interceptor.max_held_bytes: should be bytes, or a quantity"),
    ("interceptor:\n  proxy_plaintext: yes\n", "2: interceptor.proxy_plaintext: should be 'serve', 'redirect' or 'off'"),
    ("interceptor:\n  trusted_proxies: no\n", "2: interceptor.trusted_proxies: should be text; write it in quotes, like"),
    (
        "interceptor:\n  tls_ca: ca.pem\n",
        "2: interceptor.tls_ca: is not a setting that a file may give; weir up's comp",
    ),
    (
        "interceptor:\n  proxy_tls_port: 1\n",
        "2: interceptor.proxy_tls_port: is not a setting that a file may give; it is proxy",
    ),
    (
        "interceptor:\n  proxy_tls_ca: no/ca.pem\n",
        f"2: interceptor.proxy_tls_ca: {Path(__file__).parent}/no/ca.pem: No such file",
    ),
    ("interceptor:\n  proxy_tls_client_certs: optional\n", "2: interceptor.proxy_tls_client_certs: proxy_tls_client_certs needs"),
    (
        "interceptor:\n  max_held: 1\n  proxy_tls_cert: test_schema.py\n",
        "3: interceptor.proxy_tls_cert: proxy_tls_key is",
    ),
    ("interceptor:\n  outside_min_ttl: 10\n  outside_max_ttl: 5\n", "2: interceptor.outside_min_ttl: outside_min_ttl is more"),
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
        "2: apps[0].comma", "2: apps[0].name:", "2: apps[0].hosts", "3: apps[1].comma", "3: apps[1].name:", "3: apps[1].hosts",
    ]  # fmt: skip


def test_more_faults_than_anybody_reads_are_counted() -> None:
    with pytest.raises(SpecError) as caught:
        _parse("apps: [" + "{}, " * 50 + "]")
    assert len(caught.value.lines) == 101
    assert caught.value.lines[-1] == f"{FILE}: and 50 more errors"


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
    ("  app_protocol: tcp\n", "5: apps[0].app_protocol: 'tcp' is not one of http, "),
    ("  app_protocol: HTTP\n", "5: apps[0].app_protocol: 'HTTP' is not one of http, "),
    ("  app_protocol: https\n  readiness:\n    path: /up\n", "6: apps[0].readiness: its path is asked over HTTP/1.1 without TLS"),
    ("  tls: {}\n  readiness:\n    path: /up\n", "6: apps[0].readiness: its path is asked over HTTP/1.1 without TLS"),
    ("  tls: true\n", "5: apps[0].tls: "),
    ("  tls:\n", "5: apps[0].tls: is empty; {} is TLS"),
    ("  tls:\n    ca: ''\n", "6: apps[0].tls.ca: "),
    ("  tls:\n    server_name: '*.a.test'\n", "6: apps[0].tls.server_name: '*.a.test' is a pattern"),
    ("  tls:\n    skip_verify: yes please\n", "6: apps[0].tls.skip_verify: "),
    ("  tls:\n    skip_verify: true\n    ca: ca.pem\n", "6: apps[0].tls.skip_verify: there are authorities as well"),
    ("  tls:\n    ca: none.pem\n", "6: apps[0].tls.ca: "),
    ("  backends:\n  - service: a\n    tls:\n      ca: none.pem\n", "8: apps[0].backends[0].tls.ca: "),
    ("  backends:\n  - service: a\n    app_protocol: tcp\n", "7: apps[0].backends[0].app_protocol: 'tcp' is not one of http, "),
    ("  app_protocol: h2c\n  readiness:\n    path: /up\n", "6: apps[0].readiness: its path is asked over HTTP/1.1"),
    ("  answer_half_closed: maybe\n", "5: apps[0].answer_half_closed: should be true or false"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_ANSWERS)
def test_wrong_answers(text: str, expected: str) -> None:
    assert _error(A + text).startswith(expected)
