"""The core of HTTP/2 stays in a form that mypyc can compile: nothing else inherits from its classes or replaces its constants.

`tests/system/test_compiled_core.py` compiles it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = "interceptor.http2.core"
PLACES = ("fleet", "interceptor", "scaler", "controller", "weir", "tests")
_PATCHED = re.compile(r"""setattr\(\s*["']interceptor\.http2\.core\.""")


def _of_core(tree: ast.Module) -> set[str]:
    """The names by which a module has modules and classes of the core."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                if f"{node.module}.{alias.name}".startswith(CORE):
                    found.add(alias.asname or alias.name)
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name for alias in node.names if alias.name.startswith(CORE)}
    return found


def heirs(source: str) -> list[str]:
    """The classes of a module outside the core that inherit from a class of the core."""
    tree = ast.parse(source)
    names = _of_core(tree)

    def is_core(base: ast.expr) -> bool:
        name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        return name in names or name.rpartition(".")[0] in names

    return [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and any(map(is_core, node.bases))]


def refused(source: str) -> Iterator[str]:
    """What mypyc refuses in a module of the core, or compiles to something that is not a native class."""
    tree = ast.parse(source)
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        if id(node) not in top:
            yield f"{node.name} is within something else"
        if node.decorator_list or node.keywords or len(node.bases) > 1:
            yield f"{node.name} has a decorator, a metaclass or two bases"


def test_heirs_are_found() -> None:
    imports = f"from {CORE}.stream import Stream as S\nfrom {CORE} import frames\nimport {CORE}.session\nfrom a import B\n"
    classes = (
        f"class C(S): ...\nclass D(B, frames.X): ...\nclass E({CORE}.session.Session): ...\nclass F(B): ...\nclass G(S[int]): ..."
    )
    assert heirs(imports + classes) == ["C", "D", "E", "G"]


def test_what_is_refused_is_found() -> None:
    assert [*refused("class A(B): ...")] == []
    assert len([*refused("def f():\n class A: ...\n@final\nclass B: ...\nclass C(metaclass=M): ...\nclass D(A, B): ...")]) == 4


def test_no_class_inherits_from_the_core() -> None:
    """An interpreted class cannot inherit from a compiled one."""
    paths = [path for place in PLACES for path in (ROOT / place).rglob("*.py") if f"/{CORE.replace('.', '/')}/" not in str(path)]
    assert len(paths) > 500
    assert {str(path): found for path in paths if CORE in (text := path.read_text()) and (found := heirs(text))} == {}


def test_no_test_replaces_what_is_compiled_in() -> None:
    """A constant is compiled into the code that uses it."""
    assert [str(path) for path in (ROOT / "tests").rglob("*.py") if _PATCHED.search(path.read_text())] == []


def test_the_core_has_nothing_that_is_refused() -> None:
    paths = sorted((ROOT / CORE.replace(".", "/")).glob("*.py"))
    assert len(paths) > 10
    assert {path.name: found for path in paths if (found := [*refused(path.read_text())])} == {}
