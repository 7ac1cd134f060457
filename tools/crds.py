"""Writes deploy/crds from the structs of controller/schema. Run by `make gen`; `make check` runs it with --check."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from controller.crds import definitions

_CRDS = Path(__file__).parents[1] / "deploy" / "crds"
_HEAD = "# Written by `make gen` from controller/schema.\n"


def main(check: bool) -> int:
    stale = 0
    _CRDS.mkdir(parents=True, exist_ok=True)
    for name, definition in definitions().items():
        path = _CRDS / name
        text = _HEAD + yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=120)
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if check:
            sys.stderr.write(f"check: deploy/crds/{name} says other than controller/schema; run: make gen\n")
        else:
            path.write_text(text)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
