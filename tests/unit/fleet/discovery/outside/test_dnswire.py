"""The codec of DNS, with dnspython as an independent peer; and what hostile servers send."""

from __future__ import annotations

import itertools
import struct
import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.discovery.outside.dnswire import (
    AAAA,
    MAX_MESSAGE,
    NO_ERROR,
    NX_DOMAIN,
    A,
    Answer,
    WireError,
    name_bytes,
    parse_answer,
    query,
)
from tests.support.full import examples

NAME = "api.example.com"
WIRE = name_bytes(NAME)
_KINDS = {A: "A", AAAA: "AAAA"}


def made(
    *sets: tuple[str, int, str, list[str]], kind: int = A, rcode: int = NO_ERROR, soa: tuple[int, int] | None = None
) -> bytes:
    """An answer with sets of (name, TTL, type, data), as dnspython writes it."""
    asked = dns.message.make_query(f"{NAME}.", _KINDS[kind], id=7)
    answer = dns.message.make_response(asked)
    answer.set_rcode(dns.rcode.Rcode(rcode))
    for name, ttl, what, data in sets:
        answer.answer.append(dns.rrset.from_text_list(name, ttl, "IN", what, data))
    if soa is not None:
        text = f"ns.example.com. root.example.com. 1 2 3 4 {soa[1]}"
        answer.authority.append(dns.rrset.from_text("example.com.", soa[0], "IN", "SOA", text))
    return answer.to_wire(max_size=65535)


def parsed(data: bytes, kind: int = A) -> Answer | None:
    return parse_answer(data, 7, WIRE, kind)


@pytest.mark.parametrize("kind", [A, AAAA])
@pytest.mark.parametrize("name", [NAME, "a", "_x.y.", "UPPER.example.COM."])
def test_a_question_is_what_dnspython_reads(name: str, kind: int) -> None:
    read = dns.message.from_wire(query(4711, name_bytes(name), kind))
    assert read.id == 4711
    assert read.flags == dns.flags.RD
    assert len(read.question) == 1
    assert read.question[0].name == dns.name.from_text(name.lower())
    assert (read.question[0].rdtype, read.question[0].rdclass) == (kind, 1)


def test_addresses() -> None:
    found = parsed(made((f"{NAME}.", 60, "A", ["192.0.2.1", "192.0.2.2"])))  # dnspython shuffles them
    assert found is not None
    assert found._replace(addresses=tuple(sorted(found.addresses))) == Answer(NO_ERROR, False, ("192.0.2.1", "192.0.2.2"), 60)
    found = parsed(made((f"{NAME}.", 9, "AAAA", ["2001:db8::1"]), kind=AAAA), AAAA)
    assert found == Answer(NO_ERROR, truncated=False, addresses=("2001:db8::1",), ttl=9)


def test_a_chain_has_its_lowest_ttl_in_whatever_order() -> None:
    chain = [(f"{NAME}.", 50, "CNAME", ["b.test."]), ("b.test.", 5, "CNAME", ["c.test."]), ("c.test.", 500, "A", ["192.0.2.9"])]
    for order in (chain, chain[::-1]):
        assert parsed(made(*order)) == Answer(NO_ERROR, truncated=False, addresses=("192.0.2.9",), ttl=5)


def test_answers_for_other_names_are_not_taken() -> None:
    stray = made(("evil.test.", 60, "A", ["192.0.2.66"]), (f"{NAME}.", 60, "A", ["192.0.2.1"]))
    found = parsed(stray)
    assert found is not None
    assert found.addresses == ("192.0.2.1",)
    only = parsed(made(("evil.test.", 60, "A", ["192.0.2.66"]), (f"{NAME}.", 60, "AAAA", ["2001:db8::1"])))
    assert only == Answer(NO_ERROR, truncated=False)


def test_what_is_not_there_has_the_ttl_of_the_authority() -> None:
    assert parsed(made(rcode=NX_DOMAIN, soa=(300, 20))) == Answer(NX_DOMAIN, truncated=False, ttl=20)
    assert parsed(made(soa=(10, 20))) == Answer(NO_ERROR, truncated=False, ttl=10)
    assert parsed(made(rcode=NX_DOMAIN)) == Answer(NX_DOMAIN, truncated=False, ttl=0)


def test_a_server_that_cannot_answer() -> None:
    assert parsed(made(rcode=2)) == Answer(2, truncated=False)
    assert parsed(struct.pack("!HHHHHH", 7, 0x8005, 0, 0, 0, 0)) == Answer(5, truncated=False)
    assert parsed(struct.pack("!HHHHHH", 7, 0x8000, 0, 0, 0, 0)) is None  # "there is nothing" has to say of what


def test_a_truncated_answer_says_only_that() -> None:
    data = bytearray(made((f"{NAME}.", 60, "A", ["192.0.2.1"])))
    data[2] |= 0x02
    assert parsed(bytes(data)) == Answer(NO_ERROR, truncated=True)


def test_an_answer_to_something_else_is_none() -> None:
    good = made((f"{NAME}.", 60, "A", ["192.0.2.1"]))
    assert parse_answer(good, 8, WIRE, A) is None
    assert parse_answer(good, 7, name_bytes("other.example.com"), A) is None
    assert parse_answer(good, 7, WIRE, AAAA) is None
    assert parse_answer(query(7, WIRE, A), 7, WIRE, A) is None  # a question
    assert parse_answer(b"", 7, WIRE, A) is parse_answer(good[:11], 7, WIRE, A) is None


