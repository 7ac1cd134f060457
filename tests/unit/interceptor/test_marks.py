"""The lines that answers get besides those of their backend."""

from __future__ import annotations

import pytest

from interceptor.marks import COLD, FALLBACK, TIMED, marked_fields, unmarked_fields

TRUE, FALSE = b"X-KEDA-HTTP-Cold-Start: true\r\n", b"X-KEDA-HTTP-Cold-Start: false\r\n"
TIMES = b"Server-Timing: held;dur=1500.0, connect;dur=0.4, backend;dur=20.0\r\n"


@pytest.mark.parametrize(
    ("marks", "enabled", "expected"),
    [
        (COLD, True, TRUE),
        (COLD, False, b""),
        (FALLBACK | COLD, True, b""),
        (TIMED, True, FALSE + TIMES),
        (TIMED, False, TIMES),
        (TIMED | COLD, True, TRUE + TIMES),
        (TIMED | COLD | FALLBACK, True, TIMES),
    ],
)
def test_every_mark(marks: int, enabled: bool, expected: bytes) -> None:
    unmarked = unmarked_fields(cold_start=enabled)
    assert marked_fields(marks, unmarked, held=1.5, connect=0.00043, backend=0.02) == expected


def test_without_marks() -> None:
    assert (unmarked_fields(cold_start=True), unmarked_fields(cold_start=False)) == (FALSE, b"")
