"""Requests and responses as values, in the terms of RFC 9110. Each codec adds version-specific data in a subclass.

A codec may keep a message in its original bytes and pass it on without parsing each field, so fields are computed only when they
are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Final, Protocol, Self

import msgspec

from fleet.routing.context import Marks
from fleet.routing.match import METHOD

__all__ = [
    "BODILESS",
    "CONNECTION_SCHEMES",
    "CONTINUE",
    "HTTP",
    "HTTPS",
    "IDEMPOTENT",
    "NOT_IN_TRAILERS",
    "NO_BODY",
    "OTHER_FORWARDING_FIELDS",
    "REQUEST_TIMEOUT",
    "SWITCHING_PROTOCOLS",
    "BodyReader",
    "Encoded",
    "Field",
    "FieldEdit",
    "Fields",
    "Request",
    "RequestEdit",
    "Response",
    "may_trail",
]

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})
"""Idempotent methods: sending a request twice has the same effect as sending it once (RFC 9110 9.2.2)."""
CONTINUE: Final = 100
SWITCHING_PROTOCOLS: Final = 101
REQUEST_TIMEOUT: Final = 408
BODILESS: Final = frozenset({204, 304})
"""Final statuses of responses that end with their head (RFC 9110 15.3.5, 15.4.5)."""
NO_BODY: Final = 0
HTTP: Final = b"http"
HTTPS: Final = b"https"
"""Schemes of requests."""

Field = tuple[bytes, bytes]
"""Name and value."""
Fields = tuple[Field, ...]
"""Fields to add to a message. Codecs may cache their encoding by value, so there should be few different ones."""

CONNECTION_SCHEMES: Final = ("ntlm", "negotiate", "nego2", "kerberos")
"""Authentication schemes by which a server may authenticate the connection as a whole, not each request."""
OTHER_FORWARDING_FIELDS: Final = (
    "forwarded",
    "x-envoy-original-path",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-real-ip",
)
"""Names of fields, besides X-Forwarded-For, -Proto and -Host, in which proxies describe the client and what it asked for."""
NOT_IN_TRAILERS: Final = frozenset(
    (
        *b"transfer-encoding content-length content-encoding content-type content-range trailer host connection te upgrade "
        b"expect authorization cookie set-cookie cache-control keep-alive proxy-authorization max-forwards proxy-connection "
        b"http2-settings x-forwarded-for x-forwarded-host x-forwarded-proto www-authenticate x-keda-http-cold-start "
        b"weir-keep-awake".split(),
        *(name.encode() for name in OTHER_FORWARDING_FIELDS),
    )
)
"""Lower-case names. Fields that frame, route or authorise a message mean nothing after it (RFC 9110 6.5.1), and a backend that
merges trailers into the fields of the head must not get in this way what a client may not send there. Codecs drop them as
they read."""


def may_trail(name: bytes) -> bool:
    """Whether a field may follow a body. An underscore is read as a hyphen, as backends do that make variables of names."""
    return name.lower().replace(b"_", b"-") not in NOT_IN_TRAILERS


class BodyReader(Protocol):
    """Takes the content of a body out of its framing."""

    trailers: list[Field]
    """Those that came so far, and may go on."""

    @property
    def behind(self) -> bool:
        """Whether bytes are here that one call did not read: call `feed` again, without more."""

    def feed(self, data: bytes = b"") -> bytes:
        """Read on; returns content."""


class FieldEdit(msgspec.Struct, frozen=True, gc=False):
    """What a route changes about the fields of a message: some are dropped, then some are added."""

    dropped: frozenset[bytes] = frozenset()
    """Names in lower case. A hyphen also matches an underscore: backends that make variables of names do not distinguish them."""
    added: Fields = ()

    def __bool__(self) -> bool:
        return bool(self.dropped or self.added)

    def drops(self, name: bytes) -> bool:
        return name.lower().replace(b"_", b"-") in self.dropped

    def applied(self, fields: Iterable[Field]) -> list[Field]:
        """Fields with names in lower case, changed."""
        kept = [field for field in fields if not self.drops(field[0])] if self.dropped else [*fields]
        return [*kept, *((name.lower(), value) for name, value in self.added)]


class RequestEdit(FieldEdit, frozen=True, gc=False, kw_only=True):
    """What a route changes about a request on its way to a backend."""

    target: bytes
    """The whole target, with its query."""


class Encoded:
    """The last encoding of a head that comes again and again, by another codec, and what it depends on beside the head."""

    __slots__ = ("depends", "wire")

    def __init__(self) -> None:
        self.depends: tuple[bytes, bool, int | None] | None = None
        """The client's address, whether it is trusted, and the length of a body that was received completely."""
        self.wire = b""


