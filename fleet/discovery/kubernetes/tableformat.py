"""The routing table in ConfigMaps: one while it fits, else an index and compressed shards. Values in, values out; no I/O.

Equal tables give equal documents, byte for byte, so that nothing is written without a change. A shard's name contains the table's
version, so shards of different versions are never combined.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from fleet.routing.codec import decode_json, encode_json
from fleet.routing.table import RoutingTable

__all__ = [
    "INDEX_KEY",
    "MAX_DATA_BYTES",
    "SHARD_KEY",
    "TABLE_KEY",
    "Document",
    "Index",
    "documents",
    "index_of",
    "table_of",
    "whole",
]

TABLE_KEY: Final = "table.json"
INDEX_KEY: Final = "index.json"
SHARD_KEY: Final = "shard"
MAX_DATA_BYTES: Final = 700_000
"""Maximum data of one ConfigMap in bytes: an object has at most 1.5 MiB in etcd; quotes are escaped, and base64 adds a third."""
MAX_SHARDS: Final = 64
"""More than a hundred thousand routes need; see fleet.routing.codec.MAX_ROUTES."""
MAX_TABLE_BYTES: Final = 256 << 20
"""Maximum size of the decompressed table: a small shard could expand to more than fits into memory."""
VERSION_IN_NAME: Final = 10
"""Characters of the version in a shard's name: enough that two versions do not collide."""


class Document(msgspec.Struct, frozen=True):
    """A ConfigMap to write: `binary_data` is base64, as in the API."""

    name: str
    data: Mapping[str, str] = {}
    binary_data: Mapping[str, str] = {}


class Index(msgspec.Struct, frozen=True):
    """The list of shards: parts of one compressed document, in this order."""

    version: str
    shards: tuple[str, ...]
    encoding: str = "gzip"


def documents(name: str, table: RoutingTable, *, limit: int = MAX_DATA_BYTES) -> tuple[Document, ...]:
    """The ConfigMaps of a table, in the order in which to write them; the one called `name` is the last.

    Shards of older versions should be removed later, when no reader can be reading them.
    """
    encoded = encode_json(table)
    if len(encoded) <= limit:
        return (Document(name, {TABLE_KEY: encoded.decode()}),)
    packed = gzip.compress(encoded, mtime=0)
    parts = [packed[start : start + limit] for start in range(0, len(packed), limit)]
    if len(parts) > MAX_SHARDS:
        raise ValueError(f"the routing table takes {len(parts)} shards, at most {MAX_SHARDS} are possible")
    stem = f"{name}-{table.version[:VERSION_IN_NAME]}"
    shards = tuple(
        Document(f"{stem}-{number}", {}, {SHARD_KEY: base64.b64encode(part).decode()}) for number, part in enumerate(parts)
    )
    index = Index(table.version, tuple(shard.name for shard in shards))
    return (*shards, Document(name, {INDEX_KEY: msgspec.json.encode(index).decode()}))


def table_of(data: Mapping[str, str]) -> RoutingTable | None:
    """The table in the ConfigMap; None when it contains an index. Raises ValueError when it contains neither."""
    if INDEX_KEY in data:
        return None
    if TABLE_KEY not in data:
        raise ValueError(f"the ConfigMap has neither {TABLE_KEY} nor {INDEX_KEY}")
    return decode_json(data[TABLE_KEY].encode())


def index_of(data: Mapping[str, str]) -> Index:
    """Raises ValueError."""
    index = msgspec.json.decode(data[INDEX_KEY], type=Index)
    if not 0 < len(index.shards) <= MAX_SHARDS:
        raise ValueError(f"{INDEX_KEY}: {len(index.shards)} shards, between 1 and {MAX_SHARDS} are possible")
    if index.encoding != "gzip":
        raise ValueError(f"{INDEX_KEY}: encoding {index.encoding[:32]!r} is not known")
    return index


def whole(index: Index, shards: Mapping[str, Mapping[str, str]]) -> RoutingTable:
    """The table from the shards' binary data, by name. Raises ValueError when a shard is missing or belongs to another table."""
    try:
        packed = b"".join(base64.b64decode(shards[name][SHARD_KEY], validate=True) for name in index.shards)
    except KeyError as error:
        raise ValueError(f"shard {error} is missing") from error
    except binascii.Error as error:
        raise ValueError(f"a shard is not base64: {error}") from error
    table = decode_json(_unpacked(packed))
    if table.version != index.version:
        raise ValueError(f"the shards hold version {table.version}, the index names {index.version[:64]!r}")
    return table


def _unpacked(packed: bytes) -> bytes:
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        data = unpack.decompress(packed, MAX_TABLE_BYTES)
    except zlib.error as error:
        raise ValueError(f"the shards are not gzip: {error}") from error
    if not unpack.eof:
        raise ValueError(f"the shards are cut off, or hold more than {MAX_TABLE_BYTES} bytes")
    return data
