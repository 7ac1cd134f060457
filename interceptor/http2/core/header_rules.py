"""Validates field lists of requests, responses and trailers (RFC 9113 8.2, 8.3, 8.5; RFC 8441). Pure.

A list that breaks a rule is malformed, which is a stream error. Names and values must follow RFC 9110 5.5 and 5.6.2, which is
stricter than 8.2.1, because the message may be encoded as HTTP/1 later.
"""

from __future__ import annotations

import re
from typing import Final

from interceptor.core.messages import Field, Fields, may_trail
from interceptor.core.sizes import MAX_LENGTH_DIGITS

__all__ = ["MAX_REMEMBERED", "NO_FIELDS", "NO_LENGTH", "NO_NAMES", "Head", "Malformed", "Rules"]

NO_LENGTH: Final = -1
NO_NAMES: Final[frozenset[bytes]] = frozenset()
NO_FIELDS: Final[Fields] = ()

MAX_REMEMBERED: Final = 256
"""Cached fields of one connection that were found valid; when the cache is full, it is cleared."""
MAX_REMEMBERED_VALUE: Final = 256
"""Maximum bytes of a cached value. Longer values are seldom repeated."""

# Kinds of fields. Up to STATUS they are pseudo-fields.
METHOD: Final = 1
SCHEME: Final = 2
AUTHORITY: Final = 3
PATH: Final = 4
PROTOCOL: Final = 5
STATUS: Final = 6
PLAIN: Final = 7
COOKIE: Final = 8
HOST: Final = 9
LENGTH: Final = 10
KINDS: Final = 11

_PSEUDO: Final = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":path": PATH,
    b":protocol": PROTOCOL,
    b":status": STATUS,
}
_KINDS: Final = {b"cookie": COOKIE, b"host": HOST, b"content-length": LENGTH}
_OF_CONNECTION: Final = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Connection-specific fields of HTTP/1, which are forbidden (8.2.2)."""

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_NOT_IN_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*").fullmatch
_AUTHORITY: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]*)(?::[0-9]*)?").fullmatch
"""Host and port, without user information (8.3.1)."""
_PATH: Final = re.compile(rb"/[!-\"$-~]*").fullmatch
"""Visible ASCII without a fragment."""
_BLANKS: Final = b" \t"


class Malformed(Exception):
    """The list is not a valid message: stream error PROTOCOL_ERROR (8.1.1)."""


class Head:
    """The fields of a request or a response. The same object is returned again if the same bytes are received again, so it must
    not be changed, except `memo`."""

    __slots__ = ("authority", "fields", "length", "memo", "method", "never", "path", "protocol", "scheme", "status", "too_large")

    def __init__(self, fields: Fields, never: frozenset[bytes]) -> None:
        self.fields = fields
        """All fields in their order, pseudo-fields first; the parts of a cookie are joined into one field."""
        self.never = never
        """Names of fields that must never be indexed by an intermediary (RFC 7541 6.2.3)."""
        self.method = self.scheme = self.authority = self.path = self.protocol = b""
        """Of a request. Without :authority, the authority is the Host field's; it may be missing."""
        self.status = 0
        """Of a response."""
        self.length = NO_LENGTH
        """The content-length, if there is one."""
        self.too_large = False
        """Whether fields are missing because there were too many: the only valid answer is 431."""
        self.memo: object = None
        """A result of the user, cached together with the head."""


