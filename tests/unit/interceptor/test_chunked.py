"""Chunked bodies: what is passed on unchanged, rewritten, or refused, and every limit."""

from __future__ import annotations

import pytest

from interceptor.http1.chunked import (
    LINES_AT_ONCE,
    MAX_EXTENSION_BYTES,
    MAX_LINE_BYTES,
    MAX_TRAILER_BYTES,
    MAX_TRAILERS,
    ChunkedReader,
    ChunkError,
)

PLAIN = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


def read(data: bytes, *, plain: bool = False, step: int = 0) -> tuple[bytes, bytes]:
    reader = ChunkedReader(plain=plain)
    size = step or len(data)
    out = b""
    for at in range(0, len(data), size):
        assert not reader.done
        out += reader.feed(data[at : at + size])
    assert reader.done
    return out, reader.rest


def feed_all(reader: ChunkedReader, parts: list[bytes]) -> None:
    for part in parts:
        reader.feed(part)


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
def test_a_canonical_body_passes_as_it_came(step: int) -> None:
    assert read(PLAIN, step=step) == (PLAIN, b"")
    assert read(PLAIN, plain=True, step=step) == (b"hello world", b"")


def test_a_whole_body_costs_no_copy() -> None:
    assert ChunkedReader().feed(PLAIN) is PLAIN


def test_the_middle_of_a_large_chunk_costs_no_copy() -> None:
    reader = ChunkedReader()
    reader.feed(b"fffff\r\n")
    piece = b"x" * 1000
    assert reader.feed(piece) is piece


