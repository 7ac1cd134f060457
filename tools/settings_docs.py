"""Writes the settings tables of docs/ from the settings classes. Run by `make gen`; `make check` runs it with --check.

A page marks where a table belongs: <!-- settings: module.Class --> … <!-- end of settings -->. Everything else is left as it is.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

_DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"(<!-- settings: (\S+)\.(\w+) -->\n).*?(<!-- end of settings -->)", re.DOTALL)


def _filled(page: str) -> str:
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_table(block[2], block[3])}\n{block[4]}", page)


def _table(module: str, name: str) -> str:
    return str(getattr(importlib.import_module(module), name).describe())


def main(check: bool) -> int:
    stale = 0
    for path in sorted(_DOCS.glob("*.md")):
        before = path.read_text()
        after = _filled(before)
        if before == after:
            continue
        stale += 1
        if check:
            sys.stderr.write(f"check: docs/{path.name} tells other settings than the code; run: make gen\n")
        else:
            path.write_text(after)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
