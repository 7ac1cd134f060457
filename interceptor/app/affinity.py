"""Session affinity: which backend a session belongs to. Pure; every interceptor finds the same one without asking another.

By cookie, the client carries the name of its backend, made with a key so that it says nothing of addresses: the session stays
for as long as that backend is ready, however many come. By header, sessions are spread over a ring of all that are ready: there
is nothing to carry, and when backends come or go only the sessions move whose place on the ring has changed hands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

from fleet.discovery.sources import Backend
from fleet.routing.route import Affinity
from interceptor.core.messages import Fields, Request

__all__ = ["Sessions"]

NAME_BYTES = 8
"""Of a backend's name: two of a thousand backends with one name are not to be expected."""
PLACES = 64
"""Of a backend on the ring: shares differ by about an eighth then."""
_PLACE_BYTES = 8
_DIGEST_BYTES = 64

MAX_COOKIES = 32
"""Of the one name, in one request."""


class HasBackend(Protocol):
    """Something that can be chosen."""

    backend: Backend


E = TypeVar("E", bound=HasBackend)


class Sessions(Generic[E]):
    """The sessions of one application, made anew with each version of its route."""

    def __init__(self, app: str, affinity: Affinity, key: str) -> None:
        self._key = blake2b(key.encode(), digest_size=_DIGEST_BYTES, person=b"weir affinity").digest()
        self._salt = app.encode()
        self._cookie = None if affinity.cookie is None else affinity.cookie.encode()
        self._header = b"" if affinity.header is None else affinity.header.lower().encode()
        self._age = b"" if affinity.max_age is None else b"; Max-Age=%d" % affinity.max_age
        self._known: object = None
        """The list of endpoints that the following was made of."""
        self._by_name: dict[bytes, E] = {}
        self._ring: list[tuple[int, E]] = []

    @property
    def by_cookie(self) -> bool:
        return self._cookie is not None

    def find(self, head: Request, ready: list[E]) -> E | None:
        """The one among the ready endpoints that the request's session belongs to; None for a new session, or a lost one."""
        if ready is not self._known:
            self._learn(ready)
        if self._cookie is not None:
            return next((self._by_name[value] for value in _cookies(head, self._cookie) if value in self._by_name), None)
        session = next((value for name, value in head.match_fields() if name == self._header), None)
        return self._at(session) if session and self._ring else None

    def fields(self, head: Request, backend: Backend) -> Fields:
        """For the answer: the cookie, when the client does not carry this backend's name yet."""
        if self._cookie is None:
            return ()
        name = self._name(backend)
        if name in _cookies(head, self._cookie):
            return ()
        return ((b"Set-Cookie", b"%b=%b; Path=/; HttpOnly; SameSite=Lax%b" % (self._cookie, name, self._age)),)

    def _learn(self, ready: list[E]) -> None:
        self._known = ready
        if self._cookie is not None:
            self._by_name = {self._name(endpoint.backend): endpoint for endpoint in ready}
        else:
            # Ties, which are as good as impossible, go to the lower address everywhere.
            places = [(place, str(endpoint.backend), endpoint) for endpoint in ready for place in self._places(endpoint.backend)]
            self._ring = [(place, endpoint) for place, _, endpoint in sorted(places, key=lambda each: each[:2])]

    def _at(self, session: bytes) -> E:
        """Who holds the first place after the session's own."""
        place = int.from_bytes(self._digest(b"session", session)[:_PLACE_BYTES])
        index = bisect_right(self._ring, place, key=_place)
        return self._ring[index % len(self._ring)][1]

    def _places(self, backend: Backend) -> Iterator[int]:
        address = _address(backend)
        for turn in range(PLACES * _PLACE_BYTES // _DIGEST_BYTES):
            digest = self._digest(b"place %d" % turn, address)
            for at in range(0, _DIGEST_BYTES, _PLACE_BYTES):
                yield int.from_bytes(digest[at : at + _PLACE_BYTES])

    def _name(self, backend: Backend) -> bytes:
        return self._digest(b"name", _address(backend))[:NAME_BYTES].hex().encode()

    def _digest(self, purpose: bytes, value: bytes) -> bytes:
        digest = blake2b(purpose + b"\0" + self._salt + b"\0", key=self._key, digest_size=_DIGEST_BYTES)
        digest.update(value)
        return digest.digest()


def _address(backend: Backend) -> bytes:
    return f"{backend.host} {backend.port}".encode()


def _place(entry: tuple[int, object]) -> int:
    return entry[0]


def _cookies(head: Request, name: bytes) -> list[bytes]:
    """Every value of a cookie: a client may carry several of one name, for several paths.

    Values of ours have no blanks, so that those around pairs need not be told from others; a client's 30,000 other pairs are
    passed over in one go.
    """
    fields = [value.translate(None, b" \t") for field, value in head.match_fields() if field == b"cookie"]
    found = (b";" + b";".join(fields)).split(b";" + name + b"=", MAX_COOKIES)[1:]
    return [value.partition(b";")[0].strip(b'"') for value in found]
