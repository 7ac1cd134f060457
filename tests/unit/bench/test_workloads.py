"""The workloads match their names: requests as users send them, and valid for a proxy."""

from __future__ import annotations

import json

import pytest

from interceptor.http1.request import parse_request
from tests.bench.workloads import AS_USERS_SEND, WORKLOADS
from tests.bench.wrk import NUMBER, request


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_load_is_a_request(name: str) -> None:
    head, end, body = _sent(name).partition(b"\r\n\r\n")
    parsed = parse_request(head + end)
    assert parsed.host == b"a.test"
    assert parsed.length == len(body)
    assert parsed.keep_alive


def test_a_browser_sends_thirteen_fields_and_a_cookie() -> None:
    names = _names("browser")
    assert names.pop(0) == "host"
    assert names.pop() == "cookie"
    assert len(names) == len(set(names)) == 13


def test_queries_and_request_ids_are_numbered() -> None:
    assert _names("request_id") == [*_names("browser"), "x-request-id"]
    browser, request_id = (request(WORKLOADS[name].load, "a.test") for name in ("browser", "request_id"))
    assert browser.splitlines()[0] == f"GET /small?page={NUMBER} HTTP/1.1"
    assert (browser.count(NUMBER), request_id.count(NUMBER)) == (1, 2)


def test_what_is_posted_is_json_of_200_bytes() -> None:
    head, _, body = _sent("post").partition(b"\r\n\r\n")
    assert head.startswith(b"POST ")
    assert b"\r\nContent-Type: application/json" in head
    assert len(body) == 200
    assert json.loads(body)


def test_loads_are_as_long_as_is_asked() -> None:
    assert {workload.lasting(7).seconds for workload in WORKLOADS.values()} == {7}


def test_what_users_send_has_rows() -> None:
    assert set(AS_USERS_SEND) <= WORKLOADS.keys()


def _sent(name: str) -> bytes:
    return request(WORKLOADS[name].load, "a.test").replace(NUMBER, "123456789012").encode()


def _names(name: str) -> list[str]:
    return [field.decode() for field, _ in parse_request(_sent(name)).match_fields()]
