"""What the pages for maintainers name: files, tests and links that there are, and a test for every defence."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("docs/architecture.md", "docs/threat-model.md", "SECURITY.md", "CONTRIBUTING.md")]
DOCUMENTS = [*PAGES[2:], *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
SHORT = 60
"""Characters of a row that may stand in several tables."""
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
FILE = re.compile(r"`((?:protos|fleet|interceptor|scaler|controller|weir|deploy|docs|tests|tools)/[\w./-]*)`")
TESTS = re.compile(r"`(tests/[\w/]+\.py)`((?:: `test_\w+`(?:, `test_\w+`)*)?)")

MEMBER = re.compile(r"`([A-Z][A-Za-z0-9]+)\.([a-z_][a-z0-9_]*)(?:\(\))?`")
"""What belongs to a class, by both names."""
PACKAGES = ("fleet", "interceptor", "scaler", "controller", "weir")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pages
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    assert [name for name in FILE.findall(page.read_text()) if not (ROOT / name).exists()] == []


@pages
def test_tests_stand_where_the_page_says(page: Path) -> None:
    named = [(file, test) for file, tests in TESTS.findall(page.read_text()) for test in re.findall(r"test_\w+", tests)]
    assert [(file, test) for file, test in named if f"def {test}(" not in (ROOT / file).read_text()] == []


def members_of(sources: list[str]) -> dict[str, set[str]]:
    """The members of each class by name: functions, declared fields and what `self` gets, also those of its bases."""
    classes = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    own: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for node in classes:
        members, names = own.setdefault(node.name, set()), bases.setdefault(node.name, set())
        names.update(base.id for base in node.bases if isinstance(base, ast.Name))
        for part in ast.walk(node):
            match part:
                case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.AnnAssign(target=ast.Name(name)):
                    members.add(name)
                case ast.Attribute(value=ast.Name("self"), attr=name):
                    members.add(name)

    def everything(name: str) -> set[str]:
        return own.get(name, set()).union(*(everything(base) for base in bases.get(name, ()) if base != name))

    return {name: everything(name) for name in own}


def test_members_are_found() -> None:
    source = "class A:\n x: int\n def f(self):\n  self.y = 1\nclass B(A):\n async def g(self): ..."
    assert members_of([source]) == {"A": {"x", "f", "y"}, "B": {"x", "f", "y", "g"}}


def test_members_of_classes_that_are_named_exist() -> None:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    members = members_of([path.read_text() for path in paths])
    named = [(page.stem, *found) for page in PAGES for found in MEMBER.findall(page.read_text()) if found != ("CHANGELOG", "md")]
    assert len(named) > 50
    assert [(page, kind, member) for page, kind, member in named if member not in members.get(kind, ())] == []


def structure_faults(text: str) -> list[str]:
    """What tears a page apart: a heading or a row that stands twice, a table without rows, or rows without a table."""
    lines = ["", *text.splitlines(), ""]
    code = [line.startswith("```") for line in lines]
    faults, seen, table, inside = [], set[str](), False, False
    for number, line in enumerate(lines[1:-1], 1):
        inside ^= code[number]
        if inside:
            continue
        row = line.startswith("|")
        if row and not table and not lines[number + 1].startswith("|---"):
            faults.append(f"{number}: rows without a heading")
        if line.startswith("|---") and not lines[number + 1].startswith("|"):
            faults.append(f"{number}: a table without rows")
        if (row and len(line) > SHORT and not line.startswith("| `WEIR_")) or line.startswith("#"):
            if line in seen:
                faults.append(f"{number}: stands twice: {line[:SHORT]}")
            seen.add(line)
        table = row
    return faults


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.stem)
def test_no_page_is_torn_or_says_something_twice(page: Path) -> None:
    assert structure_faults(page.read_text()) == []


def test_what_tears_a_page() -> None:
    head, row = "| a | b |\n|---|---|\n", f"| {'x' * SHORT} | y |\n"
    assert structure_faults(f"# A\n\n{head}{row}") == []
    assert structure_faults(f"# A\n\n{head}{row}{row}") == [f"6: stands twice: {row[:SHORT]}"]
    assert structure_faults(f"# A\n{head}text\n") == ["3: a table without rows"]
    assert structure_faults(f"text\n\n{row}") == ["3: rows without a heading"]
    assert structure_faults("## A\n\n## A\n") == ["3: stands twice: ## A"]


def test_every_module_has_its_row() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    modules = [str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 200
    assert [name for name in modules if not name.endswith("__init__.py") and f"`{name}`" not in page] == []


def test_every_defence_names_its_code_and_its_test() -> None:
    sections = (ROOT / "docs" / "threat-model.md").read_text().split("\n## ")
    rows = [
        line
        for section in sections
        if section.startswith("Defended ")
        for line in section.splitlines()
        if line.startswith("| ") and not line.startswith("| Threat ")
    ]
    assert len(rows) > 40
    for row in rows:
        _, mechanism, held = row.removeprefix("| ").removesuffix(" |").split(" | ")
        assert FILE.search(mechanism), row
        assert TESTS.search(held), row
