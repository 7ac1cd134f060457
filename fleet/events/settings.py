"""Settings of events, for every component that sends them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from fleet.runtime.settings import ComponentSettings

__all__ = ["EventSettings"]

_HOST: Final = re.compile(r"[^\s\x00-\x1f\x7f/?#@\\]+")
_TOKEN: Final = re.compile(r"[!-~]+")
_REFERENCE: Final = re.compile(r"([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")  # RFC 3986, characters only


class EventSettings(ComponentSettings):
    """Read once at the start."""

    secrets: ClassVar[frozenset[str]] = frozenset(("events_webhook", "events_token", "events_signing_key", "events_redis"))

    events_webhook: str = Field(
        "", description="URL to which events about applications are sent (docs/events.md); empty for none."
    )
    events_format: Literal["binary", "structured"] = Field(
        "binary", description="Content mode of CloudEvents: binary or structured."
    )
    events_token: str = Field("", description="Bearer token for the webhook.")
    events_signing_key: str = Field("", description="Key of the signature of what is sent to the webhook; unsigned without one.")
    events_ca: str = Field("", description="CA file for the webhook's certificate; the system's roots without it.")
    events_redis: str = Field("", description="URL of a Redis for events: redis://, or rediss:// for TLS; empty for none.")
    events_stream: str = Field("weir-events", min_length=1, description="Key of the stream in Redis.")
    events_stream_length: int = Field(10_000, ge=1, description="About how many entries the stream keeps.")
    events_source: str = Field(
        "weir", min_length=1, max_length=200, description="Source of events: a URI reference for this installation."
    )

    @field_validator("events_webhook")
    @classmethod
    def _is_http(cls, url: str) -> str:
        return _checked(url, ("http", "https"))

    @field_validator("events_redis")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        database = urlsplit(_checked(url, ("redis", "rediss"))).path.removeprefix("/")
        # The client would take the first one for anything else.
        if database and not (database.isascii() and database.isdigit()):
            raise ValueError("has a path that is not the number of a database")
        return url

    @field_validator("events_token")
    @classmethod
    def _is_token(cls, token: str) -> str:
        if token and not _TOKEN.fullmatch(token):
            raise ValueError("has a character that no token has, like a space or the end of a line")
        return token

    @field_validator("events_source")
    @classmethod
    def _is_reference(cls, source: str) -> str:
        if not _REFERENCE.fullmatch(source):
            raise ValueError("is no URI reference, which CloudEvents demand: it has characters that need a % before them")
        return source


def _checked(url: str, schemes: Sequence[str]) -> str:
    """Never names the URL, which may have a password in it."""
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in schemes or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError(f"is no {' or '.join(f'{scheme}://' for scheme in schemes)} URL")
    try:
        parts.port  # noqa: B018  it is checked when it is read
    except ValueError as error:
        raise ValueError("has a port that is none") from error
    return url
