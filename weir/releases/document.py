"""What the flags of `weir release install` and `upgrade` say, as a document of the Admin API.

Reads the files that they name, and nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weir.apps.failure import INVALID, NotDoneError, UsageError
from weir.apps.given import merge, nested, settings
from weir.apps.run import read_document

__all__ = ["Asked", "release_document"]

OCI = "oci://"
MAX_ARCHIVE_BYTES = 3 << 20
"""As much as the Admin API takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags, as they were typed."""

    chart: str
    repository: str | None = None
    version: str | None = None
    credentials: str | None = None
    values: Sequence[Path] = ()
    set: Sequence[str] = ()
    expose: Sequence[str] = ()
    skip_crds: bool = False
    seconds: float | None = None


def release_document(name: str, asked: Asked) -> dict[str, Any]:
    """The document of a release. Raises NotDoneError."""
    values: dict[str, Any] = {}
    for file in asked.values:
        merge(values, read_document(file, None))
    for path, value in settings(asked.set):
        merge(values, nested(path, value))
    document: dict[str, Any] = {"name": name, "chart": _chart(asked), "values": values}
    if asked.expose:
        document["expose"] = [*_exposed(asked.expose).values()]
    if asked.skip_crds:
        document["skip_crds"] = True
    if asked.seconds is not None:
        document["timeout"] = int(asked.seconds)
    return document


def _chart(asked: Asked) -> Mapping[str, str]:
    more = {name: value for name, value in (("version", asked.version), ("credentials", asked.credentials)) if value is not None}
    if asked.repository is not None:
        return {"repository": asked.repository, "name": asked.chart, **more}
    if asked.chart.startswith(OCI):
        return {"oci": asked.chart, **more}
    if more:
        raise UsageError(f"--{next(iter(more))}: a packed chart has its version in it, and needs no credentials")
    return {"archive": base64.b64encode(_packed(Path(asked.chart))).decode()}


def _packed(file: Path) -> bytes:
    if file.is_dir():
        raise UsageError(f"{file}: is a directory: helm package {file} packs it into a file")
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_ARCHIVE_BYTES + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise NotDoneError(f"{file}: {why}; a chart of a repository needs --repo URL", code=INVALID) from error
    if len(data) > MAX_ARCHIVE_BYTES:
        raise NotDoneError(f"{file}: is larger than {MAX_ARCHIVE_BYTES} bytes", code=INVALID)
    return data


def _exposed(typed: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    """ "SERVICE", "SERVICE=HOST", and "SERVICE=HOST" again for one more host."""
    found: dict[str, dict[str, Any]] = {}
    for each in typed:
        service, equals, host = each.partition("=")
        if not service or (equals and not host):
            raise UsageError(f"--expose {each}: should be SERVICE or SERVICE=HOST")
        exposed = found.setdefault(service, {"service": service})
        if host:
            exposed.setdefault("hosts", []).append(host)
    return found
