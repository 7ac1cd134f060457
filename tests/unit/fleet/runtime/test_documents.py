"""Large documents in small steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from fleet.runtime.documents import BYTES_AT_ONCE, PARTS_AT_ONCE, Pairs, Rows, joined, json_parts
from tests.support.acting import HOSTILE, acting


class Size(msgspec.Struct):
    app: str
    held: int


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_and_pairs_are_arrays_and_objects(count: int) -> None:
    sizes = [Size(f"a/{number}", number) for number in range(count)]
    rows, pairs = Rows(iter(sizes)), Pairs((size.app, size) for size in sizes)
    text = b"".join(json_parts({"version": None, "rows": rows, "within": {"pairs": pairs}}))
    assert msgspec.json.decode(text) == {
        "version": None,
        "rows": [{"app": f"a/{number}", "held": number} for number in range(count)],
        "within": {"pairs": {f"a/{number}": {"app": f"a/{number}", "held": number} for number in range(count)}},
    }


def test_anything_else_is_what_it_is() -> None:
    for value in (None, [1, 2], [], {}, {"a": [Size("a", 1)]}, Rows([]), Pairs([])):
        expected = [] if isinstance(value, Rows) else {} if isinstance(value, Pairs) else msgspec.to_builtins(value)
        assert msgspec.json.decode(b"".join(json_parts(value))) == expected


def test_keys_and_members_act_on_no_terminal() -> None:
    text = b"".join(json_parts({HOSTILE: Pairs([(HOSTILE, HOSTILE)]), "rows": Rows([HOSTILE])}))
    assert not acting(text.decode())
    assert msgspec.json.decode(text) == {HOSTILE: {HOSTILE: HOSTILE}, "rows": [HOSTILE]}


@pytest.mark.parametrize(("part", "most"), [(b"", PARTS_AT_ONCE), (b"x" * 1000, BYTES_AT_ONCE // 1000 + 1)])
async def test_the_event_loop_has_a_turn_after_so_many_parts_and_so_many_bytes(part: bytes, most: int) -> None:
    count, made = 1000, 0
    longest = turns = 0

    def parts() -> Iterator[bytes]:
        nonlocal made
        for _ in range(count):
            made += 1
            yield part

    task = asyncio.create_task(joined(parts()))
    while not task.done():
        before = made
        await asyncio.sleep(0)
        longest, turns = max(longest, made - before), turns + 1
    assert await task == part * count
    assert longest <= most
    assert turns >= count / most
