"""Who a caller is: asks Kubernetes (TokenReview), and remembers the answer for a moment.

Tokens are neither logged nor kept: what is remembered is found by their hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from controller.admin.limits import Buckets
from controller.admin.locks import Locks
from controller.admin.problems import Refused
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["Authenticator", "Caller"]

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
REMEMBERED_SECONDS = 10.0
"""Seconds for which a token that was accepted is not reviewed again: as long may a deleted one go on working."""
MAX_REMEMBERED = 1000
MAX_TOKEN = 16_384
"""Characters. Tokens of service accounts have about a thousand, those of identity providers with many groups some more."""
MAX_REVIEWS = 8
"""Reviews at once, so that nobody can load the API server through this port."""
FAILURES_PER_SECOND, FAILURE_BURST = 1.0, 20.0
"""Refused tokens from one address."""
REVIEW_SECONDS = 5.0
_TOKEN = re.compile(r"[!-~]+")  # RFC 6750 section 2.1 has fewer characters; some providers use others


class Caller(msgspec.Struct, frozen=True):
    """A user, as Kubernetes knows it (authentication.k8s.io/v1 UserInfo)."""

    username: str = ""
    """Empty in the review of a token that is not accepted."""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = {}


class _Status(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: Caller | None = None
    audiences: tuple[str, ...] = ()


class _Review(msgspec.Struct, frozen=True):
    status: _Status = _Status()


class Authenticator:
    """`audiences`: a token must be for one of them; empty means those of the API server."""

    def __init__(self, api: Api, audiences: Sequence[str]) -> None:
        self._api = api
        self._audiences = tuple(audiences)
        self._clock = asyncio.get_running_loop().time
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._locks = Locks()
        self._reviews = asyncio.Semaphore(MAX_REVIEWS)
        self._failures = Buckets(FAILURES_PER_SECOND, FAILURE_BURST)

    async def caller(self, authorization: Sequence[str], address: str) -> Caller:
        """The user of a request with these Authorization fields. Raises Refused: 401, 429 or 503."""
        token = _token_of(authorization)
        if token is None:
            raise _unauthenticated("a bearer token is needed")
        digest = hashlib.sha256(token.encode()).digest()
        async with self._locks.of(digest.hex()):  # many requests at once with a new token are one review
            if (caller := self._remembered(digest)) is not None:
                return caller
            if (seconds := self._failures.left(address, self._clock())) > 0:
                raise Refused(429, "too-many", "too many refused tokens", headers={"Retry-After": str(int(seconds) + 1)})
            caller = await self._review(token)
            if caller is None:
                self._failures.take(address, self._clock())
                raise _unauthenticated("Kubernetes does not accept the token")
            self._known[digest] = (caller, self._clock() + REMEMBERED_SECONDS)
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
            return caller

    def _remembered(self, digest: bytes) -> Caller | None:
        caller, until = self._known.get(digest, (None, 0.0))
        if caller is not None and self._clock() >= until:
            del self._known[digest]
            return None
        return caller

    async def _review(self, token: str) -> Caller | None:
        spec: dict[str, object] = {"token": token}
        if self._audiences:
            spec["audiences"] = list(self._audiences)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        try:
            async with self._reviews:
                answer = await self._api.request("POST", PATH, body=body, seconds=REVIEW_SECONDS)
            status = msgspec.json.decode(answer, type=_Review).status
        except (ApiError, ValueError) as error:
            # An API server that finds a review invalid may repeat what is in it.
            detail = f"tokens cannot be reviewed now: {str(error).replace(token, '…')}"
            raise Refused(503, "cluster-unavailable", detail, headers={"Retry-After": "2"}) from error
        if not status.authenticated or status.user is None or not status.user.username:
            return None
        # Authenticators that know nothing of audiences return none, and have not checked them.
        if self._audiences and not set(self._audiences) & set(status.audiences):
            return None
        return status.user


def _token_of(authorization: Sequence[str]) -> str | None:
    if len(authorization) != 1:
        return None
    scheme, _, token = authorization[0].partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN or not _TOKEN.fullmatch(token):
        return None
    return token


def _unauthenticated(detail: str) -> Refused:
    return Refused(401, "unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="weir"'})
