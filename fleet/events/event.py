"""One event, as CloudEvents 1.0 has it: as an HTTP message in binary or structured mode, and as fields of a stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

__all__ = ["Event", "Message", "binary", "fields", "structured"]

SPEC_VERSION: Final = "1.0"
TYPE_PREFIX: Final = "dev.weir.app."
JSON: Final = "application/json"
STRUCTURED: Final = "application/cloudevents+json"
_SAFE: Final = frozenset(range(0x21, 0x7F)) - frozenset(b'"%')


class Event(msgspec.Struct, frozen=True):
    """`id` is the same however often it is sent; with `source` it is unique. `time` is in seconds since the epoch."""

    id: str
    source: str
    kind: str
    subject: str
    """The application, "namespace/name"."""
    time: float
    data: Mapping[str, object]

    @property
    def attributes(self) -> dict[str, str]:
        """Every attribute, by its name."""
        return {
            "specversion": SPEC_VERSION,
            "id": self.id,
            "source": self.source,
            "type": TYPE_PREFIX + self.kind,
            "subject": self.subject,
            "time": datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }


Message = tuple[dict[str, str], bytes]
"""Fields of a request, and its body."""


def binary(event: Event) -> Message:
    """CloudEvents HTTP binding 3.1: attributes are fields, the body is the data."""
    head = {f"ce-{name}": _escaped(value) for name, value in event.attributes.items()}
    return {**head, "content-type": JSON}, _data(event)


def structured(event: Event) -> Message:
    """CloudEvents HTTP binding 3.2: all of it is in the body."""
    return {"content-type": STRUCTURED}, msgspec.json.encode(
        {**event.attributes, "datacontenttype": JSON, "data": msgspec.Raw(_data(event))}
    )


def fields(event: Event) -> dict[str, str]:
    """For an entry of a stream."""
    return {**event.attributes, "datacontenttype": JSON, "data": _data(event).decode()}


def _data(event: Event) -> bytes:
    return msgspec.json.encode({"app": event.subject, **event.data})


def _escaped(value: str) -> str:
    """HTTP binding 3.1.3.2: everything but printable ASCII is percent-encoded, and so are the double quote and the percent."""
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in value.encode())
