"""HPACK blocks: caching, compatibility with the hpack library in both directions, and limits."""

from __future__ import annotations

from itertools import count

import pytest
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKDecodingError, HPACKError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.core.messages import Fields
from interceptor.http2.core.block_reader import MAX_BLOCKS, MAX_REMEMBERED_BLOCK, BlockReader
from interceptor.http2.core.block_writer import EVICTION_INTERVAL, MAX_SEEN, BlockWriter
from interceptor.http2.core.block_writer import MAX_BLOCKS as MAX_WRITTEN
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFault, frame
from interceptor.http2.core.frames import settings as settings_frame
from interceptor.http2.core.huffman import MAX_STEPS, _steps, decode
from tests.support.h2_memory import GET, Peer, literal

NAMES = st.sampled_from([b"a", b"content-type", b"x-long-name", b"grpc-status", b"cookie", b"authorization", b"te"])
VALUES = st.sampled_from([b"", b"0", b"trailers", b"application/grpc", b"v" * 200, b"v" * 600]) | st.binary(max_size=300)
LISTS = st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=6), min_size=1, max_size=20)
SIZES = st.lists(st.none() | st.integers(0, 5000), min_size=20, max_size=20)


@settings(deadline=None)
@given(LISTS, SIZES, st.booleans())
def test_we_read_what_the_library_writes(lists: list[list[tuple[bytes, bytes]]], sizes: list[int | None], huffman: bool) -> None:
    encoder, reader = Encoder(), BlockReader(Config())
    for fields, size in zip(lists, sizes, strict=False):
        if size is not None:
            encoder.header_table_size = min(size, 4096)
        assert reader.fields(encoder.encode(fields, huffman=huffman))[0] == fields


@settings(deadline=None)
@given(LISTS, SIZES)
def test_the_library_reads_what_we_write(lists: list[list[tuple[bytes, bytes]]], sizes: list[int | None]) -> None:
    writer, decoder = BlockWriter(), Decoder()
    for fields, size in zip(lists, sizes, strict=False):
        if size is not None:
            writer.resize(size, size)
            decoder.max_allowed_table_size = size
        for _ in range(3):
            block = writer.blocks.get(tuple(fields)) or writer.encode(tuple(fields))
            assert [tuple(field) for field in decoder.decode(block, raw=True)] == fields


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.integers(0, 5000), st.integers(0, 5000))
def test_a_table_that_was_small_for_a_moment_is_reported_as_such(fields: Fields, smallest: int, size: int) -> None:
    writer, decoder = BlockWriter(), Decoder()
    for _ in range(3):
        decoder.decode(writer.encode(tuple(fields)), raw=True)
    writer.resize(min(smallest, size), size)
    decoder.max_allowed_table_size = size
    decoder.header_table_size = min(smallest, size)
    decoder.header_table_size = 4096
    assert [tuple(field) for field in decoder.decode(writer.encode(tuple(fields)), raw=True)] == list(fields)
    assert decoder.header_table_size <= size


def test_a_head_that_comes_again_is_the_same_object() -> None:
    peer, encoder = Peer(), Encoder()
    for number in (1, 3, 5):
        peer.feed(frame(1, 5, number, encoder.encode(GET)))
    assert peer.heads[0] is peer.heads[1]
    assert peer.heads[1] is peer.heads[2]
    peer.feed(frame(1, 5, 7, encoder.encode([*GET, (b"new", b"entry")])))
    peer.feed(frame(1, 5, 9, encoder.encode(GET)))
    assert peer.heads[3] is not peer.heads[2]
    assert peer.heads[4] is peer.heads[2], "a change of the table changes blocks, not what their fields mean"
    assert peer.heads[4].fields == GET


def timed(value: bytes, *, pattern: int = 0x40) -> bytes:
    """A literal of a deadline, which goes into the table."""
    return bytes((pattern, 12)) + b"grpc-timeout" + bytes((len(value),)) + value


