"""What the pages for maintainers name: files, tests and links that there are, and a test for every defence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("docs/architecture.md", "docs/threat-model.md", "SECURITY.md", "CONTRIBUTING.md")]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
FILE = re.compile(r"`((?:protos|fleet|interceptor|scaler|controller|weir|deploy|docs|tests|tools)/[\w./-]*)`")
TESTS = re.compile(r"`(tests/[\w/]+\.py)`((?:: `test_\w+`(?:, `test_\w+`)*)?)")

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
