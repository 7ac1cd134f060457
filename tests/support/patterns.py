"""Finds every regular expression of some packages, in their objects and in their source, and how each is used.

Objects: modules are imported and searched for patterns, in names, classes, containers and bound methods. Source: it is searched
for every use of `re`. Both must agree, so that no pattern is missed. A pattern that is made in a function, from input, or by
another engine, is an error by itself.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from tests.support.automata import MODES

__all__ = ["PACKAGES", "Found", "faults", "find", "modules", "source_faults"]

PACKAGES = ("interceptor", "fleet", "scaler", "controller", "weir")

_ANY_USE = frozenset({"match", "fullmatch", "search", "sub"})
"""Methods assumed for a pattern whose use is unknown: every other method behaves like one of these."""
_COMPILES = "compile"
_HARMLESS = frozenset(
    {_COMPILES, "escape", "Pattern", "Match", "RegexFlag", "error", "ASCII", "DOTALL", "IGNORECASE", "MULTILINE"}
)
_ENGINES = frozenset({"regex", "re2", "fnmatch", "glob", "sre_compile", "sre_parse"})
"""Modules that match their own kinds of patterns, or turn them into regular expressions."""
_TAKES_PATTERN = frozenset({"Meta", "Field", "StringConstraints", "constr"})
"""Functions that take a pattern as a string and check texts by it. msgspec uses `re.search`."""


@dataclass
class Found:
    """A pattern, the place where it was found first, and the methods by which it is used."""

    name: str
    pattern: re.Pattern[Any]
    modes: set[str] = field(default_factory=set)


def modules() -> list[ModuleType]:
    """Every module of the packages, except those that run a program when imported."""
    names = [
        info.name
        for package in PACKAGES
        for info in pkgutil.walk_packages(import_module(package).__path__, package + ".")
        if not info.name.endswith(".__main__")
    ]
    return [import_module(name) for name in [*PACKAGES, *names]]


def find() -> list[Found]:
    """Every pattern once."""
    found: dict[re.Pattern[Any], Found] = {}
    for module in modules():
        for name, pattern, mode in _held(module):
            known = found.setdefault(pattern, Found(name, pattern))
            known.modes |= {mode} if mode else set()
    for module in modules():
        for pattern, mode in _uses(module):
            if pattern not in found:  # made from a string
                found[pattern] = Found(f"{module.__name__}: {pattern.pattern!r}", pattern)
            found[pattern].modes |= {mode} if mode else _ANY_USE
    for each in found.values():
        each.modes = each.modes or set(_ANY_USE)
    return sorted(found.values(), key=lambda each: each.name)


def faults() -> Iterator[str]:
    """Uses of regular expressions in the packages' source that `find` would miss."""
    factories = _factories()
    for path, name in _sources():
        yield from source_faults(path.read_text("utf-8"), name, _names(name), factories)


def source_faults(source: str, name: str, live: set[str], factories: set[str]) -> Iterator[str]:
    """The errors of one module. `live`: its names that were found to hold patterns; `factories`: functions that create them."""
    tree = ast.parse(source)
    top = {id(node): statement for statement in _top(tree) for node in ast.walk(statement)}
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and (node.module or "") in {"re", *_ENGINES}:
            yield f"{where}: import re as a whole, and no other engine"
        elif isinstance(node, ast.Import) and any(
            alias.name in _ENGINES or (alias.name == "re" and alias.asname) for alias in node.names
        ):
            yield f"{where}: import re under its own name, and no other engine"
        elif isinstance(node, ast.Attribute) and _is_re(node.value) and node.attr not in _HARMLESS:
            yield f"{where}: re.{node.attr} compiles where it is called"
        elif isinstance(node, ast.Call) and _makes(node, factories):
            statement = top.get(id(node))
            if statement is None:
                if not _in_factory(tree, node):
                    yield f"{where}: a pattern that is made in a function"
            elif not _targets(statement) & live:
                yield f"{where}: a pattern that is not found under a name of the module"


# -- objects of modules -------------------------------------------------------------------------------------------


