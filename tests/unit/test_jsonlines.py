"""A reader beside a writer never sees half a line, and misses none."""

from pathlib import Path

from tests.support.jsonlines import JsonLines


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    lines = JsonLines(file)
    assert lines.read() == []
    text, seen = b'{"a": 1}\n{"b": "\xc3\xa9"}\n', []
    with file.open("wb", buffering=0) as writer:
        for position in range(len(text)):
            writer.write(text[position : position + 1])
            seen.append(len(lines.read()))
    assert lines.read() == [{"a": 1}, {"b": "é"}]
    first = text.index(b"\n")
    assert seen == [0] * first + [1] * (len(text) - first - 1) + [2]
