"""The arguments of `make bench ARGS=...`."""

from __future__ import annotations

import pytest

from tests.bench.__main__ import _options
from tests.bench.workloads import ROWS


def test_rows_are_chosen_by_their_names() -> None:
    assert _options(["--rows", "small,browser"]).rows == ["small", "browser"]
    assert _options(["--against", ".", "--rows", "all"]).rows == list(ROWS)
    assert _options([]).rows is None


def test_a_row_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _options(["--rows", "browser,large"])
    assert "large is none of small, browser, request_id, post, body_1mib, h2, grpc" in capsys.readouterr().err
