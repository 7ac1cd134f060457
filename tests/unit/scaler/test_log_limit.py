from scaler import log_limit
from scaler.log_limit import AGAIN_SECONDS, PATIENCE_SECONDS, LogLimit


def told(times: list[float], what: str = "no route") -> list[float]:
    kept = LogLimit()
    return [now for now in times if kept.is_due(what, now)]


def test_what_is_over_in_a_moment_is_not_told() -> None:
    assert told([0.0, 0.005, 0.01, PATIENCE_SECONDS - 0.1]) == []


def test_what_stays_is_reported_once_and_again_after_a_while() -> None:
    # Like KEDA's calls, with pauses that double.
    asked = [0.005 * 2.0**number for number in range(18)]
    assert told(asked) == [2.56, 0.005 * 2.0**17]
    assert told([0.0, *[2.0 + number for number in range(int(AGAIN_SECONDS))]]) == [2.0]


def test_each_trigger_is_reported_by_itself() -> None:
    kept = LogLimit()
    for what in ("a", "b"):
        assert not kept.is_due(what, 0.0)
    assert [kept.is_due(what, 3.0) for what in ("a", "b", "a")] == [True, True, False]


def test_what_is_remembered_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(log_limit, "MAX_KEPT", 3)
    kept = LogLimit()
    for number in range(100):
        kept.is_due(number, 0.0)
    assert len(kept._due) == 3
    assert kept.is_due(99, PATIENCE_SECONDS)
