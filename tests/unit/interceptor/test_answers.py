"""Static responses as replies: fields of a route, defaults, and which clients get HTML."""

from __future__ import annotations

import pytest

from fleet.routing.route import StaticFile, StaticResponse
from interceptor.app.answers import Answer, accepts_html
from interceptor.app.pages import PLACEHOLDER
from interceptor.http1.request import RequestHead, parse_request


def head(path: str = "/", *fields: str, method: str = "GET") -> RequestHead:
    lines = [f"{method} {path} HTTP/1.1", "Host: a.test", *fields]
    return parse_request("\r\n".join(lines).encode() + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, TEXT/HTML ; q=0.5", True),
        ("text/html;q=0", False),
        ("text/html; q=0.000", False),
        ("text/html;q=0.001", True),
        ("*/*", False),
        ("text/*", False),
        ("text/htmlx", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_clients_that_accept_html(accept: str, html: bool) -> None:
    assert accepts_html(head("/", f"Accept: {accept}")) is html


def test_clients_without_an_accept_field_get_no_html() -> None:
    assert not accepts_html(head())
    assert accepts_html(head("/", "Accept: application/json", "accept: text/html"))


def test_what_a_route_says_replaces_what_is_filled_in() -> None:
    response = StaticResponse(status=200, headers=(("CONTENT-TYPE", "text/css"), ("A", "1"), ("A", "2")), body=b"a{}")
    reply = Answer(response, status=503, fields=((b"Retry-After", b"2"), (b"a", b"0"))).reply(head())
    assert reply.status == 200
    assert reply.fields == (
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Retry-After", b"2"),
        (b"CONTENT-TYPE", b"text/css"),
        (b"A", b"1"),
        (b"A", b"2"),
    )


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"fine", b"text/plain; charset=utf-8"),
        (b"<!DOCTYPE html><p>hello", b"text/html; charset=utf-8"),
        (b"\n <html lang=en>", b"text/html; charset=utf-8"),
        (b"<htmlx>", b"text/plain; charset=utf-8"),
        (b"use <html> tags", b"text/plain; charset=utf-8"),
    ],
)
def test_the_kind_of_a_body_of_which_nothing_is_said(body: bytes, kind: bytes) -> None:
    assert dict(Answer(StaticResponse(body=body), status=200).reply(head()).fields)[b"Content-Type"] == kind


def test_no_body_has_no_kind() -> None:
    for response in (StaticResponse(), StaticResponse(body=b"")):
        reply = Answer(response, status=200).reply(head())
        assert (reply.fields, reply.body) == ((), b"")


def test_files_are_found_by_the_path_as_people_mean_it() -> None:
    names = ("/index.html", "/a/index.html", "/a b", "/x.svg", "/x.css.gz", "/none")
    answer = Answer(StaticResponse(files=tuple(StaticFile(name, name.encode()) for name in names)), status=200)
    for path, body, kind in (
        ("/", b"/index.html", b"text/html; charset=utf-8"),
        ("/?q", b"/index.html", b"text/html; charset=utf-8"),
        ("/a/", b"/a/index.html", b"text/html; charset=utf-8"),
        ("/a%20b", b"/a b", b"text/plain; charset=utf-8"),
        ("/x.svg", b"/x.svg", b"image/svg+xml"),
        ("/x.css.gz", b"/x.css.gz", b"application/octet-stream"),
        ("/a", b"", None),
    ):
        reply = answer.reply(head(path))
        assert (reply.body, dict(reply.fields).get(b"Content-Type")) == (body, kind)


def test_a_page_for_browsers_and_a_line_for_programs() -> None:
    answer = Answer(StaticResponse(headers=(("X-Mine", "1"),)), status=503, page=PLACEHOLDER)
    page, line = answer.reply(head("/", "Accept: text/html")), answer.reply(head())
    assert b"<title>a.test is waking up</title>" in page.body
    assert line.body == b"weir: a.test is waking up: try again in a few seconds\n"
    for reply in (page, line):
        assert reply.status == 503
        assert dict(reply.fields)[b"X-Mine"] == b"1"


def test_an_empty_body_of_ones_own_is_not_the_page() -> None:
    assert Answer(StaticResponse(body=b""), status=503, page=PLACEHOLDER).reply(head("/", "Accept: text/html")).body == b""
