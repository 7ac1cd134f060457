"""How the files of unit tests are divided among processes of pytest, and what their exit codes mean together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

__all__ = ["one_code", "shares"]


def shares(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Files by their sizes into at most so many lists, none empty, which take about equally long: each file, the largest first,
    goes where there is least."""
    parts: list[list[str]] = [[] for _ in range(min(count, len(sizes)))]
    filled = [0] * len(parts)
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        least = filled.index(min(filled))
        parts[least].append(name)
        filled[least] += sizes[name]
    return [sorted(part) for part in parts]


def one_code(codes: Sequence[int]) -> int:
    """The exit code of a run whose parts ended with these. That one part has no tests is no failure where another has."""
    failed = [code for code in codes if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}]
    return failed[0] if failed else min(codes)