def test_a_deadline_is_no_part_of_the_head_that_is_remembered() -> None:
    """It has another value in every call, and encoders put it into their table all the same."""
    peer, blocks = Peer(), [literal(GET) + timed(b"%dm" % at) + literal(((b"te", b"trailers"),)) for at in range(3)]
    for at, block in enumerate(blocks):
        peer.feed(frame(1, 5, 2 * at + 1, block))
    assert [peer.streams[number].deadline for number in (1, 3, 5)] == [b"0m", b"1m", b"2m"]
    assert peer.heads[0].fields == (*GET, (b"te", b"trailers"))
    assert peer.heads[0] is peer.heads[1] is peer.heads[2]
    peer.feed(frame(1, 5, 7, literal((*GET, (b"te", b"trailers")))))
    assert (peer.heads[3], peer.streams[7].deadline) == (peer.heads[0], b"")


@pytest.mark.parametrize(
    "block",
    [
        literal(GET) + timed(b"soon"),
        literal(GET) + timed(b"123456789m"),
        literal(GET) + timed(b"1m", pattern=0x10),
        literal(GET) + timed(b""),
    ],
    ids=["not a deadline", "too long", "never to be indexed", "empty"],
)
def test_what_is_no_usual_deadline_is_a_field_like_others(block: bytes) -> None:
    peer = Peer()
    peer.feed(frame(1, 5, 1, block))
    assert peer.streams[1].deadline == b""
    assert peer.heads[0].fields[-1][0] == b"grpc-timeout"


def test_a_deadline_before_a_pseudo_field_is_malformed() -> None:
    peer = Peer()
    peer.feed(frame(1, 5, 1, literal(GET[:3]) + timed(b"1m") + literal(GET[3:])))
    assert [stream for stream, _ in peer.resets()] == [1]
    peer.feed(frame(1, 5, 3, timed(b"1m") + literal(GET)))
    assert [stream for stream, _ in peer.resets()] == [3]


def test_a_deadline_of_the_table_is_no_part_of_the_head_either() -> None:
    """The same value again: the block says so in one byte."""
    peer, again = Peer(), literal(GET) + b"\xbe"
    peer.feed(frame(1, 5, 1, literal(GET) + timed(b"1m")) + b"".join(frame(1, 5, number, again) for number in (3, 5)))
    assert [peer.streams[number].deadline for number in (1, 3, 5)] == [b"1m", b"1m", b"1m"]
    assert peer.heads[0] is peer.heads[1] is peer.heads[2]
    assert peer.heads[0].fields == GET
    peer.feed(frame(1, 5, 7, literal(GET)))
    assert (peer.heads[3], peer.streams[7].deadline) == (peer.heads[0], b"")


def test_a_block_with_a_deadline_of_the_table_means_another_one_after_a_change() -> None:
    reader, again = BlockReader(Config()), literal(GET) + b"\xbe"
    for value in (b"1m", b"2m"):
        reader.request(literal(GET) + timed(value))
        for _ in range(2):
            reader.request(again)
            assert reader.deadline == value
    reader.request(literal(GET) + timed(b"soon"))
    assert reader.request(again).fields[-1] == (b"grpc-timeout", b"soon")
    assert reader.deadline == b""


def test_blocks_with_a_deadline_of_the_table_are_bounded() -> None:
    reader = BlockReader(Config())
    reader.request(literal(GET) + timed(b"1m"))
    for number in range(3 * MAX_BLOCKS):
        reader.request(literal((*GET, (b"a", b"%d" % number))) + b"\xbe")
        assert 1 <= len(reader.timed) <= MAX_BLOCKS
    before = dict(reader.timed)
    reader.request(literal((*GET, (b"a", b"x" * MAX_REMEMBERED_BLOCK))) + b"\xbe")
    assert reader.deadline == b"1m"
    assert reader.timed == before


def test_of_two_deadlines_none_is_taken_out() -> None:
    """Each is for those who read deadlines among the fields: none passes as it came."""
    peer = Peer()
    peer.feed(frame(1, 5, 1, literal(GET) + timed(b"1m") + timed(b"2m")))
    assert (peer.streams[1].deadline, peer.heads[0].fields[-2:]) == (b"", ((b"grpc-timeout", b"1m"), (b"grpc-timeout", b"2m")))


def test_a_long_token_does_not_keep_a_call_with_a_deadline_from_being_remembered() -> None:
    fields = (*GET, (b"authorization", b"x" * 700), *((b"a", b"%d" % at) for at in range(8)))
    peer, token = Peer(), b"\x40" + literal(fields[len(GET) : len(GET) + 1])[1:]
    peer.feed(frame(1, 5, 1, literal(GET) + token))  # into the table
    for at in range(2):
        peer.feed(frame(1, 5, 2 * at + 3, literal(fields) + timed(b"%dm" % at)))
    assert peer.heads[1] is peer.heads[2]


