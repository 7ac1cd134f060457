"""The list of applications at http://localhost:PORT/ of an engine on one machine. Pure.

Only for requests that match no route, and only for names and addresses of the machine itself, so that a web page cannot read it
by DNS rebinding. Never on Kubernetes, where routes belong to tenants.
"""

from __future__ import annotations

import html
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from fleet.routing.claims import claims_of
from fleet.routing.host import normal_host
from fleet.routing.preview_index import hosts_of_copy
from fleet.routing.request_examples import address_of, command_for, is_local_name
from fleet.routing.route import Rule
from fleet.runtime.terminal import one_line
from interceptor.app.answers import accepts_html
from interceptor.app.pages import APPS
from interceptor.core.messages import Field, Request
from interceptor.core.replies import Reply, no_route

if TYPE_CHECKING:
    from interceptor.app.app import App

__all__ = ["AppList"]

MAX_APPS: Final = 500
"""Maximum applications on one page: enough for a person, and each costs some microseconds."""
MAX_WAYS: Final = 3
"""Maximum addresses shown of one application."""

_READERS: Final = frozenset({b"GET", b"HEAD"})
_NO_STORE: Final[Field] = (b"Cache-Control", b"no-store")
_TEXT: Final[tuple[Field, ...]] = (
    (b"Content-Type", b"text/plain; charset=utf-8"),
    (b"X-Content-Type-Options", b"nosniff"),
    _NO_STORE,
)


class _Row(NamedTuple):
    name: str
    kind: str
    """The kind of its state, for colours."""
    state: str
    ways: list[_Way]
    note: str
    """What is known of it beside that; "" for nothing."""


class _Way(NamedTuple):
    url: str | None
    """None when opening a URL is not enough."""
    command: str


class AppList:
    """Makes the list of applications and their states."""

    def __init__(self, apps: Callable[[], Mapping[str, App]], note: Callable[[str], str] = lambda _: "") -> None:
        """`note` says what is to be said of an application, by its name."""
        self._apps = apps
        self._note = note

    def reply(self, head: Request) -> Reply | None:
        """The response to a request that matches no route, or None when it is not for a person at this machine."""
        host = normal_host(head.host).decode("ascii", "replace")
        here = host == "localhost" or _is_address(host)
        if head.method not in _READERS or not (head.path == b"/" if here else is_local_name(host)):
            return None
        apps = sorted(self._apps().values(), key=_name)
        hosts = _hosts_of_copies(apps)
        at = head.host.decode("ascii", "replace")
        scheme = head.scheme.decode()
        rows = [_row(app, hosts.get(app.name, app.route.rules), at, scheme, self._note(app.name)) for app in apps[:MAX_APPS]]
        status, problem = (200, "") if here else (404, str(no_route(head.host, head.path)))
        if accepts_html(head):
            fields, body = APPS.filled(_blanks(rows, len(apps), at if here else _home(at), problem))
            return Reply(status, (*fields, _NO_STORE), body)
        return Reply(status, _TEXT, _text(rows, len(apps), problem))


def _home(at: str) -> str:
    """The address of the list, for a mistyped name."""
    return "localhost" + at[len(at.partition(":")[0]) :]


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _name(app: App) -> str:
    return app.name


def _hosts_of_copies(apps: Iterable[App]) -> dict[str, tuple[Rule, ...]]:
    """What previews are reached by, which have the rules of their bases."""
    bases = ((app.route, app.route.previews) for app in apps)
    return {
        copy.app: (Rule(hosts=hosts),) if (hosts := tuple(hosts_of_copy(base, copy.name))) else ()
        for base, previews in bases
        if previews is not None
        for copy in previews.copies
    }


def _row(app: App, rules: Iterable[Rule], at: str, scheme: str, note: str) -> _Row:
    kind, state = _state(app)
    return _Row(app.name.removeprefix("default/"), kind, state, list(_ways(rules, at, scheme)), note)


def _state(app: App) -> tuple[str, str]:
    ready, held = len(app.endpoints.ready), app.entry.held
    if app.route.maintenance is not None:
        return "closed", "in maintenance"
    if ready:
        return "ready", "ready" if ready == 1 else f"{ready} replicas ready"
    if app.endpoints.trouble is not None:
        return "failing", f"failing: {app.endpoints.trouble.reason}"
    return ("waking", f"waking up, {_count(held, 'request waits', 'requests wait')}") if held else ("asleep", "asleep")


def _ways(rules: Iterable[Rule], at: str, scheme: str) -> Iterator[_Way]:
    for claim in islice(claims_of(rules), MAX_WAYS):
        yield _Way(address_of(claim, at, scheme=scheme), command_for(claim, at, scheme=scheme))


def _text(rows: list[_Row], count: int, problem: str) -> bytes:
    width = max((len(row.name) for row in rows), default=0)
    wide = max((len(row.state) for row in rows), default=0)
    lines = [f"weir: {problem}"] if problem else []
    lines.append(f"weir: {_count(count, 'app', 'apps')}")
    for row in rows:
        for position, way in enumerate(row.ways):
            name, state = (row.name, row.state) if position == 0 else ("", "")
            lines.append(f"{name:{width}}  {state:{wide}}  {way.url or way.command}")
        if row.note:
            lines.append(f"{'':{width}}  {row.note}")
    if count > len(rows):
        lines.append(f"and {count - len(rows)} more")
    return "".join(f"{one_line(line)}\n" for line in lines).encode(errors="replace")


def _blanks(rows: list[_Row], count: int, at: str, problem: str) -> dict[str, str]:
    return {
        "host": html.escape(at),
        "problem": f'<p class="problem">{html.escape(problem)}</p>' if problem else "",
        "count": _count(count, "app", "apps"),
        "rows": "".join(map(_item, rows)),
        "more": f"<p>And {count - len(rows)} more.</p>" if count > len(rows) else "",
    }


def _item(row: _Row) -> str:
    first = next((way.url for way in row.ways if way.url), None)
    name = html.escape(one_line(row.name))
    title = f'<a href="{html.escape(first)}">{name}</a>' if first else name
    ways = "".join(map(_way, row.ways)) + (f'<p class="note">{html.escape(one_line(row.note))}</p>' if row.note else "")
    return f'<li class="{row.kind}"><h2>{title}</h2><span>{html.escape(one_line(row.state))}</span>{ways}</li>\n'


def _way(way: _Way) -> str:
    if way.url is None:
        return f"<p><code>{html.escape(one_line(way.command))}</code></p>"
    shown = html.escape(way.url)
    return f'<p><a href="{shown}">{shown.partition("://")[2]}</a></p>'


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
