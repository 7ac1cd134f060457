"""Reason phrases are the same on every Python."""

from __future__ import annotations

import pytest

from interceptor.core.phrases import reason_phrase


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (200, b"OK"),
        (413, b"Content Too Large"),
        (414, b"URI Too Long"),
        (416, b"Range Not Satisfiable"),
        (422, b"Unprocessable Content"),
        (503, b"Service Unavailable"),
        (299, b""),
        (999, b""),
    ],
)
def test_phrases(status: int, phrase: bytes) -> None:
    assert reason_phrase(status) == phrase
