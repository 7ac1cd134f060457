"""Which certificate files there are: a named pair, and all pairs in directories. Reads directories only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from fleet.runtime.tls import TlsError, TlsFiles

__all__ = ["Found", "find"]

MAX_PAIRS: Final = 5000
"""Certificates at most: each takes some 25 KB of memory, and a millisecond or two of CPU at the start."""
MAX_FILES: Final = 10 * MAX_PAIRS
_CERT_ENDS: Final = (".crt", ".pem")
_KEY_ENDS: Final = ("-key.pem", ".key")
_AUTHORITY: Final = "ca"
"""ca.crt in a Secret is the certificate of the issuer, without a key."""


class Found(NamedTuple):
    """The files of all certificates, and the directories where others may appear."""

    pairs: tuple[TlsFiles, ...]
    """The default one first."""
    directories: tuple[Path, ...]


def find(default: TlsFiles | None, directories: Iterable[Path]) -> Found:
    """The pairs in `directories` and below: NAME.crt and NAME.key, or NAME.pem and NAME-key.pem, as the KEDA HTTP add-on has
    them. Raises TlsError for a certificate without a key, and if there is none at all."""
    seen: list[Path] = []
    files: list[Path] = []
    for directory in directories:
        for found, names in _walk(directory):
            seen.append(found)
            files += (found / name for name in names)
            if len(files) > MAX_FILES:
                raise TlsError(f"{directory}: more than {MAX_FILES} files")
    pairs = [*(() if default is None else (default,)), *_pairs(sorted(files))]
    if not pairs:
        raise TlsError(f"no certificate in {', '.join(map(str, directories))}")
    if len(pairs) > MAX_PAIRS:
        raise TlsError(f"more than {MAX_PAIRS} certificates in {', '.join(map(str, directories))}")
    return Found(tuple(pairs), tuple(seen))


def _walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    def fail(error: OSError) -> None:
        raise TlsError(f"{error.filename}: {error.strerror}")

    for at, below, names in os.walk(top, onerror=fail):
        # In volumes of Kubernetes, names that begin with two dots are where the symbolic links point to. Others with a dot are
        # files that are not complete yet.
        below[:] = [name for name in below if not name.startswith(".")]
        yield Path(at), [name for name in names if not name.startswith(".")]


def _pairs(files: list[Path]) -> Iterator[TlsFiles]:
    keys = {base: path for path in files if (base := _base(path, _KEY_ENDS)) is not None}
    for path in files:
        base = _base(path, _CERT_ENDS)
        if base is None or _base(path, _KEY_ENDS) is not None:
            continue
        if base in keys:
            yield TlsFiles(path, keys[base])
        elif path.stem != _AUTHORITY:
            raise TlsError(f"{path}: there is no key for this certificate beside it")


def _base(path: Path, ends: tuple[str, ...]) -> str | None:
    text = str(path)
    return next((text.removesuffix(end) for end in ends if text.endswith(end)), None)
