"""The list of applications: who gets it, its content, and that names are escaped for pages and terminals."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from fleet.discovery.sources import Trouble
from fleet.routing.previews import Copy, Previews
from fleet.routing.route import HeaderMatch, Route, Rule, StaticResponse, Target
from interceptor.app.applist import MAX_APPS, MAX_WAYS, AppList
from interceptor.core.messages import HTTPS
from interceptor.core.replies import Reply
from interceptor.http1.request import RequestHead, parse_request
from tests.support.acting import HOSTILE, acting

BROWSER = "Accept: text/html,*/*;q=0.8\r\n"


def _app(name: str, *rules: Rule, ready: int = 0, held: int = 0, maintenance: bool = False, why: str = "") -> Any:
    rules = rules or (Rule(hosts=(f"{name}.localhost",)),)
    route = Route(app=f"default/{name}", target=Target("n/s"), rules=rules, maintenance=StaticResponse() if maintenance else None)
    endpoints = SimpleNamespace(ready=[None] * ready, trouble=Trouble(why) if why else None)
    return SimpleNamespace(name=route.app, route=route, endpoints=endpoints, entry=SimpleNamespace(held=held))


def _head(host: str = "localhost:8080", path: str = "/", *, method: str = "GET", fields: str = "") -> RequestHead:
    return parse_request(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode())


def _reply(head: RequestHead, *apps: Any) -> Reply:
    reply = AppList(lambda: {app.name: app for app in apps}).reply(head)
    assert reply is not None
    return reply


class _Links(HTMLParser):
    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "localhost.", "127.0.0.1:8080", "[::1]:8080", "192.168.1.5"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_this_machine_by_name_or_address_is_told_at_the_root(host: str, method: str) -> None:
    assert _reply(_head(host, method=method), _app("a")).status == 200
    assert AppList(dict).reply(_head(host, "/favicon.ico", method=method)) is None


@pytest.mark.parametrize(
    "head",
    [
        _head("attacker.example.com"),  # an attacker's name that resolves to this machine
        _head("localhost.example.com"),
        _head("intranet"),
        _head(method="POST"),
        parse_request(b"GET / HTTP/1.0\r\n\r\n"),
    ],
)
def test_other_hosts_get_no_list(head: RequestHead) -> None:
    assert AppList(lambda: {"default/a": _app("a")}).reply(head) is None


def test_a_mistyped_name_of_this_machine_is_not_found_and_told_what_there_is() -> None:
    reply = _reply(_head("helo.localhost:8080", "/any"), _app("hello"))
    assert reply.status == 404
    assert b'no route for host "helo.localhost:8080" and path "/any"' in reply.body
    assert b"http://hello.localhost:8080/\n" in reply.body
    page = _reply(_head("helo.localhost:8080", "/any", fields=BROWSER), _app("hello"))
    assert (page.status, b"no route for host &quot;helo.localhost:8080&quot;" in page.body) == (404, True)
    assert b"1 app at localhost:8080<" in page.body


def test_a_browser_gets_links_and_states() -> None:
    apps = [
        _app("sleeper"),
        _app("two", ready=2),
        _app("one", ready=1),
        _app("late", held=3),
        _app("shut", maintenance=True, ready=1),
        _app("far", Rule(hosts=("shop.example.com",)), Rule(hosts=("far.localhost",), headers=(HeaderMatch("x-team"),))),
    ]
    reply = _reply(_head(fields=BROWSER), *apps)
    fields = dict(reply.fields)
    assert fields[b"Content-Type"] == b"text/html; charset=utf-8"
    assert fields[b"Cache-Control"] == b"no-store"
    assert b"default-src 'none'" in fields[b"Content-Security-Policy"]
    links = set(_Links(reply.body).links)
    assert links == {f"http://{name}.localhost:8080/" for name in ("sleeper", "two", "one", "late", "shut")}
    text = reply.body.decode()
    kinds = {name: kind for kind, name in re.findall(r'<li class="(\w+)"><h2>(?:<a [^>]*>)?(\w+)', text)}
    assert kinds == {
        "sleeper": "asleep", "two": "ready", "one": "ready", "late": "waking", "shut": "closed", "far": "asleep",
    }  # fmt: skip
    for words in ("2 replicas ready", "waking up, 3 requests wait", "in maintenance", "asleep", "6 apps at localhost:8080"):
        assert words in text
    assert "curl -H &#x27;Host: shop.example.com&#x27; http://localhost:8080/" in text
    assert "x-team: x" in text


def test_a_program_gets_lines() -> None:
    reply = _reply(_head(), _app("hello"), _app("zoo", ready=1), _app("far", Rule(hosts=("shop.example.com",))))
    assert dict(reply.fields)[b"Content-Type"] == b"text/plain; charset=utf-8"
    assert reply.body.decode().splitlines() == [
        "weir: 3 apps",
        "far    asleep  curl -H 'Host: shop.example.com' http://localhost:8080/",
        "hello  asleep  http://hello.localhost:8080/",
        "zoo    ready   http://zoo.localhost:8080/",
    ]


@pytest.mark.parametrize("fields", ["", BROWSER], ids=["text", "html"])
def test_nothing_of_a_route_is_acted_on(fields: str) -> None:
    hostile = '"><script>alert(1)</script>&' + HOSTILE
    rule = Rule(hosts=("a.localhost",), paths=("/" + hostile,), headers=(HeaderMatch("x", hostile),))
    plain = Rule(hosts=("a.localhost",), paths=("/" + hostile,))
    body = _reply(_head(fields=fields), _app("a", rule, plain)).body
    assert not acting(body.decode(), lines=True)
    if fields:
        assert body.count(b"<script>") == 1
        assert _Links(body).tags <= {
            "html", "head", "meta", "noscript", "title", "style", "body", "main", "h1", "p", "ul", "li", "h2", "a", "span",
            "code", "script",
        }  # fmt: skip


@pytest.mark.parametrize("fields", ["", BROWSER], ids=["text", "html"])
def test_the_list_is_bounded(fields: str) -> None:
    apps = [_app(f"a{number}") for number in range(MAX_APPS + 7)]
    body = _reply(_head(fields=fields), *apps).body.decode().lower()
    assert "and 7 more" in body
    rule = Rule(hosts=tuple(f"h{number}.localhost" for number in range(MAX_WAYS + 5)))
    body = _reply(_head(fields=fields), _app("a", rule)).body.decode()
    assert f"h{MAX_WAYS - 1}.localhost" in body
    assert f"h{MAX_WAYS}.localhost" not in body


@pytest.mark.parametrize("fields", ["", BROWSER], ids=["text", "html"])
def test_a_file_without_apps_says_so(fields: str) -> None:
    assert b"0 apps" in _reply(_head(fields=fields)).body


def test_why_an_app_does_not_start_is_reported_and_acts_on_nothing() -> None:
    failing = _app("a", held=1, why="ended with exit code 1: no such table <b>\x1b[2J")
    assert b"failing: ended with exit code 1: no such table <b>[2J" in _reply(_head(), failing).body
    page = _reply(_head(fields=BROWSER), failing).body.decode()
    assert "failing: ended with exit code 1: no such table &lt;b&gt;" in page
    assert acting(page) == {"\n"}


@pytest.mark.parametrize("note", ["web seems to call <api>", HOSTILE])
def test_what_is_said_of_an_app_is_told_and_acts_on_nothing(note: str) -> None:
    apps = {app.name: app for app in (_app("web"), _app("api"))}
    listed = AppList(lambda: apps, lambda app: note if app == "default/web" else "")
    page, text = listed.reply(_head(fields=BROWSER)), listed.reply(_head())
    assert page is not None
    assert text is not None
    assert page.body.count(b'class="note"') == 1
    assert acting(page.body.decode()) == acting(text.body.decode()) == {"\n"}
    assert "api" not in _Links(page.body).tags
    if note != HOSTILE:
        assert b">web seems to call &lt;api&gt;<" in page.body
        assert note.encode() in text.body


def test_links_are_of_the_scheme_by_which_the_request_came() -> None:
    head, asks = _head("localhost:8443"), _head("localhost:8443", fields=BROWSER)
    head.scheme = asks.scheme = HTTPS
    rules = Rule(hosts=("a.localhost",)), Rule(hosts=("a.test",))
    assert [line.split()[-1] for line in _reply(head, _app("a", *rules)).body.decode().splitlines()[1:]] == [
        "https://a.localhost:8443/",
        "https://localhost:8443/",
    ]
    page = _reply(asks, _app("a", *rules))
    assert set(_Links(page.body).links) == {"https://a.localhost:8443/"}
    assert b">a.localhost:8443/<" in page.body


def test_previews_are_listed_with_hosts_of_their_own() -> None:
    base, copy, hidden = (
        _app("web"),
        _app("web--f1", Rule(hosts=("web.localhost",))),
        _app("api--f1", Rule(hosts=("api.localhost",))),
    )
    api = _app("api")
    for app, name, hosts in ((base, "web--f1", ("{name}.{baseHost}",)), (api, "api--f1", ())):
        previews = Previews(copies=(Copy("f1", f"default/{name}"),), hosts=hosts)
        app.route = structs.replace(app.route, previews=previews)
    lines = _reply(_head(), base, copy, api, hidden).body.decode().splitlines()
    found = {line.split()[0]: line.split()[-1] for line in lines[1:]}
    assert found["web"] == "http://web.localhost:8080/"
    assert found["web--f1"] == "http://f1.web.localhost:8080/"
    assert "api--f1" not in found, "by a header alone, a browser cannot open it"