@given(st.lists(st.sampled_from([*range(1, 64), 70, 126, 127, 128, 200, 400]), max_size=300))
def test_many_indexes_are_what_the_library_reads(indexes: list[int]) -> None:
    """Runs of one byte each, longer ones among them, and such as the table does not have."""
    block = b"".join(bytes((0x80 | index,)) if index < 127 else b"\xff" + leb(index - 127) for index in indexes)
    first = b"".join(b"\x40\x01a\x02%02d" % at for at in range(70))
    reader, decoder = BlockReader(Config()), Decoder()
    reader.fields(first)
    decoder.decode(first, raw=True)
    try:
        expected = [tuple(field) for field in decoder.decode(block, raw=True)]
    except HPACKError:
        with pytest.raises(ConnectionFault):
            reader.fields(block)
    else:
        assert reader.fields(block)[0] == expected[: Config().fields]


def leb(number: int) -> bytes:
    out = b""
    while number >= 128:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


def test_a_change_of_the_table_changes_what_a_block_means() -> None:
    """The same byte means another field after an entry was added, so cached results must be dropped."""
    peer = Peer()
    static = b"\x82\x86\x84"
    peer.feed(frame(1, 5, 1, static + b"\x40\x01a\x011"))
    peer.feed(frame(1, 5, 3, static + b"\xbe") + frame(1, 5, 5, static + b"\x40\x01a\x012") + frame(1, 5, 7, static + b"\xbe"))
    assert [head.fields[-1] for head in peer.heads] == [(b"a", b"1"), (b"a", b"1"), (b"a", b"2"), (b"a", b"2")]


def test_a_change_of_the_table_changes_what_trailers_mean() -> None:
    reader = BlockReader(Config())
    reader.fields(b"\x40\x01a\x011")
    assert reader.trailer(b"\xbe") == ((b"a", b"1"),)
    assert list(reader.trailers) == [b"\xbe"]
    reader.fields(b"\x40\x01a\x012")
    assert not reader.trailers
    assert reader.trailer(b"\xbe") == ((b"a", b"2"),)


def test_a_change_of_our_table_changes_how_a_list_is_written() -> None:
    writer, decoder = BlockWriter(), Decoder()
    first, second = ((b"a", b"1"),), ((b"a", b"2"),)
    for fields in (first, first, first, second, second, first, second):
        block = writer.blocks.get(fields) or writer.encode(fields)
        assert tuple(map(tuple, decoder.decode(block, raw=True))) == fields
    assert len(block) == 1


def test_trailers_are_remembered_apart_from_heads() -> None:
    """A block may be valid as trailers, and invalid as a head."""
    peer = Peer()
    block = literal(((b"a", b"b"),))
    for number in (1, 3):
        peer.feed(frame(1, 4, number, b"\x82\x86\x84") + frame(1, 5, number, block) + frame(1, 5, number + 100, block))
        assert peer.recorded[-1] == ("trailers", number, ((b"a", b"b"),))
        assert [stream for stream, _ in peer.resets()] == [number + 100]
        peer = Peer()


def test_what_is_remembered_is_bounded() -> None:
    reader, writer = BlockReader(Config()), BlockWriter()
    for at in range(3 * MAX_SEEN):
        reader.request(literal((*GET, (b"a", b"%d" % at))))
        reader.trailer(literal(((b"a", b"%d" % at),)))
        writer.encode((*GET, (b"a", b"%d" % at)))
        assert max(len(reader.heads), len(reader.trailers)) <= MAX_BLOCKS
        assert len(writer.blocks) <= MAX_WRITTEN
        assert len(writer._seen) <= MAX_SEEN
    assert list(writer._entries) == [GET[3]], "what comes once is not put into the table"


def test_short_blocks_that_mean_much_are_not_remembered() -> None:
    """An index names an entry of the table as often as the block has it."""
    reader = BlockReader(Config())
    reader.fields(b"\x40" + literal(((b"x-a", b"x" * 3900),))[1:])
    large = literal(GET) + b"\xbe\xbe"
    for _ in range(2):
        assert len(reader.request(large).fields) == len(GET) + 2
        assert reader.response(literal(((b":status", b"200"),)) + b"\xbe\xbe").status == 200
        assert reader.trailer(b"\xbe\xbe") != ()
    assert (reader.heads, reader.trailers, reader._known) == ({}, {}, {})
    reader.request(literal(GET))
    assert len(reader.heads) == 1