class Request(msgspec.Struct, gc=False, eq=False):
    """A request without its body."""

    method: bytes
    target: bytes
    """The request target as received; of an absolute URL only path and query."""
    path: bytes
    """The target without its query."""
    host: bytes
    """The authority (Host); empty only if the version of HTTP permits that."""
    length: int = NO_BODY
    """Length of the body in bytes; NO_BODY, or below 0 if only its end shows it."""
    upgrade: bytes | None = None
    """The protocols to which the client asks to upgrade."""
    expects_continue: bool = False
    personal: bool = False
    """Whether it authenticates its connection as a whole (NTLM, Negotiate), so that no other client may use that connection."""
    timeout: float | None = None
    """Seconds that the client gives the exchange as a whole (grpc-timeout)."""
    elapsed: float = 0.0
    """Seconds of the timeout that have passed when the request is sent: the backend gets the remaining ones."""
    scheme: bytes = HTTP
    """By which the client came to this process: HTTP or HTTPS."""
    base_host: bytes = b""
    """Of a request for the host of a preview: the host of its base, by which rules and static routes are found."""
    encoded: Encoded | None = None
    """Where another codec keeps what it makes of the head, if the same head comes again."""

    @property
    def idempotent(self) -> bool:
        return self.method in IDEMPOTENT

    @property
    def size(self) -> int:
        """Bytes kept in memory for it while it is held."""
        raise NotImplementedError

    @property
    def is_for_another(self) -> bool:
        """Whether it says that it was forwarded: then requests of several clients may come on one connection."""
        raise NotImplementedError

    def match_fields(self) -> list[Field]:
        """All fields, with names in lower case."""
        raise NotImplementedError

    def may_have(self, marks: Marks) -> bool:
        """Whether a field that `marks` names may be there, or its text in a cookie. A codec that cannot tell at little cost says
        that it may."""
        return True

    def fields(self, peer: bytes, *, trusted: bool) -> Sequence[Field]:
        """The fields for a backend that another codec speaks to, with names in lower case: Content-Length if the request has one,
        and the fields that tell of the client at `peer` (and of those before it, if `peer` is `trusted`). Without Host, Expect
        and the fields that concern one connection only."""
        raise NotImplementedError

    def edited(self, edit: RequestEdit) -> Request:
        """The request as it goes to a backend, in the form of the same codec. The request itself stays as it came."""
        raise NotImplementedError

    def at_base(self, host: bytes) -> Self:
        """The same for the base of a preview. The request itself stays as it is: a codec may keep it with its head."""
        request = copy(self)
        request.base_host = host
        return request

    def body_reader(self) -> BodyReader | None:
        """For another codec: a reader that removes the framing of the body; None if the body has none."""
        return None

    def routing_fields(self, *, headers: bool, method: bool) -> list[Field]:
        """The fields that a routing table needs beside host and path."""
        fields = self.match_fields() if headers else []
        if method:
            fields.append((METHOD, self.method))
        return fields


class Response(msgspec.Struct, gc=False, eq=False):
    """A response without its body."""

    status: int
    length: int
    """Length of the body in bytes; NO_BODY, or below 0 if only its end shows it."""
    keep_alive: bool = True
    """Whether the backend accepts further requests on this connection."""
    upgrade: bytes | None = None
    """The protocol to which the backend switches (101), or asks the client to switch (426)."""
    personal: bool = False
    """Whether it authenticates its connection as a whole, so that no other client may use that connection."""
    keep_awake: float | None = None
    """Seconds for which the backend says that it goes on working, as `interceptor.core.keep_awake` reads them."""
    composed: tuple[Fields, bytes, Fields] | None = None
    """Where another codec keeps its whole head for the next response that is this object, after what that depends on: the fields
    that were added, and the current time as a Date, empty if the response has one of its own."""

    def fields(self) -> Sequence[Field]:
        """The fields for a client that another codec speaks to, with names in lower case: Content-Length if the response has one,
        and without the fields that concern one connection only."""
        raise NotImplementedError

    def edited(self, edit: FieldEdit) -> Response:
        """The response as it goes to the client, in the form of the same codec."""
        raise NotImplementedError
