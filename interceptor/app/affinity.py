"""Session affinity: which backend a session belongs to. Pure; all interceptors choose the same one without communication.

By cookie: the client sends the name of its backend, a keyed hash that does not reveal the address; the session stays as long as
that backend is ready. By header: sessions are spread over a consistent-hashing ring of all ready backends, so that when backends
come or go only some sessions move.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, Generic, Protocol, TypeVar

from fleet.discovery.sources import Backend
from fleet.routing.cookies import cookie_values
from fleet.routing.route import Affinity
from interceptor.core.messages import Fields, Request

__all__ = ["Sessions"]

NAME_BYTES: Final = 8
"""Bytes of a backend's name: enough that two of a thousand backends do not collide."""
PLACE_NAME_BYTES: Final = 4
"""Bytes of a target's name in that of a cookie, for the few targets of one app."""
PLACES: Final = 64
"""Places of a backend on the ring: the shares of backends then differ by about an eighth."""
_PLACE_BYTES: Final = 8
_DIGEST_BYTES: Final = 64


class HasBackend(Protocol):
    """An object with a backend."""

    backend: Backend


E = TypeVar("E", bound=HasBackend)


class Sessions(Generic[E]):
    """The sessions of one application, created anew with each version of its route."""

    def __init__(self, app: str, affinity: Affinity, key: str, *, place: str = "") -> None:
        """`place` is the target that they are for, where the app has several. Then each has a cookie of its own."""
        self._key = blake2b(key.encode(), digest_size=_DIGEST_BYTES, person=b"weir affinity").digest()
        self._salt = app.encode()
        self._cookie = None if affinity.cookie is None else affinity.cookie.encode()
        if self._cookie is not None and place:
            self._cookie += b"-" + self._digest(b"target", place.encode())[:PLACE_NAME_BYTES].hex().encode()
        self._header = b"" if affinity.header is None else affinity.header.lower().encode()
        self._age = b"" if affinity.max_age is None else b"; Max-Age=%d" % affinity.max_age
        self._known: object = None
        """The list of endpoints from which the following was computed."""
        self._by_name: dict[bytes, E] = {}
        self._ring: list[tuple[int, E]] = []

    @property
    def by_cookie(self) -> bool:
        return self._cookie is not None

    def find(self, head: Request, ready: list[E]) -> E | None:
        """The ready endpoint of the request's session; None for a new session, or if its backend is not ready."""
        if ready is not self._known:
            self._learn(ready)
        if self._cookie is not None:
            return next((self._by_name[value] for value in _cookies(head, self._cookie) if value in self._by_name), None)
        session = next((value for name, value in head.match_fields() if name == self._header), None)
        return self._at(session) if session and self._ring else None

    def has(self, head: Request) -> bool:
        """Whether the client has been given a cookie of this name, for a backend that may be gone."""
        return self._cookie is not None and bool(_cookies(head, self._cookie))

    def position(self, head: Request) -> float | None:
        """Where in a range from 0 to 1 the session of a header is: at every interceptor the same. None without one."""
        session = next((value for name, value in head.match_fields() if name == self._header), None) if self._header else None
        return int.from_bytes(self._digest(b"share", session)[:_PLACE_BYTES]) / (1 << 8 * _PLACE_BYTES) if session else None

    def forgotten(self, head: Request) -> Fields:
        """Fields for a response that take the cookie back from a client that has it."""
        if self._cookie is None or not self.has(head):
            return ()
        return ((b"Set-Cookie", b"%b=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0" % self._cookie),)

    def fields(self, head: Request, backend: Backend) -> Fields:
        """Fields for the response: the cookie, if the client does not have this backend's name yet."""
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
            # If two places are equal, which is very unlikely, every interceptor takes the lower address.
            places = [(place, str(endpoint.backend), endpoint) for endpoint in ready for place in self._places(endpoint.backend)]
            self._ring = [(place, endpoint) for place, _, endpoint in sorted(places, key=lambda each: each[:2])]

    def _at(self, session: bytes) -> E:
        """The endpoint at the first place after the session's own."""
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
    return cookie_values(head.match_fields(), name)