def test_the_case_of_a_name_does_not_matter() -> None:
    data = made((f"{NAME.upper()}.", 60, "A", ["192.0.2.1"])).replace(b"\x03api", b"\x03ApI", 1)
    found = parsed(data)
    assert found is not None
    assert found.addresses == ("192.0.2.1",)


@pytest.mark.parametrize("length", [2, 5, 17, 18])
def test_a_circle_or_an_endless_chain_is_refused(length: int) -> None:
    names = [f"{NAME}.", *(f"n{number}.test." for number in range(1, length))]
    circle = [(name, 60, "CNAME", [names[(at + 1) % length]]) for at, name in enumerate(names)]
    with pytest.raises(WireError, match="CNAME"):
        parsed(made(*circle))


def _record(owner: bytes, kind: int = A, ttl: int = 60, data: bytes = b"\x01\x02\x03\x04", length: int | None = None) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data) if length is None else length) + data


def _raw(*records: bytes, count: int | None = None) -> bytes:
    number = len(records) if count is None else count
    return struct.pack("!HHHHHH", 7, 0x8180, 1, number, 0, 0) + WIRE + struct.pack("!HH", A, 1) + b"".join(records)


@pytest.mark.parametrize(
    "data",
    [
        _raw(count=1),
        _raw(_record(b"\xc0\x0c"), count=2),
        _raw(_record(b"\xc0\x0c", length=400)),
        _raw(_record(b"\xc0\x0c", data=b"\x01\x02\x03")),
        _raw(_record(b"\xc0\x0c", data=b"")),
        _raw(_record(b"\xc0\x21")),  # to itself
        _raw(_record(b"\xc1\xff")),  # to behind itself
        _raw(_record(b"\xc0\x00")),  # into the header
        _raw(_record(b"\x40a")),
        _raw(_record(b"\x80a")),
        _raw(_record(b"\x3f")),
        _raw(_record(b"\x01a" * 200 + b"\x00")),
        _raw(b"\xc0"),
        _raw(_record(b"\xc0\x0c", kind=5, data=b"\xc0")),
        _raw(count=65535),
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        parsed(data)


def test_a_ttl_that_is_no_ttl_is_0() -> None:
    assert parsed(_raw(_record(b"\xc0\x0c", ttl=0x80000000))) == Answer(NO_ERROR, False, ("1.2.3.4",), 0)
    assert parsed(_raw(_record(b"\xc0\x0c", ttl=0xFFFFFFFF))) == Answer(NO_ERROR, False, ("1.2.3.4",), 0)


def test_the_same_address_many_times_is_one() -> None:
    assert parsed(_raw(*[_record(b"\xc0\x0c")] * 500)) == Answer(NO_ERROR, False, ("1.2.3.4",), 60)


def _pointers(count: int) -> bytes:
    """Records whose owners are chains of pointers, as long as they may be."""
    start = 12 + len(WIRE) + 4
    names = [b"\xc0\x0c"]
    at = start
    records = []
    for _ in range(count):
        record = _record(names[-1])
        records.append(record)
        names.append(struct.pack("!H", 0xC000 | at))
        at = at + len(record) if at + len(record) < 0x3FFF else at
    return _raw(*records)


def test_the_largest_answers_take_little_time() -> None:
    for data in (_raw(*[_record(b"\xc0\x0c", data=struct.pack("!I", n)) for n in range(1000)]), _pointers(1000)):
        assert len(data) <= MAX_MESSAGE
        began = time.thread_time()
        parsed(data)
        assert time.thread_time() - began < 0.1  # of CPU; about 2 ms


_LABELS = st.lists(st.from_regex(r"\A[a-z0-9]{1,8}\Z"), min_size=1, max_size=4).map(".".join)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.ip_addresses(v=4), min_size=1, max_size=8, unique=True), st.lists(_LABELS, max_size=5, unique=True), st.data())
def test_chains_are_followed_as_dnspython_follows_them(addresses: list[object], names: list[str], data: st.DataObject) -> None:
    hops = [f"{NAME}.", *(f"{name}.test." for name in names)]
    sets = [(one, data.draw(st.integers(0, 1000)), "CNAME", [other]) for one, other in itertools.pairwise(hops)]
    sets.append((hops[-1], data.draw(st.integers(0, 1000)), "A", [str(address) for address in addresses]))
    wire = made(*data.draw(st.permutations(sets)))
    found, read = parsed(wire), dns.message.from_wire(wire)
    assert isinstance(read, dns.message.QueryMessage)
    chain = read.resolve_chaining()
    assert found is not None
    assert chain.answer is not None
    assert set(found.addresses) == {str(one) for one in chain.answer}
    assert found.ttl == chain.minimum_ttl


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=300), st.integers(0, 4))
def test_garbage_is_an_answer_or_an_error_and_ends(garbage: bytes, sections: int) -> None:
    for data in (garbage, _raw(garbage, count=sections)):
        try:
            found = parsed(data)
        except WireError:
            continue
        assert found is None or isinstance(found, Answer)