def _names(module: str) -> set[str]:
    """Names of a module, or of its classes, below which there is a pattern."""
    held = sys.modules.get(module)
    paths = [] if held is None else [name.removeprefix(module) for name, _, _ in _held(held)]
    return {name for path in paths for name in re.findall(r"\w+", path)}


def _held(module: ModuleType) -> Iterator[tuple[str, re.Pattern[Any], str]]:
    """Every pattern below the names of a module: the name, the pattern, and the method if only a bound method is held."""
    seen: set[int] = set()
    todo: list[tuple[str, Any]] = [(f"{module.__name__}.{name}", value) for name, value in reversed(list(vars(module).items()))]
    while todo:
        name, value = todo.pop()
        if isinstance(value, re.Pattern):
            yield name, value, ""
        elif isinstance(getattr(value, "__self__", None), re.Pattern):
            yield name, value.__self__, value.__name__
        elif id(value) not in seen:
            seen.add(id(value))
            todo += [(f"{name}{step}", each) for step, each in _below(value)]


def _below(value: Any) -> Iterator[tuple[str, Any]]:
    """The values inside a value of our packages. Values of other packages are skipped, except containers."""
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{at}]", each) for at, each in enumerate(value))
    elif isinstance(value, (ModuleType, str, bytes)) or not _ours(value):
        return
    elif isinstance(value, MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, FunctionType):
        yield ".__defaults__", (value.__defaults__, value.__kwdefaults__)
        yield ".__closure__", tuple(_content(cell) for cell in value.__closure__ or ())
    else:
        slots = [slot for each in type(value).__mro__ for slot in getattr(each, "__slots__", ())]
        yield from ((f".{slot}", getattr(value, slot, None)) for slot in slots)
        yield from ((f".{key}", each) for key, each in list(getattr(value, "__dict__", {}).items()))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a slot without a value
        return None


def _ours(value: Any) -> bool:
    module = getattr(value, "__module__", None) or getattr(type(value), "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] in PACKAGES


# -- source of modules --------------------------------------------------------------------------------------------


def _sources() -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        root = Path(str(import_module(package).__file__)).parent
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _uses(module: ModuleType) -> Iterator[tuple[re.Pattern[Any], str]]:
    """Each use of a pattern in the module's source: its method, or "" if the pattern itself is passed on."""
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    methods = {id(node.value): node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
            value = _value(module, node)
            if isinstance(value, re.Pattern):
                method = methods.get(id(node), "")
                yield value, method if method in MODES else ""
        elif isinstance(node, ast.keyword) and node.arg == "pattern":
            text = _value(module, node.value)
            if isinstance(text, str):
                yield re.compile(text), "search"


def _value(module: ModuleType, node: ast.expr) -> Any:
    """The value of a name or an attribute in a module; None if it is only known at run time."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return vars(module).get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _value(module, node.value)
        return getattr(owner, node.attr, None) if isinstance(owner, (ModuleType, type)) else None
    return None


def _top(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, and bind names: of the module, and of its top-level classes."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            yield from (
                inner for inner in statement.body if not isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            )
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield statement


def _targets(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _is_re(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "re"


def _makes(call: ast.Call, factories: set[str]) -> bool:
    function = call.func
    if isinstance(function, ast.Attribute):
        return (_is_re(function.value) and function.attr == _COMPILES) or function.attr in factories
    return isinstance(function, ast.Name) and function.id in factories


def _returns_pattern(function: ast.FunctionDef) -> bool:
    return function.returns is not None and ast.unparse(function.returns).startswith("re.Pattern")


def _in_factory(tree: ast.Module, call: ast.Call) -> bool:
    """Whether a call is in a function annotated to return a pattern: then the calls of that function are checked instead."""
    functions = (statement for statement in tree.body if isinstance(statement, ast.FunctionDef))
    return any(_returns_pattern(function) and call in ast.walk(function) for function in functions)


def _factories() -> set[str]:
    return {
        statement.name
        for path, _ in _sources()
        for statement in ast.parse(path.read_text("utf-8")).body
        if isinstance(statement, ast.FunctionDef) and _returns_pattern(statement)
    }
