"""The routing table as JSON and YAML. Bytes in, table out, and back; opens no file.

JSON is used between components: equal tables encode to equal bytes, and unknown fields (from a newer version) are ignored. YAML
is for people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import yaml

from fleet.routing.check import RouteError
from fleet.routing.route import Route
from fleet.routing.table import RoutingTable

__all__ = ["MAX_ROUTES", "CodecError", "RouteError", "decode_json", "decode_yaml", "encode_json", "encode_yaml"]

MAX_ROUTES: Final = 100_000
"""Maximum number of routes in a document: ten times the design size; bounds the memory that one document takes."""

_LOADER: Final[type[Any]] = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the C parser is present in most builds, and much faster
_AT: Final = re.compile(r" - at `\$\.?([^`]*)`$")


class CodecError(ValueError):
    """The document is not a routing table. The message, one line, names the field; `field` is "" if there is none."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class _Document(msgspec.Struct, frozen=True):
    routes: tuple[Route, ...]


class _Split(msgspec.Struct, frozen=True):
    """A document with undecoded routes: decoding them in one call would hold the GIL for milliseconds."""

    routes: tuple[msgspec.Raw, ...]


_split_decoder = msgspec.json.Decoder(_Split)
_route_decoder = msgspec.json.Decoder(Route)


def encode_json(table: RoutingTable) -> bytes:
    """A table as JSON, one line."""
    return msgspec.json.encode(_Document(table.routes))


def encode_yaml(table: RoutingTable) -> bytes:
    """A table as YAML."""
    text: str = yaml.safe_dump(msgspec.to_builtins(_Document(table.routes)), sort_keys=False)
    return text.encode()


def decode_json(data: bytes) -> RoutingTable:
    """The table from JSON. Raises CodecError, or RouteError for an invalid route."""
    try:
        split = _split_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _codec_error(error) from error
    return _table([_route(raw, position) for position, raw in enumerate(split.routes)])


def _route(raw: msgspec.Raw, position: int) -> Route:
    try:
        return _route_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _codec_error(error, within=f"routes[{position}]") from error


def decode_yaml(data: bytes) -> RoutingTable:
    """The table from YAML. Raises CodecError, or RouteError for an invalid route."""
    try:
        content: object = yaml.load(data, _LOADER)  # noqa: S506 - a safe loader in either case
        document = msgspec.convert(content, _Document)
    except yaml.YAMLError as error:
        raise CodecError("", f"not YAML: {' '.join(str(error).split())}") from error
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise _codec_error(error) from error
    return _table(document.routes)


def _table(routes: Sequence[Route]) -> RoutingTable:
    if len(routes) > MAX_ROUTES:
        raise CodecError("routes", f"{len(routes)} routes, at most {MAX_ROUTES} are possible")
    return RoutingTable(routes)


def _codec_error(error: Exception, *, within: str = "") -> CodecError:
    text = str(error)
    at = _AT.search(text)
    if at is None:
        return CodecError(within, text)
    return CodecError(".".join(part for part in (within, at[1]) if part), text[: at.start()])
