"""Settings of events, for every component that sends them."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from fleet.runtime.settings import ComponentSettings

__all__ = ["EventSettings"]


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
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("is no http:// or https:// URL")
        return url

    @field_validator("events_redis")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in ("redis", "rediss") or not urlsplit(url).hostname):
            raise ValueError("is no redis:// or rediss:// URL")
        return url
