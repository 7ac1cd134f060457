"""Archives of charts that want to harm, and those that do not."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.admin.releases import archive
from controller.admin.releases.archive import BadArchive, unpack
from tests.support.charts import CHART, packed, tar_of

GOOD = {"web/Chart.yaml": CHART, "web/templates/a.yaml": "a: 1\n"}


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(at.relative_to(directory)): at.read_bytes() for at in sorted(directory.rglob("*")) if at.is_file()}


def refused(data: bytes, into: Path) -> str:
    with pytest.raises(BadArchive) as refusal:
        unpack(data, into)
    return str(refusal.value)


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_chart_is_unpacked(tmp_path: Path, form: int) -> None:
    long = f"web/templates/{'d' * 80}/{'n' * 90}.yaml"
    unpack(packed({**GOOD, "web/ä.txt": b"\0\xff", long: "x", "./web/b": "y"}, form=form), tmp_path)
    assert files_of(tmp_path) == {
        "Chart.yaml": CHART.encode(), "templates/a.yaml": b"a: 1\n", "ä.txt": b"\0\xff", long[4:]: b"x", "b": b"y",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "web/../../evil", "web/a/../../../evil", "/etc/passwd", "web//etc/passwd", "web/..", "web/a\nb",
        "web/a\x1b[2J", "web/..\\evil", "C:\\evil", "other/Chart.yaml", "web/\u202eyaml", "web/a/" * 30 + "b",
        "web/" + "a" * 256, "web/" + "a/b" * 400,
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_names_that_lead_elsewhere(tmp_path: Path, name: str, form: int) -> None:
    into = tmp_path / "into"
    into.mkdir()
    refused(packed({**GOOD, name: "x"}, form=form), into)
    assert os.listdir(tmp_path) == ["into"]


@pytest.mark.parametrize(
    ("kind", "what"),
    [(tarfile.SYMTYPE, "symbolic link"), (tarfile.LNKTYPE, "hard link"), (tarfile.CHRTYPE, "device"), (tarfile.BLKTYPE, "device"),
     (tarfile.FIFOTYPE, "named pipe"), (tarfile.CONTTYPE, "unknown kind"), (b"S", "sparse file"), (b"Z", "unknown kind")],
)  # fmt: skip
def test_what_is_no_file(tmp_path: Path, kind: bytes, what: str) -> None:
    assert what in refused(packed(GOOD, link("web/values.yaml", "/etc/passwd", kind)), tmp_path)


def test_a_link_and_then_a_file_through_it(tmp_path: Path) -> None:
    info = link("web/templates", "/tmp", tarfile.SYMTYPE)
    data = gzip.compress(info.tobuf() + tar_of({"web/templates/x": "y"}))
    assert "symbolic link" in refused(data, tmp_path)
    assert files_of(tmp_path) == {}


def test_a_bomb_is_read_no_further_than_to_its_bound(tmp_path: Path) -> None:
    """Three times what may be unpacked, in a thousandth of it."""
    compress = zlib.compressobj(1, wbits=31)
    parts = [compress.compress(tar_of({"web/Chart.yaml": CHART})[:1024])]
    for number in range(3 * archive.MAX_UNPACKED // archive.MAX_FILE):
        info = tarfile.TarInfo(f"web/{number}")
        info.size = archive.MAX_FILE
        parts += [compress.compress(info.tobuf()), compress.compress(bytes(info.size))]
    bomb = b"".join([*parts, compress.flush()])
    assert len(bomb) < archive.MAX_ARCHIVE
    tracemalloc.start()
    began = time.process_time()
    text = refused(bomb, tmp_path)
    assert time.process_time() - began < 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * archive.MAX_FILE
    assert "unpacks to more" in text


def test_one_file_of_a_gigabyte(tmp_path: Path) -> None:
    info = tarfile.TarInfo("web/big")
    info.size = 1 << 30
    assert "more than 5242880 bytes" in refused(gzip.compress(tar_of(GOOD)[:2048] + info.tobuf()), tmp_path)


def test_a_bomb_within_a_bomb(tmp_path: Path) -> None:
    inner = packed({"a/Chart.yaml": CHART, **{f"a/{number}": bytes(archive.MAX_FILE) for number in range(3)}})
    outer = packed({**GOOD, "web/charts/a.tgz": inner, "web/charts/b.tgz": inner})
    assert len(outer) < 100_000
    assert "unpacks to more" in refused(outer, tmp_path)


def test_too_many_files(tmp_path: Path) -> None:
    directory = tarfile.TarInfo("web/")
    directory.type = tarfile.DIRTYPE
    good = b"".join(tar_of({name: content})[: 2 * tarfile.BLOCKSIZE] for name, content in GOOD.items())
    for number, entries in ((0, ""), (1, "entries")):
        many = directory.tobuf() * (archive.MAX_FILES - len(GOOD) + number)
        data, into = gzip.compress(good + many + bytes(2 * tarfile.BLOCKSIZE), 1), tmp_path / str(number)
        if entries:
            assert entries in refused(data, into)
        else:
            unpack(data, into)


def test_too_large_as_it_is(tmp_path: Path) -> None:
    assert "bytes" in refused(os.urandom(archive.MAX_ARCHIVE + 1), tmp_path)


def test_charts_within(tmp_path: Path) -> None:
    inner = packed({"b/Chart.yaml": "name: b\n"})
    middle = packed({"a/Chart.yaml": "name: a\n", "a/charts/b-1.tgz": inner})
    unpack(packed({**GOOD, "web/charts/a-1.tgz": middle, "web/charts/_not.tgz": "x", "web/charts/c/Chart.yaml": "c"}), tmp_path)
    found = files_of(tmp_path)
    assert found["charts/a-1/Chart.yaml"] == b"name: a\n"
    assert found["charts/a-1/charts/b-1/Chart.yaml"] == b"name: b\n"
    assert found["charts/_not.tgz"] == b"x"
    assert not any(name.endswith("-1.tgz") for name in found)


def test_charts_within_more_than_a_few_others(tmp_path: Path) -> None:
    data = packed({"a/Chart.yaml": "name: a\n"})
    for _ in range(archive.MAX_NESTED + 1):
        data = packed({"a/Chart.yaml": CHART, "a/charts/a.tgz": data})
    assert "within more than" in refused(data, tmp_path)


def test_names_within_do_not_lead_out(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    inner = packed({"b/../../../evil": "x"})
    assert "leads elsewhere" in refused(packed({**GOOD, "web/charts/b.tgz": inner}), into)
    assert os.listdir(tmp_path) == ["into"]


@pytest.mark.parametrize(
    "files",
    [
        [("web/a", "1"), ("web/a", "2")],
        [("web/a", "1"), ("web/a/b", "2")],
        [("web/a/b", "1"), ("web/a", "2")],
    ],
)
def test_one_name_for_two(tmp_path: Path, files: list[tuple[str, str]]) -> None:
    parts = b"".join(tar_of({name: text})[:1024] for name, text in files)
    text = refused(gzip.compress(tar_of(GOOD)[:2048] + parts + bytes(1024)), tmp_path)
    assert "more than once" in text or "as a file and as a directory" in text


def test_a_subchart_over_a_directory(tmp_path: Path) -> None:
    data = packed({**GOOD, "web/charts/a/Chart.yaml": "1", "web/charts/a.tgz": packed({"a/Chart.yaml": "2"})})
    assert "more than once" in refused(data, tmp_path)


def test_no_chart(tmp_path: Path) -> None:
    assert "no Chart.yaml" in refused(packed({"web/values.yaml": ""}), tmp_path)
    assert "no Chart.yaml" in refused(gzip.compress(b""), tmp_path)


def pax(**fields: str) -> bytes:
    info = tarfile.TarInfo("web/a")
    info.pax_headers = fields
    return gzip.compress(info.tobuf(tarfile.PAX_FORMAT))


def test_headers_that_say_something_else(tmp_path: Path) -> None:
    assert "size of its own" in refused(pax(size="99999999999"), tmp_path)
    assert "linkpath" in refused(pax(linkpath="/etc"), tmp_path)
    assert "sparse" in refused(pax(**{"GNU.sparse.name": "x"}), tmp_path)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "web/all"}):
        pass
    assert "one name for all" in refused(gzip.compress(made.getvalue()), tmp_path)


@pytest.mark.parametrize(
    "field", [b"-0000000001\0", b"0x000000010\0", b"\x80" + bytes(10) + b"\x05", b"\xff" * 12, b"0_000000001\0", bytes(12)]
)
def test_impossible_sizes(tmp_path: Path, field: bytes) -> None:
    header = bytearray(tarfile.TarInfo("web/a").tobuf())
    header[124:136] = field
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    assert "impossible size" in refused(gzip.compress(bytes(header)), tmp_path)


def test_long_name_headers_in_a_row_cost_linear_time(tmp_path: Path) -> None:
    """Each of them sets the name of an entry that never comes; readers that recurse run out of stack."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = b"L", 1
    began = time.process_time()
    assert "entries" in refused(gzip.compress((info.tobuf() + b"x".ljust(512, b"\0")) * 9000), tmp_path)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("cut", [0, 5, 30, -5, -40])
def test_cut_off(tmp_path: Path, cut: int) -> None:
    refused(packed(GOOD)[:cut], tmp_path)


def test_bytes_after_the_end(tmp_path: Path) -> None:
    whole = gzip.compress(tar_of(GOOD)[:2048])
    assert "after its end" in refused(whole + gzip.compress(b"x"), tmp_path)


@given(st.binary(max_size=3000), st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_anything_is_a_chart_or_refused(noise: bytes, at: int, change: bytes) -> None:
    whole = tar_of(GOOD)[:4000]
    for data in (noise, gzip.compress(noise), gzip.compress(whole[:at] + change + whole[at + len(change) :])):
        budget = archive._Budget()
        try:
            for name, _ in archive._entries(archive._Inflated(data, "it", budget), "it", budget):
                assert ".." not in name.split("/")
                assert not name.startswith("/")
        except BadArchive:
            pass
