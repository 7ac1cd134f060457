import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.durations import seconds
from controller.schema.common import as_duration


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("0s", 0),
        ("1m", 60),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("2us", 2e-6),
        ("3µs", 3e-6),
        ("7ns", 7e-9),
        ("1h1m1s1ms", 3661.001),
    ],
)
def test_go_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(("value", "text"), [(60.0, "1m"), (1.0, "1s"), (15, "15s"), (90.0, "90s"), (0.5, "0.5s"), (0, "0s")])
def test_defaults_are_written_as_objects_write_them(value: float, text: str) -> None:
    assert as_duration(value) == text
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "1", "-1s", "1 s", "s", "1d", "1s\n", "1e3s", "\u0661s", "..s", "1s2"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_parts_add_up(hours: int, minutes: int, whole: int, thousandths: int) -> None:
    value = seconds(f"{hours}h{minutes}m{whole}s{thousandths}ms")
    assert value == pytest.approx(hours * 3600 + minutes * 60 + whole + thousandths / 1000, abs=1e-9)