def test_a_large_block_is_not_kept_with_its_fields() -> None:
    writer = BlockWriter()
    for size, kept in ((28_000, 0), (100, 1)):
        for _ in range(4):
            writer.encode((*GET, (b"cookie", b"x" * size)))
        assert len(writer.blocks) == kept


def test_what_comes_twice_goes_into_the_table_and_then_costs_a_byte() -> None:
    writer = BlockWriter()
    fields = ((b"content-type", b"application/grpc"), (b"user-agent", b"grpc-go/1.65.0"))
    blocks = [writer.blocks.get(fields) or writer.encode(fields) for _ in range(4)]
    assert b"grpc-go" in blocks[0] and b"grpc-go" in blocks[1]  # noqa: PT018
    assert len(blocks[2]) == 2
    assert blocks[3] is blocks[2]


def test_secrets_are_never_indexed() -> None:
    writer = BlockWriter()
    fields = ((b"authorization", b"Bearer x"), (b"cookie", b"a=b"), (b"set-cookie", b"c=d"))
    for _ in range(4):
        block = writer.encode(fields)
    assert all(isinstance(field, NeverIndexedHeaderTuple) for field in Decoder().decode(block))


def test_what_came_never_indexed_goes_on_so() -> None:
    reader, writer = BlockReader(Config()), BlockWriter()
    head = reader.request(Encoder().encode([*GET, NeverIndexedHeaderTuple(b"x-token", b"t")]))
    assert head.never == {b"x-token"}
    for _ in range(3):
        writer.encode(head.fields)
        decoded = list(Decoder().decode(BlockWriter().encode(head.fields, head.never)))
        assert isinstance(decoded[-1], NeverIndexedHeaderTuple)
    peer = Peer(client=True)
    for _ in range(3):
        peer.request(head.fields)  # the fields are in the table now
    peer.wire()
    peer.session.request(peer.streams[1].sink, head.fields, never=head.never)
    assert peer.wire().endswith(b"\x10\x07x-token\x01t")


def test_entries_that_push_others_out_are_rare() -> None:
    """Fields that are sent only twice, as with many clients, must not invalidate all cached blocks all the time."""
    writer = BlockWriter()
    cleared = 0
    usual: Fields = ((b"a", b"v" * 100),)
    for at in count():
        if at > 20 * EVICTION_INTERVAL:
            break
        once: Fields = ((b"b", b"%0200d" % at),)
        writer.encode(once)
        before = usual in writer.blocks
        writer.encode(once)
        cleared += before and usual not in writer.blocks
        if usual not in writer.blocks:
            writer.encode(usual)
    assert 0 < cleared <= 2 * 20 + 20


def test_a_table_of_zero_bytes() -> None:
    peer = Peer(Config(table=0))
    assert Config(table=0).settings(client=False)[1] == 0
    peer.feed(frame(1, 5, 1, b"\x82\x86\x84"))
    assert peer.fault() == COMPRESSION_ERROR, "the peer knows, and did not say that it obeys"
    peer = Peer(Config(table=0))
    peer.feed(frame(1, 5, 1, b"\x20\x82\x86\x84\x40\x01a\x01b") + frame(1, 5, 3, b"\x82\x86\x84\xbe"))
    assert peer.only("request") == [
        ("request", 1, ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b"a", b"b")), True)
    ]
    assert peer.fault() == COMPRESSION_ERROR, "nothing was kept"


def test_until_the_peer_knows_better_its_table_has_the_usual_size() -> None:
    peer = Peer(Config(table=0), begun=False)
    peer.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame({}))
    peer.feed(frame(1, 5, 1, b"\x82\x86\x84\x40\x01a\x01b") + frame(1, 5, 3, b"\x82\x86\x84\xbe"))
    assert len(peer.only("request")) == 2


def test_a_peer_without_a_table_gets_none() -> None:
    peer = Peer(client=True)
    peer.feed(settings_frame({1: 0}))
    peer.wire()
    for _ in range(4):
        peer.request((*GET, (b"a", b"b")))
    first, *others = peer.frames()
    assert first[3][:1] == b"\x20"
    assert {payload for *_, payload in others} == {first[3][1:]}


