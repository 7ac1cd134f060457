"""What is changed back again and again is written less and less often."""

from __future__ import annotations

from controller.contest import FORGET_SECONDS, FREE_WRITES, LONGEST_PAUSE_SECONDS, Contest


def fight(contest: Contest, seconds: float) -> list[float]:
    """Somebody changes it back at once, whenever it was written; when it was."""
    now, written = 0.0, []
    while now < seconds:
        pause = contest.pause("web", "ours", now)
        if pause == 0.0:
            contest.wrote("web", "ours", now)
            contest.settled("web")
            written.append(now)
        now += pause
        now = round(now + 0.01, 2)
    return written


def test_a_fight_costs_a_few_writes_a_minute_at_last() -> None:
    written = fight(Contest(), 600.0)
    assert len([when for when in written if when < 10.0]) <= FREE_WRITES + 5
    assert len([when for when in written if when >= 300.0]) <= 300.0 / LONGEST_PAUSE_SECONDS + 1
    assert written[-1] > 500.0, "it is never given up"


def test_who_writes_something_else_waits_for_nothing() -> None:
    contest = Contest()
    for number in range(100):
        assert contest.pause("web", number % 2, float(number)) == 0.0
        assert not contest.wrote("web", number % 2, float(number))
        contest.settled("web")


def test_what_does_not_come_back_by_the_watch_is_no_contest() -> None:
    contest = Contest()
    for number in range(100):
        assert contest.pause("web", "ours", float(number)) == 0.0
        assert not contest.wrote("web", "ours", float(number))


def test_it_says_when_it_is_one_and_forgets() -> None:
    contest = Contest()
    said = []
    for _ in range(FREE_WRITES + 1):
        said.append(contest.wrote("web", "ours", 0.0))
        contest.settled("web")
    assert said == [False] * FREE_WRITES + [True]
    assert contest.pause("web", "ours", 0.0) > 0.0
    assert contest.pause("other", "ours", 0.0) == 0.0
    assert contest.pause("web", "ours", FORGET_SECONDS) == 0.0
    contest.forget("web")
    assert contest.pause("web", "ours", 0.0) == 0.0
    assert len(contest) == 0
