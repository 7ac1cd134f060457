"""Certificates as the page /certs shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from fleet.runtime.certificates import MAX_NAMES, certificates_of_file, certificates_of_pem
from tests.support.certificates import Authority


def test_names_and_times(tmp_path: Path) -> None:
    cert, key = Authority().write(tmp_path, "interceptor")
    (shown,) = certificates_of_file("RPC server", cert)
    assert (shown.purpose, shown.file, shown.problem) == ("RPC server", str(cert), "")
    assert shown.names == ["localhost", "127.0.0.1"]
    assert (shown.subject, shown.issuer) == ("CN=interceptor", "CN=authority")
    assert shown.days_left == 1.0
    expires = datetime.fromisoformat(shown.not_after)
    (later,) = certificates_of_file("RPC server", cert, now=expires + timedelta(days=2))
    assert later.days_left == -2.0
    assert key.read_text().splitlines()[1] not in repr(shown)


def test_several_in_one_file() -> None:
    shown = list(certificates_of_pem("authorities", Authority().pem + Authority().pem, now=datetime.now(UTC)))
    assert len(shown) == 2
    assert shown[0].serial != shown[1].serial


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.crt").write_text("nothing")
    (missing,) = certificates_of_file("RPC server", tmp_path / "missing.crt")
    (empty,) = certificates_of_file("RPC server", tmp_path / "empty.crt")
    assert (missing.problem, empty.problem) == ("No such file or directory", "no certificate in PEM")


def test_a_certificate_of_many_names_is_cut(tmp_path: Path) -> None:
    cert, _ = Authority().write(tmp_path, "many", *(f"a{number}.test" for number in range(MAX_NAMES + 50)))
    (shown,) = certificates_of_file("RPC server", cert)
    assert (len(shown.names), shown.more_names) == (MAX_NAMES, 50)