BAD_BLOCKS = {
    "an index of zero": b"\x80",
    "an index above the table": b"\xbe",
    "a name above the table": b"\x7f\x00\x00",
    "a string longer than the block": b"\x00\x05a",
    "a name without a value": b"\x00\x01a",
    "an integer without an end": b"\xff\x80",
    "an integer of many bytes": b"\xff" + b"\x80" * 6 + b"\x00",
    "a larger table than is allowed": b"\x3f\xe2\x1f",
    "a larger table for a moment": b"\x3f\xe2\x1f\x20",
    "a size after a field": b"\x82\x20",
    "three sizes": b"\x20\x20\x20\x82",
    "Huffman's code with a wrong end": b"\x00\x81\x00\x01a",
    "Huffman's code with its end mark": b"\x00\x84\xff\xff\xff\xff\x01a",
}


@pytest.mark.parametrize("block", BAD_BLOCKS.values(), ids=BAD_BLOCKS)
def test_blocks_that_cannot_be_read(block: bytes) -> None:
    with pytest.raises(ConnectionFault) as caught:
        BlockReader(Config()).fields(block)
    assert caught.value.code == COMPRESSION_ERROR


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_are_our_error(block: bytes) -> None:
    reader, decoder = BlockReader(Config()), Decoder()
    try:
        fields, _ = reader.fields(block)
    except ConnectionFault:
        return
    assert [tuple(field) for field in decoder.decode(block, raw=True)] == fields


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_huffmans_code_is_read_as_by_the_library(text: bytes) -> None:
    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    assert decode(coded) == text
    for code in (text, coded[:-1], coded + b"\xff"):
        try:
            expected = decode_huffman(code)
        except HPACKDecodingError:
            with pytest.raises(HPACKDecodingError):
                decode(code)
        else:
            assert decode(code) == expected


def test_what_is_remembered_of_huffmans_code_is_bounded() -> None:
    _steps.clear()
    _steps.update({-number: (0, b"", True) for number in range(1, MAX_STEPS + 1)})
    try:
        assert decode(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(b"any text")) == b"any text"
        assert len(_steps) == MAX_STEPS
    finally:
        _steps.clear()


class TestTooMuch:
    """Lists that are longer than allowed."""

    def test_a_bomb_of_indexed_fields(self) -> None:
        """An entry of 4 KB that is referenced by single bytes: 4 MB in a block of 1 KB."""
        peer = Peer()
        block = b"\x82\x86\x84" + b"\x40\x01a" + b"\x7f\x81\x1e" + b"v" * 3968 + b"\xbe" * 1000
        peer.feed(frame(1, 5, 1, block))
        assert peer.heads[0].too_large
        assert sum(len(value) for _, value in peer.heads[0].fields) < 32 * 1024
        peer.feed(frame(1, 5, 3, b"\x82\x86\x84" + b"\xbe" * 1100))
        assert peer.fault() == ENHANCE_YOUR_CALM

    def test_a_large_request_keeps_what_is_needed_to_refuse_it(self) -> None:
        peer, encoder = Peer(), Encoder()
        peer.feed(frame(1, 4, 1, encoder.encode([*GET, *((b"a%d" % at, b"b") for at in range(300))])))
        head = peer.heads[0]
        assert (head.too_large, head.method, head.path, len(head.fields)) == (True, b"GET", b"/", 256)
        peer.feed(frame(1, 5, 3, encoder.encode([*GET, (b"a299", b"b")])))
        assert peer.recorded[-1] == ("request", 3, (*GET, (b"a299", b"b")), True), "the table is still as the peer's"

    def test_a_large_response_ends_its_stream(self) -> None:
        peer = Peer(client=True)
        peer.request()
        peer.wire()
        peer.feed(frame(1, 4, 1, Encoder().encode([(b":status", b"200"), *((b"a%d" % at, b"b") for at in range(300))])))
        assert [stream for stream, _ in peer.resets()] == [1]

    def test_large_trailers_end_their_stream(self) -> None:
        peer = Peer()
        peer.feed(frame(1, 4, 1, b"\x82\x86\x84") + frame(1, 5, 1, Encoder().encode([(b"a%d" % at, b"b") for at in range(300)])))
        assert [stream for stream, _ in peer.resets()] == [1]