class Rules:
    """The validator of one connection. Caches the fields that it has checked."""

    __slots__ = ("_kinds", "_names")

    def __init__(self) -> None:
        self._kinds: dict[Field, int] = {}
        self._names: set[bytes] = set()
        """Valid names of fields without rules of their own."""

    def request(self, fields: list[Field], never: frozenset[bytes], *, connect: bool, too_large: bool) -> Head:
        """Validate a request. Raises Malformed. `connect`: whether extended CONNECT is allowed."""
        head = Head(NO_FIELDS, never)
        head.fields = self._gather(head, fields, response=False)
        head.too_large = too_large
        method, path = head.method, head.path
        if too_large:
            return head
        if not method:
            raise Malformed("no :method")
        if method == b"CONNECT":
            _check_connect(head, connect=connect)
        elif head.protocol:
            raise Malformed(":protocol without CONNECT")
        elif not head.scheme:
            raise Malformed("no :scheme")
        elif not path:
            raise Malformed("no :path")
        elif path == b"*" and method != b"OPTIONS":
            raise Malformed(":path is no path")
        return head

    def response(self, fields: list[Field], never: frozenset[bytes]) -> Head:
        """Validate a response. Raises Malformed."""
        head = Head(NO_FIELDS, never)
        head.fields = self._gather(head, fields, response=True)
        if not head.status:
            raise Malformed("no :status")
        return head

    def trailers(self, fields: list[Field]) -> Fields:
        """Validate trailers: no pseudo-fields and no fields that frame the message (8.1; RFC 9110 6.5.1). Returns those that may
        be passed on. Raises Malformed."""
        known = self._kinds
        for field in fields:
            kind = known.get(field) or self._judge(field)
            if kind < PLAIN:
                raise Malformed("a pseudo-field in trailers")
            if kind > COOKIE:
                raise Malformed("a field in trailers that belongs into the head")
        return tuple(field for field in fields if may_trail(field[0]))

    def _gather(self, head: Head, fields: list[Field], *, response: bool) -> Fields:
        """Set the attributes of the head. Returns its fields."""
        known = self._kinds
        values: list[bytes | None] = [None] * KINDS
        regular = False
        for field in fields:
            kind = known.get(field)
            if kind is None:
                kind = self._judge(field)
            if kind >= PLAIN:
                regular = True
                if kind == PLAIN:
                    continue
            elif regular or (kind == STATUS) != response:
                raise Malformed("a pseudo-field after others, or of the other direction")
            if values[kind] is not None and kind != COOKIE:
                raise Malformed("a field twice that may stand there once")
            values[kind] = field[1]
        _fill(head, values)
        if values[COOKIE] is not None or values[HOST] is not None:
            return _finish(head, fields)
        return tuple(fields)

    def _judge(self, field: Field) -> int:
        """Validate a field. Returns its kind. Raises Malformed."""
        name, value = field
        if name[:1] == b":":
            kind = _PSEUDO.get(name, 0)
            if not kind:
                raise Malformed("a pseudo-field that there is not")
            _check_pseudo(kind, value)
        elif name in self._names:
            _check_value(value)
            kind = PLAIN
        else:
            kind = _judge_regular(name, value)
            if kind == PLAIN and name != b"te" and len(self._names) < MAX_REMEMBERED:
                self._names.add(name)
        if len(value) <= MAX_REMEMBERED_VALUE:
            if len(self._kinds) >= MAX_REMEMBERED:
                self._kinds.clear()
            self._kinds[field] = kind
        return kind


def _check_value(value: bytes) -> None:
    """Raises Malformed."""
    if _NOT_IN_VALUE(value) or (value and (value[0] in _BLANKS or value[-1] in _BLANKS)):
        raise Malformed("a field value with characters that it cannot have")


def _judge_regular(name: bytes, value: bytes) -> int:
    if not _NAME(name):
        raise Malformed("a field name that is no token of lower case")
    _check_value(value)
    if name in _OF_CONNECTION:
        raise Malformed("a field of a connection of HTTP/1")
    if name == b"te" and value.lower() != b"trailers":
        raise Malformed("TE with another value than trailers")
    kind = _KINDS.get(name, PLAIN)
    if kind == LENGTH and not (value.isdigit() and len(value) <= MAX_LENGTH_DIGITS):
        raise Malformed("a content-length that is no number")
    if kind == HOST and not _AUTHORITY(value):
        raise Malformed("the Host field is no host")
    return kind


def _check_pseudo(kind: int, value: bytes) -> None:
    """Raises Malformed."""
    if kind in (METHOD, PROTOCOL):
        good = bool(_TOKEN(value))
    elif kind == PATH:
        good = bool(_PATH(value)) or value == b"*"
    elif kind == SCHEME:
        good = bool(_SCHEME(value))
    elif kind == AUTHORITY:
        good = bool(_AUTHORITY(value))
    else:
        good = len(value) == 3 and value.isdigit() and value[:1] in (b"1", b"2", b"3", b"4", b"5")
    if not good:
        raise Malformed("a pseudo-field with a value that it cannot have")


def _fill(head: Head, values: list[bytes | None]) -> None:
    head.method = values[METHOD] or b""
    head.scheme = values[SCHEME] or b""
    head.authority = values[AUTHORITY] or b""
    head.path = values[PATH] or b""
    head.protocol = values[PROTOCOL] or b""
    status, length = values[STATUS], values[LENGTH]
    if status is not None:
        head.status = int(status)
    if length is not None:
        head.length = int(length)


def _check_connect(head: Head, *, connect: bool) -> None:
    """Raises Malformed (8.5; RFC 8441 4)."""
    if head.length != NO_LENGTH:
        raise Malformed("CONNECT with a content-length")
    if not head.authority:
        raise Malformed("CONNECT without :authority")
    if not head.protocol:
        if head.scheme or head.path:
            raise Malformed("CONNECT with :scheme or :path")
    elif not connect:
        raise Malformed(":protocol, which is not offered")
    elif not head.scheme or not head.path:
        raise Malformed("extended CONNECT without :scheme or :path")


def _finish(head: Head, fields: list[Field]) -> Fields:
    """Join the parts of a cookie (8.2.3), and use the Host field as the authority if there is no :authority (8.3.1)."""
    crumbs: list[bytes] = []
    rest: list[Field] = []
    at = 0
    for field in fields:
        name, value = field
        if name == b"cookie":
            if not crumbs:
                at = len(rest)
            crumbs.append(value)
            continue
        if name == b"host" and not head.status:
            if not head.authority:
                head.authority = value
            elif value.lower() != head.authority.lower():
                raise Malformed("Host differs from :authority")
        rest.append(field)
    if crumbs:
        rest.insert(at, (b"cookie", b"; ".join(crumbs)))
    return tuple(rest)
