"""Fields that are added to responses."""

from __future__ import annotations

import pytest

from interceptor.app.flags import COLD, FALLBACK, TIMED, added_fields, usual_fields
from interceptor.core.messages import Fields

TRUE, FALSE = ((b"X-KEDA-HTTP-Cold-Start", b"true"),), ((b"X-KEDA-HTTP-Cold-Start", b"false"),)
TIMES = ((b"Server-Timing", b"held;dur=1500.0, connect;dur=0.4, backend;dur=20.0"),)


@pytest.mark.parametrize(
    ("flags", "enabled", "expected"),
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
def test_every_flag(flags: int, enabled: bool, expected: Fields) -> None:
    usual = usual_fields(cold_start=enabled)
    assert added_fields(flags, usual, held=1.5, connect=0.00043, backend=0.02) == expected


def test_without_flags() -> None:
    assert (usual_fields(cold_start=True), usual_fields(cold_start=False)) == (FALSE, ())
