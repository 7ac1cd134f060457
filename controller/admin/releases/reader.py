"""Runs as a process of its own: reads manifests that a chart has made, and says as JSON which objects they are.

A chart's author can write YAML that makes a parser take all memory, or end the process that it runs in. `python reader.py FILE`.
It imports nothing of Weir. Values are texts, as they are written; merge keys mean nothing here, so an object whose kind comes
from one has none, and is refused.
"""

import json
import sys
from typing import Any

import yaml

MAX_OBJECTS = 1000
MAX_TEXT = 253
MAX_ITEMS = 200
"""Items of a list, or fields of a mapping, that are looked at."""


class _TooMany(Exception):
    pass


def main() -> None:
    """Writes {"objects": […]}, or {"error": "…"}."""
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            objects = [_described(found) for document in yaml.load_all(file, yaml.CBaseLoader) for found in _objects(document, 0)]
            if len(objects) > MAX_OBJECTS:
                raise _TooMany(f"the chart makes more than {MAX_OBJECTS} objects")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        json.dump({"error": f"the chart makes no YAML: {str(error)[:500]}"}, sys.stdout)
    except _TooMany as error:
        json.dump({"error": str(error)}, sys.stdout)
    else:
        json.dump({"objects": objects}, sys.stdout)


def _objects(document: Any, depth: int) -> list[Any]:
    """The objects of a document: one, those of a list, or none if it is empty."""
    if document is None or document == "":
        return []
    if isinstance(document, dict) and isinstance(document.get("items"), list) and str(document.get("kind", "")).endswith("List"):
        if depth > 1 or len(document["items"]) > MAX_OBJECTS:
            raise _TooMany("the chart makes lists within lists, or one that is too long")
        return [found for item in document["items"] for found in _objects(item, depth + 1)]
    return [document]


def _described(found: Any) -> dict[str, Any]:
    found = _mapping(found)
    metadata, spec = _mapping(found.get("metadata")), _mapping(found.get("spec"))
    described: dict[str, Any] = {
        "apiVersion": _text(found.get("apiVersion")),
        "kind": _text(found.get("kind")),
        "name": _text(metadata.get("name") or metadata.get("generateName")),
        "namespace": _text(metadata.get("namespace")),
        "hook": _text(_mapping(metadata.get("annotations")).get("helm.sh/hook")),
    }
    kind = described["kind"]
    if kind == "Service":
        described["selector"] = _texts(spec.get("selector"))
        described["ports"] = [
            [_text(_mapping(port).get("name")), _text(_mapping(port).get("port"))] for port in _list(spec.get("ports"))
        ]
    elif kind in ("Deployment", "StatefulSet"):
        template = _mapping(_mapping(spec.get("template")).get("metadata"))
        described["labels"] = _texts(template.get("labels"))
    elif kind == "CustomResourceDefinition":
        described["group"], described["scope"] = _text(spec.get("group")), _text(spec.get("scope"))
        names = _mapping(spec.get("names"))
        described["plural"], described["defines"] = _text(names.get("plural")), _text(names.get("kind"))
    return described


def _text(value: Any) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value[:MAX_ITEMS] if isinstance(value, list) else []


def _texts(value: Any) -> dict[str, str]:
    return {_text(key): _text(text) for key, text in list(_mapping(value).items())[:MAX_ITEMS]}


if __name__ == "__main__":
    main()
