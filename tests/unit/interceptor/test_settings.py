from __future__ import annotations

import pytest

from interceptor.settings import InterceptorSettings


def test_every_setting_says_what_it_is() -> None:
    for name, field in InterceptorSettings.model_fields.items():
        assert field.description, name


def test_half_closed_clients_are_answered_only_where_somebody_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not InterceptorSettings.load([]).answer_half_closed
    assert InterceptorSettings.load(["--answer-half-closed"]).answer_half_closed
    monkeypatch.setenv("WEIR_ANSWER_HALF_CLOSED", "true")
    assert InterceptorSettings.load([]).answer_half_closed
    assert not InterceptorSettings.load(["--no-answer-half-closed"]).answer_half_closed
