"""The authority of `weir up --tls`: made once, for names of this machine only, and certificates that follow the file."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from fleet.runtime.process import StartError
from fleet.runtime.tls import TlsFiles
from weir.engine.local_authority import NAMES_AT_ONCE, LocalAuthority, LocalCertificates, authority_directory, is_local


@pytest.fixture
def authority(tmp_path: Path) -> LocalAuthority:
    return LocalAuthority(tmp_path / "authority")


def names_in(path: Path) -> list[str]:
    cert = x509.load_pem_x509_certificate(path.read_bytes())
    return cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def test_it_is_made_once(tmp_path: Path) -> None:
    first = LocalAuthority(tmp_path / "a" / "b")
    made = first.path.read_bytes()
    assert LocalAuthority(tmp_path / "a" / "b").path.read_bytes() == made


def test_nobody_else_can_read_its_key(authority: LocalAuthority) -> None:
    key = authority.path.with_name("authority.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    key.chmod(0o644)
    with pytest.raises(StartError, match="others may read this key"):
        LocalAuthority(authority.path.parent)


@pytest.mark.parametrize(("file", "content"), [("authority.crt", b"x"), ("authority.key", b"x")])
def test_broken_files_are_named_and_not_replaced(authority: LocalAuthority, file: str, content: bytes) -> None:
    path = authority.path.with_name(file)
    path.write_bytes(content)
    with pytest.raises(StartError, match="not what weir up --tls has written"):
        LocalAuthority(authority.path.parent)
    assert path.read_bytes() == content


def test_files_of_two_authorities(authority: LocalAuthority, tmp_path: Path) -> None:
    other = LocalAuthority(tmp_path / "other")
    authority.path.write_bytes(other.path.read_bytes())
    with pytest.raises(StartError, match="do not belong together"):
        LocalAuthority(authority.path.parent)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "*.shop.test", "db.internal", "nas.home.arpa", "printer.local"])
def test_names_that_it_signs_for(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["*", "example.com", "*.com", "localhost.com", "test.org", "arpa", "", "a*.test"])
def test_names_that_it_does_not_sign_for(host: str) -> None:
    assert not is_local(host)


def test_certificates_have_the_names_of_the_file(authority: LocalAuthority, tmp_path: Path) -> None:
    certificates = LocalCertificates(authority, tmp_path / "tls")
    assert list(certificates.write(["A.localhost", "*.shop.test", "example.com", "a.localhost"])) == [
        "localhost", "a.localhost", "*.shop.test",
    ]  # fmt: skip
    assert names_in(tmp_path / "tls" / "000.crt") == ["localhost", "a.localhost", "*.shop.test"]
    TlsFiles(tmp_path / "tls" / "000.crt", tmp_path / "tls" / "000.key").read()  # they belong together


def test_they_are_made_anew_only_for_other_names(authority: LocalAuthority, tmp_path: Path) -> None:
    certificates = LocalCertificates(authority, tmp_path / "tls")
    path = tmp_path / "tls" / "000.crt"
    certificates.write(["a.test"])
    before = path.read_bytes()
    certificates.write(["a.test"])
    assert path.read_bytes() == before
    certificates.write(["b.test"])
    assert names_in(path) == ["localhost", "b.test"]


def test_many_names_are_in_several_certificates(authority: LocalAuthority, tmp_path: Path) -> None:
    certificates = LocalCertificates(authority, tmp_path / "tls")
    certificates.write([f"n{number}.test" for number in range(NAMES_AT_ONCE)])
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["000.crt", "000.key", "001.crt", "001.key"]
    certificates.write(["a.test"])
    assert [path.name for path in (tmp_path / "tls").glob("*.crt")] == ["000.crt"]


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Raises ssl.SSLError."""
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(one, two, server_hostname=name), server.wrap_bio(two, one, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_openssl_takes_them_for_these_names_and_for_no_others(authority: LocalAuthority, tmp_path: Path) -> None:
    certificates = LocalCertificates(authority, tmp_path / "tls")
    certificates.write(["a.localhost", "*.shop.test"])
    client = ssl.create_default_context(cafile=str(authority.path))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls" / "000.crt", tmp_path / "tls" / "000.key")
    for name in ("localhost", "a.localhost", "x.shop.test", "127.0.0.1"):
        handshake(server, client, name)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, client, "b.localhost")


def test_a_stolen_key_is_of_no_use_for_other_names(authority: LocalAuthority, tmp_path: Path) -> None:
    certificates = LocalCertificates(authority, tmp_path / "tls")
    certificates.write([])
    path = tmp_path / "tls" / "000.crt"
    path.write_bytes(authority.issue(["example.com"], certificates._key))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path, path.with_suffix(".key"))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        handshake(server, ssl.create_default_context(cafile=str(authority.path)), "example.com")


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WEIR_TLS_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert authority_directory() == tmp_path / "weir" / "tls"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert authority_directory() == tmp_path / ".local" / "state" / "weir" / "tls"
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "x"))
    assert authority_directory() == tmp_path / "x"
