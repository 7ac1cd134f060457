"""Where a repository has a chart, by its index: only addresses that the operator has named are left for helm. Pure.

An index may name any address, and one that leads out of its own directory, with `..` or by being absolute. Helm would ask there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import urljoin

import msgspec

__all__ = ["Version", "index_of", "permitted_versions"]

_ADDRESS = re.compile(
    r"(https?|oci)://[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~%+@!$&'()*,;=:-]*)+(\?[A-Za-z0-9._~%+@!$&'()*,;=:/?-]*)?"
)
_LEADS_ELSEWHERE = re.compile(r"/\.{1,2}(/|$)|%(2e|2f|5c)", re.IGNORECASE)
"""Segments that a server may resolve, as they are or by their escapes."""


class Version(msgspec.Struct, frozen=True):
    """One version of a chart, as controller.admin.releases.indexreader has found it."""

    version: str = ""
    digest: str = ""
    urls: list[str] = []


def permitted_versions(
    repository: str, versions: Sequence[Version], is_permitted: Callable[[str], bool]
) -> tuple[list[Version], list[str]]:
    """The versions with complete addresses, each of which is permitted, and addresses that are not."""
    kept, others = [], []
    for version in versions:
        urls = [_resolved(repository, url) for url in version.urls]
        good = [url for url in urls if _ADDRESS.fullmatch(url) and not _LEADS_ELSEWHERE.search(url) and is_permitted(url)]
        if good and version.version:
            kept.append(msgspec.structs.replace(version, urls=good))
        else:
            others += urls
    return kept, others


def index_of(chart: str, versions: Sequence[Version]) -> object:
    """An index of these versions, with what helm needs to fetch them."""
    entries = [{"apiVersion": "v2", "name": chart, **msgspec.to_builtins(version)} for version in versions]
    return {"apiVersion": "v1", "generated": "0001-01-01T00:00:00Z", "entries": {chart: entries} if entries else {}}


def _resolved(repository: str, url: str) -> str:
    try:
        return urljoin(f"{repository.rstrip('/')}/", url)
    except ValueError:
        return url
