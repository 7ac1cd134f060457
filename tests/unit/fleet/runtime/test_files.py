import os
from pathlib import Path

import pytest

from fleet.discovery.files import FileRoutes
from fleet.runtime.files import read_regular
from fleet.runtime.tls import TlsError, TlsFiles


def test_the_content_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_regular(tmp_path / "a", 3) == b"abc"


def test_a_link_to_a_file_as_a_mounted_secret_has_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b", 3) == b"abc"


def test_more_than_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with pytest.raises(OSError, match="larger than 2 bytes"):
        read_regular(tmp_path / "a", 2)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (".", "Is a directory"),
        ("no", "No such file or directory"),
    ],
)
def test_what_is_no_file_is_reported_at_once(path: str, told: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # without a writer
    with pytest.raises(OSError, match=told):
        read_regular(tmp_path / path, 10)


@pytest.mark.timeout(20)
def test_a_pipe_without_a_writer_as_a_certificate(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tls.crt")
    with pytest.raises(TlsError, match=r"tls\.crt: not a regular file"):
        TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key").read()


@pytest.mark.timeout(20)
async def test_a_pipe_without_a_writer_as_the_routing_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "routes.json")
    source = FileRoutes(tmp_path / "routes.json")
    await source.start()
    await source.close()
    assert "not a regular file" in caplog.text
