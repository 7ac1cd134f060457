"""The built-in pages: they load nothing from elsewhere, have a strict Content-Security-Policy, and escape text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from interceptor.app.pages import MAINTENANCE, PLACEHOLDER, Page

PAGES = pytest.mark.parametrize("page", [PLACEHOLDER, MAINTENANCE], ids=["placeholder", "maintenance"])


class _Reader(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def refreshes(self) -> list[str | None]:
        return [attributes["content"] for _, attributes in self.tags if attributes.get("http-equiv") == "refresh"]


@PAGES
def test_nothing_comes_from_elsewhere(page: Page) -> None:
    _, body = page.html(b"a.test", b"/")
    assert len(body) < 6000
    for tag, attributes in _Reader(body).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "href", "style", "onload", "onclick"} & attributes.keys()
    assert not re.search(rb"url\((?!#)", body)
    assert b"@import" not in body


@PAGES
def test_the_policy_allows_the_style_and_the_script_that_are_there_and_nothing_else(page: Page) -> None:
    fields, body = page.html(b"a.test", b"/")
    policy = dict(fields)[b"Content-Security-Policy"].decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind in ("style", "script"):
        inline = re.findall(rf"<{kind}[^>]*>(.*?)</{kind}>", body.decode(), re.DOTALL)
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inline]
        assert rules.get(f"{kind}-src", "").split() == hashes
    assert "unsafe" not in policy


@PAGES
def test_it_names_the_host_and_quotes_it(page: Page) -> None:
    for host, named in ((b"shop.example.com", "shop.example.com"), (b"a&b'c", "a&b'c"), (b"", "This application")):
        reader = _Reader(page.html(host, b"/")[1])
        assert reader.text.count(f"{named} is") == 2  # title and heading
        assert page.text(host)[1].startswith(f"weir: {named} is ".encode())


@PAGES
@pytest.mark.parametrize(
    ("target", "here"),
    [
        (b"/", "./"),
        (b"/some/page", "./page"),
        (b"/some/dir/?x=1&y={{host}}", "./?x=1&y=%7B%7Bhost%7D%7D"),
        (b"/javascript:alert(1)", "./javascript:alert(1)"),
        (b'/"><script>alert(1)</script>', "./script%3E"),
        (b"/a?b=/c/d", "./a?b=/c/d"),
        (b"/\xff%41", "./%FF%41"),
        (b"*", "./*"),
    ],
)
def test_it_looks_again_at_its_own_address(page: Page, target: bytes, here: str) -> None:
    reader = _Reader(page.html(b"a.test", target)[1])
    assert reader.refreshes
    for refresh in reader.refreshes:
        assert refresh is not None
        seconds, _, address = refresh.partition("; url=")
        assert 0 < int(seconds) <= 60
        assert address == here
    assert sum(tag == "script" for tag, _ in reader.tags) == (page is PLACEHOLDER)


@PAGES
def test_it_can_be_read_by_day_and_by_night(page: Page) -> None:
    """WCAG 2.2, 1.4.3: the contrast of text and background is at least 4.5 to 1."""
    body = page.html(b"a.test", b"/")[1].decode()
    schemes = re.findall(r":root {(.*?)}", body)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ink in ("ink", "soft"):
            light, dark = sorted((_luminance(colours[ink]), _luminance(colours["paper"])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@PAGES
def test_it_has_landmarks_for_screen_readers(page: Page) -> None:
    tags = dict(_Reader(page.html(b"a.test", b"/")[1]).tags)
    assert tags["html"] == {"lang": "en"}
    assert tags["main"] == {}  # a role would remove the landmark
    assert tags["svg"]["aria-hidden"] == "true"


def test_a_reason_is_reported_and_quoted_in_place_of_waking_up() -> None:
    why = 'ended with exit code 1: <script>alert("x")</script>'
    fields, body = PLACEHOLDER.html(b"a.test", b"/", why)
    reader = _Reader(body)
    assert reader.text.count("a.test does not start") == 2
    assert f"The reason is: {why}." in reader.text
    assert "waking up" not in reader.text
    assert sum(tag == "script" for tag, _ in reader.tags) == 1
    assert PLACEHOLDER.text(b"a.test", why)[1] == f"weir: a.test does not start: {why}\n".encode()
    state = dict(fields)[b"X-Weir-Placeholder"]
    assert (b'<body data-state="%s">' % state) in body
    assert state not in (b"true", dict(PLACEHOLDER.html(b"a.test", b"/", "another")[0])[b"X-Weir-Placeholder"])


def test_without_a_reason_it_wakes_up() -> None:
    fields, body = PLACEHOLDER.html(b"a.test", b"/")
    assert dict(fields)[b"X-Weir-Placeholder"] == b"true"
    assert b'<body data-state="true">' in body


def test_maintenance_has_no_place_for_a_reason() -> None:
    assert MAINTENANCE.html(b"a.test", b"/", "why") == MAINTENANCE.html(b"a.test", b"/")
    assert MAINTENANCE.text(b"a.test", "why") == MAINTENANCE.text(b"a.test")
