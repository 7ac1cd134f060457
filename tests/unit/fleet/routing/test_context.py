"""The context of a request: what names a preview, in which order, and how the name goes on to the next application."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet.routing.context import Context, Source
from fleet.routing.previews import Previews
from tests.support.growth import grows

ALL = Context(Previews(baggage="preview", cookie="preview"))
HEADER = b"uber-ctx-key"
Pairs = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("fields", "source", "name"),
    [
        ([], Source.NONE, b""),
        ([(HEADER, b"f1")], Source.HEADER, b"f1"),
        ([(HEADER, b"f1"), (HEADER, b"f1")], Source.HEADER, b"f1"),
        ([(HEADER, b"f1"), (HEADER, b"f2")], Source.HEADER, b""),
        ([(HEADER, b"f1, f2")], Source.HEADER, b""),
        ([(HEADER, b"F1")], Source.HEADER, b""),
        ([(HEADER, b"../f1")], Source.HEADER, b""),
        ([(HEADER, b"j" * 8192)], Source.HEADER, b""),
        ([(HEADER, b"")], Source.NONE, b""),
        ([(b"uber_ctx_key", b"f1")], Source.NONE, b""),
        ([(HEADER, b"f1"), (b"baggage", b"preview=f2"), (b"cookie", b"preview=f3")], Source.HEADER, b"f1"),
        ([(HEADER, b"!"), (b"baggage", b"preview=f2"), (b"cookie", b"preview=f3")], Source.HEADER, b""),
        ([(b"baggage", b"a=1 , preview = f2 ;ttl=3, b=2"), (b"cookie", b"preview=f3")], Source.BAGGAGE, b"f2"),
        ([(b"baggage", b"preview=f1"), (b"baggage", b"preview=f2")], Source.BAGGAGE, b""),
        ([(b"baggage", b"preview=f1,preview=f1")], Source.BAGGAGE, b"f1"),
        ([(b"baggage", b"xpreview=f1,preview,preview=,=,;,,")], Source.NONE, b""),
        ([(b"cookie", b"a=1; preview=f3; b=2")], Source.COOKIE, b"f3"),
        ([(b"cookie", b"a=1"), (b"cookie", b'preview="f3"')], Source.COOKIE, b"f3"),
        ([(b"cookie", b"preview=f3; preview=f4")], Source.COOKIE, b"f3"),
        ([(b"cookie", b"preview=; xpreview=f1")], Source.NONE, b""),
        ([(b"cookie", b"a=1;preview=f1"), (b"cookie", b"\t ; \tpreview=f2 \t; b=2")], Source.COOKIE, b"f1"),
        # A blank within a value is a part of it, and one within a name makes it another name.
        *(
            ([(b"cookie", b"a=1; preview=" + value)], Source.COOKIE, b"")
            for value in (b"f 1", b"f\t1", b" f1", b'"f 1"', b'"f1', b'f1"', b'""f1""', b'" f1"', b'"')
        ),
        *(([(b"cookie", b"a=1; " + name + b"=f1")], Source.NONE, b"") for name in (b"pre view", b"preview ", b"pre\tview")),
        ([(b"cookie", b"preview=f1;evil\x80")], Source.COOKIE, b"f1"),
    ],
)
def test_what_names_a_preview(fields: Pairs, source: Source, name: bytes) -> None:
    assert ALL.read(fields) == (source, name)


def test_the_host_comes_before_everything() -> None:
    assert ALL.read([(HEADER, b"f1"), (b"baggage", b"preview=f2")], b"f0") == (Source.HOST, b"f0")


def test_sources_that_are_not_asked_for_are_not_read() -> None:
    assert Context(Previews()).read([(b"baggage", b"uber-ctx-key=f2"), (b"cookie", b"uber-ctx-key=f3")]).source is Source.NONE
    assert Context(Previews(header="X-Preview")).read([(b"x-preview", b"f1"), (HEADER, b"f2")]) == (Source.HEADER, b"f1")


def test_the_name_is_carried_in_the_header_and_in_baggage() -> None:
    assert Context(Previews()).carried([(b"baggage", b"a=1")], b"f1") == ((HEADER, b"f1"),)
    given: Pairs = [(b"baggage", b"a=1;p=q, preview=f2"), (b"baggage", b" b=2,,preview=f3;x")]
    assert ALL.carried(given, b"f1") == ((HEADER, b"f1"), (b"baggage", b"preview=f1,a=1;p=q,b=2"))
    assert ALL.carried([], b"f1") == ((HEADER, b"f1"), (b"baggage", b"preview=f1"))
    # What is too long for readers of baggage is dropped at its end, where the own member is not.
    long: Pairs = [(b"baggage", b",".join(b"k%d=v" % number for number in range(1500)))]
    assert ALL.carried(long, b"f1")[1][1].startswith(b"preview=f1,k0=v,")


def test_headers_that_are_carried_replace_look_alikes() -> None:
    assert Context(Previews(header="X_Ctx")).names == {b"x-ctx"}
    assert ALL.names == {b"uber-ctx-key", b"baggage"}


def test_the_cookie() -> None:
    assert ALL.cookie(b"f1", domain=b"", secure=False) == b"preview=f1; Path=/; HttpOnly; SameSite=Lax"
    told = ALL.cookie(b"f1", domain=b"example.com", secure=True)
    assert told == b"preview=f1; Path=/; HttpOnly; SameSite=Lax; Domain=example.com; Secure"


@pytest.mark.parametrize(
    "piece", [b"preview=f1,", b",", b"preview", b"=;", b"preview=f1;", b"a=b; ", b" preview=", b";\t preview=f1", b"; \t"]
)
def test_reading_costs_as_much_as_the_bytes(piece: bytes) -> None:
    def reading(size: int) -> Callable[[], object]:
        fields = [(b"baggage", piece * size), (b"cookie", piece * size)]
        return lambda: (ALL.read(fields), ALL.carried(fields, b"f1"))

    assert grows(reading, (100, 800, 6400)) is None
