"""A value that is repeatedly changed back is written less and less often."""

from __future__ import annotations

from controller.write_backoff import FORGET_SECONDS, FREE_WRITES, LONGEST_PAUSE_SECONDS, WriteBackoff


def written_times(backoff: WriteBackoff, seconds: float) -> list[float]:
    """Another writer changes the value back after each write; returns the times of our writes."""
    now, written = 0.0, []
    while now < seconds:
        pause = backoff.pause("web", "ours", now)
        if pause == 0.0:
            backoff.wrote("web", "ours", now)
            backoff.settled("web")
            written.append(now)
        now += pause
        now = round(now + 0.01, 2)
    return written


def test_a_value_that_is_changed_back_costs_a_few_writes_a_minute_at_last() -> None:
    written = written_times(WriteBackoff(), 600.0)
    assert len([when for when in written if when < 10.0]) <= FREE_WRITES + 5
    assert len([when for when in written if when >= 300.0]) <= 300.0 / LONGEST_PAUSE_SECONDS + 1
    assert written[-1] > 500.0, "it is never given up"


def test_another_value_is_written_without_a_pause() -> None:
    backoff = WriteBackoff()
    for number in range(100):
        assert backoff.pause("web", number % 2, float(number)) == 0.0
        assert not backoff.wrote("web", number % 2, float(number))
        backoff.settled("web")


def test_what_does_not_come_back_by_the_watch_is_no_contest() -> None:
    backoff = WriteBackoff()
    for number in range(100):
        assert backoff.pause("web", "ours", float(number)) == 0.0
        assert not backoff.wrote("web", "ours", float(number))


def test_it_says_when_it_is_one_and_forgets() -> None:
    backoff = WriteBackoff()
    said = []
    for _ in range(FREE_WRITES + 1):
        said.append(backoff.wrote("web", "ours", 0.0))
        backoff.settled("web")
    assert said == [False] * FREE_WRITES + [True]
    assert backoff.pause("web", "ours", 0.0) > 0.0
    assert backoff.pause("other", "ours", 0.0) == 0.0
    assert backoff.pause("web", "ours", FORGET_SECONDS) == 0.0
    backoff.forget("web")
    assert backoff.pause("web", "ours", 0.0) == 0.0
    assert len(backoff) == 0
