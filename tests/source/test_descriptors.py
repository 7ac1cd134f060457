"""Only the transport uses sockets and their descriptors: to write beneath a TLS transport would send plain text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

INTERCEPTOR = Path(__file__).parents[2] / "interceptor"
DESCRIPTORS = re.compile(
    r"\b_fd\b|\bfileno\(|setsockopt|getsockopt|\bos\.(?:write|writev|read|splice)\b|get_extra_info\(\"socket\"\)"
)
ALLOWED = {"listener.py": "the socket that it listens on"}


def uses(text: str) -> list[str]:
    return DESCRIPTORS.findall(text)


@pytest.mark.parametrize(
    "text", ["self._fd", "s.fileno()", "s.setsockopt(1, 2, 3)", "os.write(1, b'')", 't.get_extra_info("socket")']
)
def test_a_use_is_found(text: str) -> None:
    assert uses(text)


def test_nothing_but_the_transport_uses_a_descriptor() -> None:
    paths = [path for path in INTERCEPTOR.rglob("*.py") if path.parent.name != "transport" and path.name not in ALLOWED]
    assert len(paths) > 50
    assert {path.relative_to(INTERCEPTOR).as_posix(): found for path in paths if (found := uses(path.read_text()))} == {}


def test_nothing_uses_transports_of_pipes() -> None:
    """uvloop closes their descriptors twice, the second time perhaps of somebody else's file."""
    root = INTERCEPTOR.parent
    packages = [path.parent for path in root.glob("*/__init__.py") if path.parent.name != "tests"]
    assert len(packages) > 4
    paths = [path for package in packages for path in package.rglob("*.py")]
    found = [path.relative_to(root).as_posix() for path in paths if re.search(r"connect_(?:read|write)_pipe", path.read_text())]
    assert found == []