def test_what_follows_is_kept_apart() -> None:
    assert read(PLAIN + b"GET / HTTP/1.1\r\n") == (PLAIN, b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("step", [0, 1])
def test_extensions_are_left_out(step: int) -> None:
    assert read(b'5;a;b=c;d="e;\\"f"\r\nhello\r\n0;z\r\n\r\n', step=step) == (b"5\r\nhello\r\n0\r\n\r\n", b"")


@pytest.mark.parametrize("step", [0, 1])
def test_trailers_pass_but_for_those_that_mean_nothing_there(step: int) -> None:
    body = b"0\r\nX-Sum:  1 \r\nContent-Length: 5\r\nhost: x\r\nSet-Cookie: a\r\nEmpty:\r\n\r\n"
    assert read(body, step=step)[0] == b"0\r\nX-Sum: 1\r\nEmpty: \r\n\r\n"
    assert read(body, plain=True)[0] == b""


@pytest.mark.parametrize(
    "data",
    [b"x\r\n", b"\r\n", b"5 \r\n", b" 5\r\n", b"5;\r\n", b"0x5\r\n", b"+5\r\n", b"-5\r\n", b"5_0\r\n", b"5\n", b"5\r\nhelloX\r\n",
     b"5\r\nhello\n", b"5;a=\x00\r\n", b'5;a="b\r\n', b"1" * 16 + b"\r\n", b"0\r\nX\r\n", b"0\r\nX : y\r\n", b"0\r\n : y\r\n",
     b"0\r\nX: y\n\r\n", b"0\r\nX: \x01\r\n"],
)  # fmt: skip
def test_nothing_is_repaired(data: bytes) -> None:
    with pytest.raises(ChunkError):
        ChunkedReader().feed(data)
    reader = ChunkedReader()
    with pytest.raises(ChunkError):
        feed_all(reader, [data[at : at + 1] for at in range(len(data))])


def test_lines_extensions_and_trailers_are_bounded() -> None:
    with pytest.raises(ChunkError, match="too long"):
        ChunkedReader().feed(b"5;a=" + b"b" * MAX_LINE_BYTES)
    reader = ChunkedReader()
    with pytest.raises(ChunkError, match="extensions"):
        feed_all(reader, [b"1;" + b"a" * 100 + b"\r\nx\r\n"] * MAX_EXTENSION_BYTES)
    reader = ChunkedReader()
    reader.feed(b"0\r\n")
    with pytest.raises(ChunkError, match="trailers"):
        feed_all(reader, [b"X: " + b"y" * 100 + b"\r\n"] * MAX_TRAILER_BYTES)


def test_the_largest_size_is_taken_and_one_more_digit_is_not() -> None:
    reader = ChunkedReader()
    assert reader.feed(b"f" * 15 + b"\r\nx") == b"f" * 15 + b"\r\nx"
    with pytest.raises(ChunkError):
        ChunkedReader().feed(b"f" * 16 + b"\r\nx")


# -- lines cost more than bytes -----------------------------------------------------------------------------------


def test_a_call_reads_a_bounded_number_of_lines() -> None:
    body = b"1\r\na\r\n" * 1000 + b"0\r\n\r\n"
    reader, out, calls = ChunkedReader(), b"", 0
    out += reader.feed(body + b"next")
    while reader.behind:
        taken = reader.feed()
        assert taken.count(b"\n") <= LINES_AT_ONCE
        out, calls = out + taken, calls + 1
    assert (out, reader.done, reader.rest) == (body, True, b"next")
    assert calls >= 2 * 1000 // LINES_AT_ONCE


def test_bytes_that_come_while_a_reader_is_behind_are_not_lost() -> None:
    reader, out = ChunkedReader(plain=True), b""
    for number in range(300):
        out += reader.feed(b"3\r\n%03d\r\n" % number)
    out += reader.feed(b"1\r\na\r\n" * 100)
    assert reader.behind
    out += reader.feed(b"1\r\nz\r\n0\r\n\r\n")
    while reader.behind:
        out += reader.feed()
    assert reader.done
    assert out == b"".join(b"%03d" % number for number in range(300)) + b"a" * 100 + b"z"


def test_trailers_are_bounded_in_number() -> None:
    reader = ChunkedReader()
    reader.feed(b"0\r\n")
    with pytest.raises(ChunkError, match="trailers"):
        feed_all(reader, [b"a:\r\n"] * (MAX_TRAILERS + 1))


@pytest.mark.parametrize("data", [b"zz", b"5\r\nhellox", b"5\x01", b"5\rx", b"0\r\nX\x00", b"5\r\nhello\rx", b"5;a=\x7f"])
def test_what_can_no_longer_become_a_line_is_reported_at_once(data: bytes) -> None:
    for parts in ([data], [data[at : at + 1] for at in range(len(data))]):
        with pytest.raises(ChunkError):
            feed_all(ChunkedReader(), parts)


# -- blanks of the grammar, in answers only -----------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1])
def test_blanks_around_sizes_are_written_clean(step: int) -> None:
    body = b'2   \r\nab\r\n2 ; a=b\r\ncd\r\n2;\r\nef\r\n2\t;\t"x;y"\t\r\ngh\r\n0 \r\n\r\n'
    reader, out = ChunkedReader(lenient=True), b""
    for part in [body] if not step else [body[at : at + 1] for at in range(len(body))]:
        out += reader.feed(part)
    assert out == b"2\r\nab\r\n2\r\ncd\r\n2\r\nef\r\n2\r\ngh\r\n0\r\n\r\n"
    assert reader.done


@pytest.mark.parametrize("line", [b" 2\r\n", b"2 2\r\n", b"\t\r\n", b"2 ; a\x01\r\n", b";a\r\n", b"0x2\r\n", b"2 \n"])
def test_blanks_elsewhere_are_refused_in_answers_too(line: bytes) -> None:
    with pytest.raises(ChunkError):
        ChunkedReader(lenient=True).feed(line)


@pytest.mark.parametrize(
    "name", [b"X-Real-IP", b"x_forwarded_for", b"X-Forwarded-Port", b"Content_Length", b"HTTP2-Settings", b"Forwarded"]
)
def test_trailers_tell_nothing_that_fields_may_not(name: bytes) -> None:
    assert ChunkedReader().feed(b"0\r\n" + name + b": x\r\n\r\n") == b"0\r\n\r\n"
