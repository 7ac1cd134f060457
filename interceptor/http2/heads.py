"""Heads of HTTP/2 as the requests and responses of exchanges. Pure, but for the random key of a WebSocket.

The core has checked names and values (`interceptor.http2.core.header_rules`). The rules here are those of a proxy: which fields
are forwarded, and what they tell of the client. They are the same as for HTTP/1 (`interceptor.http1.request`).
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from secrets import token_bytes
from typing import Final

import msgspec

from fleet.routing.context import Marks
from interceptor.core.errors import BadRequest
from interceptor.core.grpc import GRPC, NO_CALL, kind_of, read_timeout, timeout_left
from interceptor.core.keep_awake import KEEP_AWAKE, read_keep_awake
from interceptor.core.messages import (
    BODILESS,
    CONNECTION_SCHEMES,
    HTTP,
    NO_BODY,
    OTHER_FORWARDING_FIELDS,
    Encoded,
    Field,
    FieldEdit,
    Fields,
    Request,
    RequestEdit,
    Response,
)
from interceptor.core.replies import Reply
from interceptor.core.sizes import MAX_TARGET_BYTES
from interceptor.http2.core.block_reader import DEADLINE
from interceptor.http2.core.header_rules import NO_FIELDS, Head
from interceptor.http2.websocket import ACCEPT, KEY, WEBSOCKET

__all__ = [
    "UNKNOWN",
    "ProbeRequest",
    "StreamRequest",
    "StreamResponse",
    "final_reply",
    "read_kind",
    "read_request",
    "read_response",
]

UNKNOWN: Final = -1
"""Length of a body that only its end tells."""

_X_FORWARDED_NAMES: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_FORWARDING_NAMES: Final = _X_FORWARDED_NAMES | {name.encode() for name in OTHER_FORWARDING_FIELDS}
_NOT_FORWARDED: Final = frozenset({b"host", b"expect", b"http2-settings", b"proxy-authorization"})
_SPECIAL: Final = _FORWARDING_NAMES | _NOT_FORWARDED | frozenset(
    b"content-length connection transfer-encoding upgrade te keep-alive proxy-connection max-forwards".split()
)  # fmt: skip
"""A backend that makes variables of names, as CGI, WSGI and PHP do, takes X_Forwarded_For for X-Forwarded-For: such a look-alike
of one of these is not forwarded."""
_NOT_FOR_CLIENTS: Final = frozenset({b"proxy-authenticate", b"x-keda-http-cold-start", KEEP_AWAKE, b"host"})
"""Of responses: the first concerns the connection, the second is the interceptor's to say, the third is for the interceptor, and
the last means nothing there; HTTP/1 is not sent one."""
_NOT_WITHOUT_CONTENT: Final = _NOT_FOR_CLIENTS | {b"content-length"}
"""The same of 204 and of interim responses, which must not have a length (RFC 9110 8.6)."""
_WEBSOCKET_NAMES: Final = frozenset({ACCEPT, KEY})
_SCHEMES: Final = frozenset(name.encode() for name in CONNECTION_SCHEMES)
CONNECT: Final = b"CONNECT"
_COUNTED: Final = frozenset({b"TRACE", b"OPTIONS"})
"""Methods to which Max-Forwards applies."""
_SECRETS: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"host"})
"""Not to be sent back, and the host, which is said once."""
MAX_HOPS_DIGITS: Final = 18


class _Known:
    """What was found in a head. It is kept with the head, because the same head comes again and again."""

    __slots__ = (
        "all",
        "expects",
        "fields",
        "hops",
        "kind",
        "lasting",
        "peer",
        "personal",
        "scheme",
        "stream",
        "timeout",
        "trusted",
        "via",
    )

    def __init__(self, fields: Fields) -> None:
        self.all = fields
        """As they were received."""
        self.kind = NO_CALL
        self.timeout: float | None = None
        """A deadline of gRPC, in seconds."""
        self.expects = self.personal = False
        self.hops = b""
        """Max-Forwards, if there is one."""
        self.peer = self.scheme = b""
        self.trusted = False
        self.fields: Fields | None = None
        """Those that are forwarded for this peer."""
        self.via = b""
        self.stream: Fields | None = None
        """The same with the pseudo-fields of a stream of this scheme."""
        timeout = b""
        for name, value in fields:
            if name == b"content-type":
                self.kind = self.kind or kind_of(value)
            elif name == DEADLINE:
                timeout = value
            elif name == b"max-forwards":
                self.hops = self.hops or value
            elif name == b"expect":
                self.expects = self.expects or value.lower() == b"100-continue"
            elif name == b"authorization":
                self.personal = self.personal or value.split(b" ", 1)[0].lower() in _SCHEMES
        if timeout and self.kind:
            self.timeout = read_timeout(timeout)
        self.lasting = not self.hops and self.timeout is None
        """Whether a request with this head is encoded the same each time."""


class _Memory:
    """What is kept with the head of requests. They do not refer to it, nor to the head, so that they are in no cycle."""

    __slots__ = ("begun", "known", "whole")

    def __init__(self, fields: Fields) -> None:
        self.known = _Known(fields)
        self.whole: StreamRequest | None = None
        """The request without a body, if it is the same each time. Then nothing of it changes."""
        self.begun: StreamRequest | None = None
        """The same with a body."""


class StreamRequest(Request, gc=False, eq=False):
    """A request that came by a stream."""

    known: _Known = _Known(NO_FIELDS)
    lasting: bool = False
    """Whether its fields for a stream are the same each time."""
    kind: int = NO_CALL
    """Which kind of call of gRPC it is."""
    hops: int | None = None
    """How often the request may still be forwarded, if it has Max-Forwards (RFC 9110 7.6.2); 0 if the proxy must answer it."""
    deadline: bytes = b""
    """The value of grpc-timeout, if it is not among the fields of the head."""

    @property
    def size(self) -> int:
        """Bytes of the fields, about."""
        return sum(len(name) + len(value) for name, value in self.known.all)

    @property
    def is_for_another(self) -> bool:
        return any(name in (b"x-forwarded-for", b"forwarded") for name, _ in self.known.all)

    def match_fields(self) -> list[Field]:
        timed = [(DEADLINE, self.deadline)] if self.deadline else []
        return [(b"host", self.host), *_regular(self.known.all), *timed]

    def may_have(self, marks: Marks) -> bool:
        names, cookie = marks.names, marks.cookie
        for name, value in self.known.all:  # noqa: SIM110 -- a generator takes twice as long
            if name in names or (cookie and name == b"cookie" and cookie in value):
                return True
        return False

    def fields(self, peer: bytes, *, trusted: bool) -> Sequence[Field]:
        return self.forwarded(peer, trusted=trusted)

    def forwarded(self, peer: bytes, *, trusted: bool) -> Fields:
        """The regular fields for a backend."""
        fields = self._lasting(peer, trusted=trusted)
        if self.upgrade == WEBSOCKET:
            fields = (*(field for field in fields if field[0] not in _WEBSOCKET_NAMES), (KEY, _websocket_key()))
        elif self.hops is not None:
            left = (b"max-forwards", b"%d" % (self.hops - 1))
            fields = (*(field for field in fields if field[0] != b"max-forwards"), left)
        elif self.elapsed and self.timeout is not None and not self.deadline:
            fields = tuple((name, timeout_left(self, value) if name == DEADLINE else value) for name, value in fields)
        return (*fields, (DEADLINE, timeout_left(self, self.deadline))) if self.deadline else fields

    def _lasting(self, peer: bytes, *, trusted: bool) -> Fields:
        """Those that are the same each time: they are made once for a head that comes again and again."""
        known = self.known
        fields = known.fields
        if fields is None or known.peer != peer or known.trusted != trusted or known.scheme is not self.scheme:
            fields = known.fields = _forwarded(self, peer, trusted=trusted)
            known.peer, known.trusted, known.scheme, known.stream = peer, trusted, self.scheme, None
        return fields

    def for_stream(self, via: bytes, peer: bytes, *, trusted: bool) -> tuple[Fields, bytes] | None:
        """All fields of a stream to a backend by the scheme `via`, and the deadline that is not among them. None if they are not
        the same each time."""
        if not self.lasting or (self.elapsed and self.timeout is not None and not self.deadline):
            return None
        known = self.known
        fields = known.stream
        if (
            fields is None
            or known.via is not via
            or known.peer != peer
            or known.trusted != trusted
            or known.scheme is not self.scheme
        ):
            regular = self._lasting(peer, trusted=trusted)
            pseudo = ((b":method", self.method), (b":scheme", via), (b":path", self.target), (b":authority", self.host))
            fields = known.stream = (*pseudo, *regular)
            known.via = via
        return fields, timeout_left(self, self.deadline) if self.deadline else b""

    def edited(self, edit: RequestEdit) -> EditedRequest:
        given = {name: getattr(self, name) for name in _COPIED}
        return EditedRequest(**given | {"target": edit.target, "encoded": None}, edit=edit)


class EditedRequest(StreamRequest, gc=False, eq=False):
    """The same after the changes of its route, for the backend."""

    edit: RequestEdit = RequestEdit(target=b"")

    def forwarded(self, peer: bytes, *, trusted: bool) -> Fields:
        return tuple(self.edit.applied(super().forwarded(peer, trusted=trusted)))

    def for_stream(self, via: bytes, peer: bytes, *, trusted: bool) -> None:
        return None


_COPIED: Final = StreamRequest.__struct_fields__


class StreamResponse(Response, gc=False, eq=False):
    """A response that came by a stream. It is kept with its head, for the next one with the same head."""

    kept: Fields = ()
    """The fields that are forwarded."""
    edit: FieldEdit | None = None

    def fields(self) -> Sequence[Field]:
        return self.kept if self.edit is None else self.edit.applied(self.kept)

    def edited(self, edit: FieldEdit) -> StreamResponse:
        return msgspec.structs.replace(self, edit=edit, composed=None)


class ProbeRequest(Request, gc=False, eq=False):
    """A GET of this process, which has no client."""

    @property
    def size(self) -> int:
        return 0

    def fields(self, peer: bytes, *, trusted: bool) -> list[Field]:
        return [(b"user-agent", b"weir-probe"), (b"accept", b"*/*")]


def read_request(head: Head, *, end: bool, scheme: bytes = HTTP, deadline: bytes = b"") -> StreamRequest:
    """`scheme` is that of the connection, and `deadline` the value of a grpc-timeout that is not among the fields of the head.
    Raises BadRequest, for what HTTP/1 refuses, too: 400, 414, 431, 501."""
    memory, same = head.memo, None
    if isinstance(memory, _Memory):
        same = memory.whole if end else memory.begun
    if same is None or same.scheme is not scheme:
        same = _read_request(head, end=end, scheme=scheme)
    if not deadline:
        return same
    timeout = read_timeout(deadline) if same.kind else same.timeout
    return msgspec.structs.replace(same, deadline=deadline, timeout=timeout, encoded=None)


def _read_request(head: Head, *, end: bool, scheme: bytes) -> StreamRequest:
    """The same without a deadline that is not among the fields."""
    without_body = end
    if head.too_large:
        raise BadRequest("too many or too large header fields", status=431, reason="too_large")
    method, upgrade, length = head.method, None, head.length
    if method == CONNECT:
        if not head.protocol:
            raise BadRequest("CONNECT is not for a reverse proxy", status=501, reason="method")
        method, upgrade, end = b"GET", head.protocol, True  # what follows is the other protocol's, once the backend has agreed
    host, target = head.authority, head.path
    if not host or host[:1] == b":":
        raise BadRequest("a request needs a host", reason="host")
    if len(target) > MAX_TARGET_BYTES:
        raise BadRequest(f"a request target of more than {MAX_TARGET_BYTES} bytes", status=414, reason="too_large")
    path = target.partition(b"?")[0]
    length = NO_BODY if end else UNKNOWN if length < 0 else length
    memory = _memory(head)
    known = memory.known
    expects = known.expects and length != NO_BODY
    hops = _hops(method, known.hops) if known.hops else None
    request = StreamRequest(
        method,
        target,
        path,
        host,
        length,
        expects_continue=expects,
        upgrade=upgrade,
        personal=known.personal,
        timeout=known.timeout,
        scheme=scheme,
        known=known,
        lasting=upgrade is None and hops is None and not expects and known.kind <= GRPC,
        kind=known.kind,
        hops=hops,
        encoded=Encoded() if known.lasting and upgrade is None and not expects else None,
    )
    if request.encoded is not None:
        if without_body:
            memory.whole = request
        else:
            memory.begun = request
    return request


def read_response(head: Head, method: bytes, *, end: bool) -> StreamResponse:
    """One head, of a request with this method."""
    response = head.memo
    if not isinstance(response, StreamResponse):
        response = head.memo = _read_response(head)
    if (end and response.length < 0 and method != b"HEAD") or (method == b"HEAD" and response.length > 0):
        return msgspec.structs.replace(response, length=NO_BODY)
    return response


def _read_response(head: Head) -> StreamResponse:
    """A response with a body, unless its status has none."""
    bodiless = head.status in BODILESS or head.status < 200
    said = [value for name, value in head.fields if name == KEEP_AWAKE]
    left_out = _NOT_FOR_CLIENTS if head.status >= 200 and head.status != 204 else _NOT_WITHOUT_CONTENT
    return StreamResponse(
        head.status,
        NO_BODY if bodiless else head.length if head.length >= 0 else UNKNOWN,
        keep_awake=read_keep_awake(said) if said else None,
        kept=tuple(field for field in _regular(head.fields) if field[0] not in left_out),
    )


def final_reply(head: StreamRequest) -> Reply:
    """The reply to TRACE or OPTIONS with Max-Forwards 0 (RFC 9110 7.6.2, 9.3.7, 9.3.8)."""
    if head.method != b"TRACE":
        return Reply(200, ())
    shown = [field for field in head.match_fields()[1:] if field[0] not in _SECRETS]
    lines = [b"TRACE %b HTTP/2" % head.target, *(b"%b: %b" % field for field in ((b"host", head.host), *shown)), b"", b""]
    return Reply(200, ((b"content-type", b"message/http"),), b"\r\n".join(lines))


def _hops(method: bytes, value: bytes) -> int | None:
    counts = method in _COUNTED and value.isdigit() and len(value) <= MAX_HOPS_DIGITS
    return int(value) if counts else None


def read_kind(head: Head) -> int:
    """Which kind of call of gRPC a request is, also one that is refused."""
    return _memory(head).known.kind


def _memory(head: Head) -> _Memory:
    memory = head.memo
    if not isinstance(memory, _Memory):
        memory = head.memo = _Memory(head.fields)
    return memory


def _websocket_key() -> bytes:
    """Which HTTP/2 does without, and HTTP/1 does not (RFC 6455 4.1)."""
    return b2a_base64(token_bytes(16), newline=False)


def _regular(fields: Iterable[Field]) -> list[Field]:
    return [field for field in fields if field[0][:1] != b":"]


def _forwarded(request: StreamRequest, peer: bytes, *, trusted: bool) -> Fields:
    kept: list[Field] = []
    received: dict[bytes, list[bytes]] = {}
    for field in request.known.all:
        name = field[0]
        if name[:1] == b":" or name in _NOT_FORWARDED:
            continue
        if name in _FORWARDING_NAMES:
            if trusted:
                received.setdefault(name, []).append(field[1])
        elif b"_" not in name or name.replace(b"_", b"-") not in _SPECIAL:
            kept.append(field)
    clients = [value for value in received.get(b"x-forwarded-for", ()) if value]
    kept.append((b"x-forwarded-for", b", ".join([*clients, peer])))
    kept.append((b"x-forwarded-proto", next(filter(None, received.get(b"x-forwarded-proto", ())), request.scheme)))
    kept.append((b"x-forwarded-host", next(filter(None, received.get(b"x-forwarded-host", ())), request.host)))
    kept += [(name, value) for name, values in received.items() if name not in _X_FORWARDED_NAMES for value in values]
    return tuple(kept)
