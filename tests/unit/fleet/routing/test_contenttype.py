"""The Content-Type of a body: by its file name, or else by its first bytes."""

import pytest

from fleet.routing.contenttype import content_type

HTML, TEXT, BINARY = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", HTML),
        ("INDEX.HTML", HTML),
        ("a.b.css", "text/css; charset=utf-8"),
        ("logo.svg", "image/svg+xml"),
        ("data.json", "application/json"),
        ("html", TEXT),
        ("page.unknown", TEXT),
        ("", TEXT),
    ],
)
def test_by_name(name: str, kind: str) -> None:
    assert content_type(b"soon", name) == kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!doctype html><p>", HTML),
        (b" \n<h1>Soon</h1>", HTML),
        (b"<!-- soon -->", HTML),
        (b"<p class=x>", HTML),
        (b"<pre>", TEXT),
        (b"a <p>", TEXT),
        (b'<?xml version="1.0"?>', "text/xml; charset=utf-8"),
        (b'{"a": 1}', TEXT),
        ("später".encode(), TEXT),
        (b"\x89PNG\r\n\x1a\n\x00", BINARY),
        (b"", TEXT),
    ],
)
def test_by_beginning(body: bytes, kind: str) -> None:
    assert content_type(body) == kind
