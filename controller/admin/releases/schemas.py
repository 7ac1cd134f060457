"""Schemas of a chart's values (values.schema.json): whether they are whole in themselves.

Helm fetches whatever a schema refers to, from any server that it can reach and from files, when it renders a chart: one that is
uploaded could have the controller ask a server of the cluster's network, or read what only the controller may.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["BadSchema", "are_whole"]

SCHEMA = "values.schema.json"
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DIALECT = "$schema"
_KNOWN_DIALECTS = tuple(
    f"json-schema.org/{draft}"
    for draft in ("draft-04/schema", "draft-06/schema", "draft-07/schema", "draft/2019-09/schema", "draft/2020-12/schema")
)
"""Those that helm has within itself, without the scheme."""


class BadSchema(Exception):
    """A schema that is none; the text says which."""


def are_whole(chart: Path) -> bool:
    """Whether no schema of the chart, or of charts within it, refers to anything outside of itself. Raises BadSchema."""
    return all(_is_whole(at, chart) for at in sorted(chart.rglob(SCHEMA)) if at.is_file())


def _is_whole(at: Path, chart: Path) -> bool:
    leads_out = False

    def look(fields: list[tuple[str, Any]]) -> None:
        # Each field, also one that stands there twice: it does not matter which one helm takes.
        nonlocal leads_out
        for name, value in fields:
            if isinstance(value, str) and (
                (name in _REFERENCES and not value.startswith("#")) or (name == _DIALECT and not _is_known(value))
            ):
                leads_out = True

    try:
        json.loads(at.read_bytes().decode(), object_pairs_hook=look)
    except (ValueError, RecursionError) as error:
        raise BadSchema(f"{str(at.relative_to(chart))[-200:]} is no JSON: {error}") from error
    return not leads_out


def _is_known(dialect: str) -> bool:
    scheme, _, rest = dialect.partition("://")
    return scheme in ("http", "https") and rest.removesuffix("#") in _KNOWN_DIALECTS
