"""Token buckets."""

from controller.admin import limits
from controller.admin.limits import Buckets


def test_a_burst_and_then_the_rate() -> None:
    buckets = Buckets(2.0, 3.0)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", 0.0) == 0.5
    assert buckets.take("a", 0.25) == 0.25
    assert buckets.take("a", 0.5) == 0.0
    assert buckets.take("b", 0.5) == 0.0
    assert buckets.take("a", 100.0) == 0.0
    assert [buckets.take("a", 100.0) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_keys_are_bounded() -> None:
    buckets = Buckets(1.0, 1.0)
    for number in range(3 * limits.MAX_KEYS):
        buckets.take(str(number), 0.0)
    assert len(buckets._levels) == limits.MAX_KEYS
    assert buckets.take(str(3 * limits.MAX_KEYS - 1), 0.0) > 0
