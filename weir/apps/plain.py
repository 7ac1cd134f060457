"""YAML or JSON that says one thing only: no aliases, no two fields of one name, nothing that JSON cannot say. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import yaml

__all__ = ["NotPlainError", "plain"]


MAX_DEPTH = 100
"""Levels. PyYAML takes time that grows with the square of them."""
TOO_DEEP = f"has more than {MAX_DEPTH} levels"


class NotPlainError(ValueError):
    """The text cannot be taken; the message says why, on one line."""


class _Loader(yaml.SafeLoader):
    """Refuses two fields of one name, of which the last one would win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _check_names(name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode))
        return super().construct_mapping(node, deep=deep)


def plain(text: str) -> Any:
    """The value of a text. Raises NotPlainError."""
    try:
        value = _json(text) if text.lstrip()[:1] in ("{", "[", '"') else _yaml(text)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except NotPlainError:
        raise
    except RecursionError as error:
        raise NotPlainError(TOO_DEEP) from error
    except UnicodeEncodeError as error:
        raise NotPlainError("has half of a character (a lone surrogate)") from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, yaml.YAMLError) as error:
        raise NotPlainError(" ".join(str(error).split())) from error
    return value


def _json(text: str) -> Any:
    """Of a text that may be YAML in braces: they differ, as in the halves of which JSON makes a character."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError:
        return _yaml(text)
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    """Some versions of Python read JSON of any depth."""
    level, depth = [value], 0
    while level := [inner for each in level for inner in _within(each)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise NotPlainError(TOO_DEEP)


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _yaml(text: str) -> Any:
    # Aliases first: by them a short text can make more values than fit into memory, or one that contains itself.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise NotPlainError("anchors are not taken here")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise NotPlainError(TOO_DEEP)
    return yaml.load(text, _Loader)  # noqa: S506  a safe loader


def _once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    _check_names(name for name, _ in fields)
    return dict(fields)


def _check_names(names: Iterable[str]) -> None:
    for name, times in Counter(names).most_common(1):
        if times > 1:
            raise NotPlainError(f"two fields have the name {name!r}")
