"""The fields that answers get besides those of their backend."""

from __future__ import annotations

import pytest

from interceptor.core.messages import Fields
from interceptor.exchange.flags import COLD, FALLBACK, TIMED, marked_fields, unmarked_fields

TRUE, FALSE = ((b"X-KEDA-HTTP-Cold-Start", b"true"),), ((b"X-KEDA-HTTP-Cold-Start", b"false"),)
TIMES = ((b"Server-Timing", b"held;dur=1500.0, connect;dur=0.4, backend;dur=20.0"),)


@pytest.mark.parametrize(
    ("marks", "enabled", "expected"),
    [
        (COLD, True, TRUE),
        (COLD, False, ()),
        (FALLBACK | COLD, True, ()),
        (TIMED, True, FALSE + TIMES),
        (TIMED, False, TIMES),
        (TIMED | COLD, True, TRUE + TIMES),
        (TIMED | COLD | FALLBACK, True, TIMES),
    ],
)
def test_every_mark(marks: int, enabled: bool, expected: Fields) -> None:
    unmarked = unmarked_fields(cold_start=enabled)
    assert marked_fields(marks, unmarked, held=1.5, connect=0.00043, backend=0.02) == expected


def test_without_marks() -> None:
    assert (unmarked_fields(cold_start=True), unmarked_fields(cold_start=False)) == (FALSE, ())
