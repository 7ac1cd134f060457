"""Which copy of an application a request goes to, and what carries the choice on. Knows neither phases nor time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fleet.routing.context import Choice, Source
from fleet.routing.match import METHOD
from fleet.routing.previews import DOT
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import HTTPS, FieldEdit, Fields, RequestEdit
from interceptor.core.replies import no_preview

if TYPE_CHECKING:
    from fleet.routing.table import RoutingTable
    from interceptor.app.app import App
    from interceptor.core.messages import Request

__all__ = ["Chosen", "choose", "is_for_base"]

_SETTING: Final = frozenset({Source.HOST, Source.HEADER, Source.BAGGAGE})


class Chosen:
    """What was found: the application that the request goes to, and what changes about the request and its answer."""

    __slots__ = ("app", "base_host", "cookie", "edit")

    def __init__(self, app: str) -> None:
        self.app = app
        self.edit: FieldEdit | None = None
        """The headers that carry the choice."""
        self.base_host = b""
        """Of a request for the host of a preview: the host of its base."""
        self.cookie: Fields = ()

    def with_rule(self, edit: RequestEdit | None, head: Request) -> RequestEdit | None:
        """The headers beside what a rule changes about the request."""
        own = self.edit
        if own is None:
            return edit
        if edit is None:
            return RequestEdit(own.dropped, own.added, target=head.target)
        others = tuple(field for field in edit.added if not own.drops(field[0]))
        return RequestEdit(edit.dropped | own.dropped, (*others, *own.added), target=edit.target)


def is_for_base(table: RoutingTable, base: App, head: Request) -> bool:
    """Whether it is certain, at little cost, that a request is for the base itself: a route claims its host as a whole, which
    therefore is no host of a preview, and nothing else in it may name one."""
    return head.host in table.whole and not head.may_have(base.marks)


def choose(table: RoutingTable, base: App, head: Request, *, trusted: bool) -> Chosen | ExchangeError:
    """`trusted`: whether the client is a proxy whose forwarding fields are believed. Returns why the request is refused, if it
    is."""
    found, previews, context = Chosen(base.name), table.previews, base.context
    if previews is None or context is None:
        return found
    fields = head.match_fields()
    by_host = previews.by_host(base.route, head.host, head.path, [*fields, (METHOD, head.method)])
    choice = context.read(fields, b"" if by_host is None else by_host.name)
    if by_host is not None:
        found.base_host = by_host.base_host
    if choice.source is Source.NONE:
        return found
    app = previews.names[base.name].get(choice.name)
    if app is not None:
        found.app = app
    elif context.refuses_unknown:
        return no_preview(base.name, choice.name)
    if choice.name:
        found.edit = FieldEdit(context.names, context.carried(fields, choice.name))
        if context.sets_cookie and _is_set(choice, known=app is not None):
            domain = by_host.base_host if by_host is not None and by_host.pattern == DOT and b"." in by_host.base_host else b""
            secure = head.scheme == HTTPS or (trusted and (b"x-forwarded-proto", HTTPS) in fields)
            found.cookie = ((b"Set-Cookie", context.cookie(choice.name, domain=domain, secure=secure)),)
    return found


def _is_set(choice: Choice, *, known: bool) -> bool:
    """Whether the answer sets the cookie: of a host always, because another application of the chain may have this preview."""
    return choice.source is Source.HOST or (known and choice.source in _SETTING)
