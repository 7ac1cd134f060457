"""The routing table as ConfigMaps: complete, in shards, always the same bytes; and other content is refused."""

from __future__ import annotations

import base64
import gzip
import json
import random

import pytest

from fleet.discovery.kubernetes import tableformat
from fleet.discovery.kubernetes.tableformat import (
    INDEX_KEY,
    MAX_DATA_BYTES,
    SHARD_KEY,
    TABLE_KEY,
    Document,
    documents,
    index_of,
    table_of,
    whole,
)
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.support.full import FULL


def table(count: int, *, seed: int = 0) -> RoutingTable:
    """Hosts that do not compress well, so that a few need several shards."""
    letters = random.Random(seed)
    names = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=40)) for _ in range(count)]
    return RoutingTable(Route(f"default/{name}", Target(f"default/{name}", 80), (Rule((f"{name}.test",)),)) for name in names)


def shards_of(made: tuple[Document, ...]) -> dict[str, dict[str, str]]:
    return {document.name: dict(document.binary_data) for document in made[:-1]}


def test_a_table_that_fits_is_one_map_that_people_can_read() -> None:
    (document,) = documents("table", table(3))
    assert document.name == "table"
    assert set(document.data) == {TABLE_KEY}
    found = table_of(document.data)
    assert found is not None
    assert found.version == table(3).version
    assert found.routes == table(3).routes


def test_a_larger_one_is_an_index_and_shards_within_the_limit() -> None:
    one = table(100)
    made = documents("table", one, limit=1000)
    *shards, last = made
    assert last.name == "table"
    assert table_of(last.data) is None
    index = index_of(last.data)
    assert index.version == one.version
    assert list(index.shards) == [f"table-{one.version[:10]}-{number}" for number in range(len(shards))]
    assert all(len(base64.b64decode(shard.binary_data[SHARD_KEY])) <= 1000 for shard in shards)
    assert len(shards) > 2
    assert whole(index, shards_of(made)).routes == one.routes


def test_equal_tables_give_equal_documents() -> None:
    one = table(100)
    again = RoutingTable(reversed(one.routes))
    assert documents("table", one, limit=1000) == documents("table", again, limit=1000)
    assert documents("table", one) == documents("table", again)


MANY = 10_000 if FULL else 6_000


def test_shards_of_thousands_of_routes_stay_below_what_a_config_map_holds() -> None:
    large = table(MANY)
    made = documents("table", large)
    assert len(made) > 1
    for document in made:
        assert sum(len(value) for value in document.binary_data.values()) < 1_000_000
    assert whole(index_of(made[-1].data), shards_of(made)).version == large.version
    assert MAX_DATA_BYTES < 1_000_000


def test_shards_of_another_version_make_no_table() -> None:
    new, old = documents("table", table(100), limit=10_000), documents("table", table(100, seed=1), limit=10_000)
    index = index_of(new[-1].data)
    mixed = dict(zip(index.shards, shards_of(old).values(), strict=True))
    with pytest.raises(ValueError, match=r"the shards hold version \w+, the index names"):
        whole(index, mixed)
    some = shards_of(new)
    some.pop(index.shards[0])
    with pytest.raises(ValueError, match=r"table-\w{10}-0' is missing"):
        whole(index, some)


def test_shards_that_are_cut_off_or_no_shards_make_no_table() -> None:
    made = documents("table", table(100), limit=10_000)
    index = index_of(made[-1].data)
    content = shards_of(made)
    first = index.shards[0]
    packed = base64.b64decode(content[first][SHARD_KEY])
    for data, complaint in (
        (base64.b64encode(packed[:-9]).decode(), "cut off"),
        (base64.b64encode(b"no gzip").decode(), "not gzip"),
        ("?", "not base64"),
    ):
        with pytest.raises(ValueError, match=complaint):
            whole(index, content | {first: {SHARD_KEY: data}})


def test_a_shard_does_not_unpack_into_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tableformat, "MAX_TABLE_BYTES", 10_000)
    bomb = base64.b64encode(gzip.compress(b"0" * 1_000_000)).decode()
    index = tableformat.Index("x", ("a",))
    with pytest.raises(ValueError, match="hold more than 10000 bytes"):
        whole(index, {"a": {SHARD_KEY: bomb}})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, "neither table.json nor index.json"),
        ({TABLE_KEY: "{"}, "truncated"),
        ({INDEX_KEY: "[]"}, "Expected `object`"),
        ({INDEX_KEY: json.dumps({"version": "a", "shards": []})}, "0 shards"),
        ({INDEX_KEY: json.dumps({"version": "a", "shards": ["a"] * 65})}, "65 shards"),
        ({INDEX_KEY: json.dumps({"version": "a", "shards": ["a"], "encoding": "br"})}, "encoding 'br' is not known"),
    ],
)
def test_what_is_no_table_is_refused(content: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        table_of(content) or index_of(content)


def test_a_table_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 64 are possible"):
        documents("table", table(300), limit=100)
