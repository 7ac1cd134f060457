"""Archives of charts: taken apart by a reader of our own, which refuses what could harm, before helm sees anything of them.

Helm gets the directory of plain files that is left, so it does not matter how its reader would take the same bytes. Time and
memory are bounded: an archive is read once, in small parts, and no further than to the first thing that is wrong with it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["MAX_ARCHIVE", "BadArchive", "unpack"]

MAX_ARCHIVE = 3 << 20
"""Bytes. Helm keeps a packed chart with each revision in a Secret, which may have 1 MiB."""
MAX_UNPACKED = 20 << 20
"""Bytes of everything in an archive together, with those in archives within it."""
MAX_FILE = 5 << 20
"""Bytes of one file, as helm has it (MaxDecompressedFileSize of its loader)."""
MAX_FILES = 5000
"""Entries, with those of archives within. The largest published charts have about a thousand."""
MAX_NESTED = 4
"""Archives within archives: charts that a chart brings along may bring some, too."""
MAX_NAME = 1024
MAX_SEGMENTS = 24
MAX_SEGMENT = 255
MAX_PAX = 64 << 10
"""Bytes of a header with a long name. A name itself may have a thousand."""
PART = 64 << 10
BLOCK = 512
_OCTAL = re.compile(rb"[ ]*([0-7]{1,11})[ \0]*")
_SUBCHART = re.compile(r"(charts/[^/]+/)*charts/[^/._][^/]*\.tgz")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"S": "a sparse file",
}
_CHECKSUM = slice(148, 156)


class BadArchive(Exception):
    """An archive that is refused; the text says why."""


def unpack(data: bytes, into: Path) -> None:
    """Write the files of a packed chart (a gzipped tar) into an empty directory, and those of the charts in its `charts/`.
    Raises BadArchive."""
    budget = _Budget()
    _Chart(into, budget).take(data, "the archive", 0)
    if not (into / "Chart.yaml").is_file():
        raise BadArchive("the archive has no Chart.yaml in its top directory, so it is no chart")


class _Budget:
    """What is left for an archive and those within it."""

    def __init__(self) -> None:
        self._bytes = MAX_UNPACKED
        self._files = MAX_FILES

    def spend(self, size: int, what: str) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise BadArchive(f"{what} unpacks to more than {MAX_UNPACKED} bytes")

    def entry(self, what: str) -> None:
        self._files -= 1
        if self._files < 0:
            raise BadArchive(f"{what} has more than {MAX_FILES} entries")


class _Chart:
    """A directory that is written, and no other one. Its names are relative to it."""

    def __init__(self, into: Path, budget: _Budget) -> None:
        self._into = into
        self._budget = budget
        self._files: set[str] = set()
        self._directories: set[str] = set()

    def take(self, data: bytes, what: str, depth: int, below: str = "") -> None:
        if depth > MAX_NESTED:
            raise BadArchive(f"{what} is an archive within more than {MAX_NESTED} others")
        top = None
        nested: list[tuple[str, bytes]] = []
        for name, content in _entries(_Inflated(data, what, self._budget), what, self._budget):
            first, _, rest = name.partition("/")
            top = top or first
            if first != top:
                raise BadArchive(f"{what} has more than one top directory: {top[:80]} and {first[:80]}")
            if content is None or not rest or rest == ".helmignore":
                continue  # directories are made as they are needed; what is to be ignored was so when it was packed
            path = below + rest
            if _SUBCHART.fullmatch(path):
                nested.append((path, content))
            else:
                self._write(path, content, what)
        for path, content in nested:
            self.take(content, path[-200:], depth + 1, path.removesuffix(".tgz") + "/")

    def _write(self, path: str, content: bytes, what: str) -> None:
        if path in self._files or path in self._directories:
            raise BadArchive(f"{what} has {path[:200]} more than once")
        if path.count("/") > MAX_SEGMENTS:
            raise BadArchive(f"{what} has directories within more than {MAX_SEGMENTS} others")
        parents = [str(parent) for parent in PurePosixPath(path).parents][:-1]
        if blocking := self._files.intersection(parents):
            raise BadArchive(f"{what} has {blocking.pop()[:200]} as a file and as a directory")
        self._files.add(path)
        self._directories.update(parents)
        at = self._into / path
        at.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with at.open("xb") as file:
            file.write(content)


class _Inflated:
    """Bytes of a gzip stream of one member."""

    def __init__(self, data: bytes, what: str, budget: _Budget) -> None:
        if len(data) > MAX_ARCHIVE:
            raise BadArchive(f"{what} has more than {MAX_ARCHIVE} bytes")
        self._data = memoryview(data)
        self._what = what
        self._budget = budget
        self._inflate = zlib.decompressobj(wbits=31)
        self._at = 0
        self._buffer = bytearray()

    def read(self, size: int) -> bytes:
        """Exactly that many bytes, or none at the end. Raises BadArchive."""
        while len(self._buffer) < size:
            part = self._next()
            if not part:
                if self._buffer:
                    raise BadArchive(f"{self._what} ends in the middle of an entry")
                return b""
            self._budget.spend(len(part), self._what)
            self._buffer += part
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _next(self) -> bytes:
        """The next bytes, at most PART; none at the end."""
        try:
            while not self._inflate.eof:
                given: bytes | memoryview = self._inflate.unconsumed_tail
                if not given:
                    given = self._data[self._at : self._at + PART]
                    self._at += len(given)
                if not given:
                    raise BadArchive(f"{self._what} is cut off")
                if part := self._inflate.decompress(given, PART):
                    return part
        except zlib.error as error:
            raise BadArchive(f"{self._what} is no gzip: {error}") from error
        if self._inflate.unused_data or self._at < len(self._data):
            raise BadArchive(f"{self._what} has bytes after its end")
        return b""


def _entries(stream: _Inflated, what: str, budget: _Budget) -> Iterator[tuple[str, bytes | None]]:
    """Name and content of each file; directories without one. Of POSIX.1-2017's pax format, and GNU tar's long names."""
    name = None
    while (header := stream.read(BLOCK)) and header.strip(b"\0"):
        budget.entry(what)
        if _octal(header[_CHECKSUM], what) != sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" "):
            raise BadArchive(f"{what} is no tar, or is damaged")
        kind, size = header[156:157], _octal(header[124:136], what)
        if kind in (b"x", b"L", b"g"):
            name = _extended(kind, _content(stream, size, what, MAX_PAX), what) or name
            continue
        if kind not in (b"0", b"\0", b"5"):
            raise BadArchive(
                f"{what} has {_KINDS.get(kind, 'an entry of an unknown kind')}: {(name or _name(header, what))[:200]}"
            )
        content = _content(stream, size, what, MAX_FILE)
        given, name = name or _name(header, what), None
        yield _safe(given, what), None if kind == b"5" or given.endswith("/") else content
    while stream.read(BLOCK):  # to the end, where the checksum is
        pass


def _extended(kind: bytes, content: bytes, what: str) -> str | None:
    """The name that the next entry has by a header before it."""
    if kind == b"L":
        return _decoded(content.rstrip(b"\0"), what)
    name = _pax_path(content, what)
    if kind == b"g" and name is not None:
        raise BadArchive(f"{what} has one name for all entries")
    return name


def _content(stream: _Inflated, size: int, what: str, most: int) -> bytes:
    if size > most:
        raise BadArchive(f"{what} has a file, or a header, of more than {most} bytes")
    padded = -(-size // BLOCK) * BLOCK
    content = stream.read(padded)
    if len(content) < padded:
        raise BadArchive(f"{what} ends in the middle of an entry")
    return content[:size]


def _octal(field: bytes, what: str) -> int:
    found = _OCTAL.fullmatch(field)
    if found is None:
        raise BadArchive(f"{what} is no tar, or has an entry of an impossible size")
    return int(found[1], 8)


def _name(header: bytes, what: str) -> str:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _decoded(prefix + b"/" + name if prefix else name, what)


def _pax_path(content: bytes, what: str) -> str | None:
    """The name in a header of "LENGTH KEYWORD=VALUE" lines."""
    at, path = 0, None
    while at < len(content):
        length, _, _ = content[at : at + 8].partition(b" ")
        if not length.isdigit() or not len(length) < int(length) <= len(content) - at:
            raise BadArchive(f"{what} has a damaged header")
        keyword, _, value = content[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        at += int(length)
        if keyword == b"path":
            path = _decoded(value, what)
        elif keyword in (b"size", b"linkpath") or keyword.startswith(b"GNU.sparse"):
            raise BadArchive(f"{what} has an entry with a {keyword[:20].decode(errors='replace')} of its own")
    return path


def _decoded(name: bytes, what: str) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise BadArchive(f"{what} has a name that is not UTF-8") from error


def _safe(name: str, what: str) -> str:
    """The name without what means nothing; refused if it could mean another place, or another line of a log."""
    if len(name) > MAX_NAME or not name.isprintable() or "\\" in name:
        raise BadArchive(f"{what} has a name that is too long, or has characters that no file of a chart needs")
    segments = [segment for segment in name.removesuffix("/").split("/") if segment != "."]
    if not segments or any(segment in ("", "..") for segment in segments):
        raise BadArchive(f"{what} has a name that leads elsewhere: {name[:200]}")
    if any(len(segment.encode()) > MAX_SEGMENT for segment in segments):
        raise BadArchive(f"{what} has a name of more than {MAX_SEGMENT} bytes")
    return "/".join(segments)
