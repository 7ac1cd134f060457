"""Runs as a process of its own: reads the index of a chart repository, and says as JSON where the versions of one chart are.

An index is as large as its author likes, and as hard to read. `python indexreader.py FILE CHART`. It imports nothing of Weir.
Values are texts, as they are written.
"""

import json
import sys
from typing import Any

import yaml

MAX_VERSIONS = 5000
"""Versions of one chart, of which the newest come first. The longest published lists have some hundreds."""
MAX_URLS = 5
MAX_URL = 2000
MAX_WORD = 300


def main() -> None:
    """Writes [{"version": …, "digest": …, "urls": […]}, …]; nothing else than texts is taken."""
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    try:
        index = json.loads(data)
    except (ValueError, RecursionError):
        index = yaml.load(data, yaml.CBaseLoader)  # noqa: S506  it makes texts, lists and mappings only
    versions = _list(_mapping(_mapping(index).get("entries")).get(sys.argv[2]))[:MAX_VERSIONS]
    json.dump([_described(_mapping(version)) for version in versions], sys.stdout)


def _described(version: dict[Any, Any]) -> dict[str, Any]:
    urls = [_text(url, MAX_URL) for url in _list(version.get("urls"))[:MAX_URLS]]
    words = {name: _text(version.get(name), MAX_WORD) for name in ("version", "digest")}
    return {**words, "urls": [url for url in urls if url]}


def _text(value: Any, most: int) -> str:
    return value if isinstance(value, str) and len(value) <= most else ""


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


if __name__ == "__main__":
    main()
