"""The script for wrk, and the parsing of its output."""

from __future__ import annotations

import re

import pytest

from tests.bench.processes import BenchError
from tests.bench.wrk import NUMBER, Load, Outcome, outcome, request, script


def test_a_request_has_host_first_and_its_fields_in_their_order() -> None:
    load = Load("/small", 50, fields=(("B", "2"), ("A", "1")))
    assert request(load, "a.test") == "GET /small HTTP/1.1\r\nHost: a.test\r\nB: 2\r\nA: 1\r\n\r\n"


def test_a_body_is_posted_with_its_length() -> None:
    sent = request(Load("/small", 50, body='{"a": 1}'), "a.test")
    assert sent == 'POST /small HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\n{"a": 1}'


def test_a_request_without_numbers_is_made_once() -> None:
    made = script(Load("/small", 50, body='{"a": "\\"}'), "a.test")
    assert "function request" not in made  # otherwise wrk would call Lua for each request
    (text,) = re.findall(r"function wrk\.format\(\)\n    return (.*)\nend", made)
    assert text == (r'"POST /small HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n{\"a\": \"\\\"}"')


def test_each_request_has_a_number_of_its_own_wherever_one_is_asked_for() -> None:
    made = script(Load(f"/small?page={NUMBER}", 50, fields=(("X-Request-Id", f"7d0c-{NUMBER}"),)), "a.test")
    (body,) = re.findall(r"function request\(\)\n(.*?)\nend", made, re.DOTALL)
    count, text = (line.strip() for line in body.splitlines())
    assert count == "number = number + 1"
    assert text == (
        r'return "GET /small?page=" .. number .. " HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: 7d0c-" .. number .. "\r\n\r\n"'
    )
    assert "number = tonumber(args[1])" in made  # runs begin with different numbers


def test_many_hosts_take_turns() -> None:
    made = script(Load("/small", 50, hosts=3), "app-%05d.test")
    assert "for i = 1, 3 do" in made
    assert 'local host = string.format("app-%05d.test", i - 1)' in made
    assert r'requests[i] = "GET /small HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n"' in made


@pytest.mark.parametrize(
    "load", [Load("/", 1), Load(f"/{NUMBER}", 1), Load("/", 1, hosts=2)], ids=["same", "numbered", "many hosts"]
)
def test_every_script_tells_the_figures(load: Load) -> None:
    assert "function done(summary, latency)" in script(load, "a%d.test")


def test_figures_are_read() -> None:
    output = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 50 connections\nfigures 80000 2000000 750 2500 0\n"
    assert outcome(output, 1) == Outcome(requests=80_000, seconds=2.0, p50_ms=0.75, p99_ms=2.5)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("figures 80000 2000000 750 2500 3\n", "3 errors among 80000"),
        ("figures 0 2000000 0 0 0\n", "0 errors among 0"),
        ("unable to connect\n", "no figures: unable to connect"),
    ],
    ids=["errors", "no answers", "no figures"],
)
def test_a_run_that_failed_is_no_measurement(output: str, says: str) -> None:
    with pytest.raises(BenchError, match=f"port 8080.* {says}"):
        outcome(output, 8080)
