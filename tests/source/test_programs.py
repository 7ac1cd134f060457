"""A test that is skipped without a program finds it after `make test`, which installs it. The skip is for pytest run alone."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHERE = ("cluster", "deploy", "fuzz", "system", "unit", "wire")
ASKED = re.compile(r'shutil\.which\("([\w.-]+)"')
PACKAGES = re.compile(r"^TEST_PACKAGES := (.*)$", re.MULTILINE)
PACKAGE_OF = {
    "dig": "bind9-dnsutils",
    "dnsmasq": "dnsmasq-base",
    "h2load": "nghttp2-client",
    "mosquitto_sub": "mosquitto-clients",
    "nghttp": "nghttp2-client",
    "pgbench": "postgresql",
    "psql": "postgresql",
    "redis-cli": "redis-server",
}
"""Of Debian, where it has another name than the program; the last one comes with what the package needs."""
BY_HAND = {"go"}
"""Whoever has it not is told so: what is built with it is named where it is missing."""


def test_every_program_that_a_test_looks_for_is_installed_by_make() -> None:
    asked: dict[str, set[str]] = defaultdict(set)
    for name in WHERE:
        for path in (ROOT / "tests" / name).rglob("*.py"):
            for program in ASKED.findall(path.read_text()):
                asked[program].add(path.name)
    (packages,) = PACKAGES.findall((ROOT / "Makefile").read_text())
    assert {"curl", "nghttp", "redis-server"} <= asked.keys()
    missing = {name: files for name, files in asked.items() if PACKAGE_OF.get(name, name) not in packages.split()}
    assert {name: files for name, files in missing.items() if name not in BY_HAND} == {}
