"""Certificates that are malformed in every place: whatever they are, there is an answer, and never another exception."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet.runtime.certificates import certificates_of_pem
from fleet.runtime.pem import PemError, are_authorities, authorities_of, is_certificate, is_key, is_pair, leaf_of
from tests.support.certificates import Authority, as_pem, der_of, of_version

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # of serial numbers

AUTHORITY = Authority()
CERT, KEY = AUTHORITY.issue("a.test", "a.test", "*.a.test", "127.0.0.1")


def broken(pem: bytes) -> Iterator[bytes]:
    """With each byte changed, in three ways."""
    whole = der_of(pem)
    for position in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(whole)
            changed[position] ^= change
            yield as_pem(bytes(changed))


def asked_everything(pem: bytes) -> bool:
    """Whether anything is found wrong. Raises nothing."""
    try:
        leaf_of(pem)
        fine = is_pair(pem, KEY)
        authorities_of(pem)
    except PemError:
        fine = False
    assert is_certificate(pem) or not fine
    return not fine


def test_every_byte_of_a_certificate_broken() -> None:
    found = [asked_everything(pem) for pem in broken(CERT)]
    assert 0 < sum(found) < len(found), "some of them do no harm, such as those of the signature"
    assert not asked_everything(CERT)


def test_the_page_shows_each_of_them() -> None:
    for pem in broken(CERT):
        assert len(list(certificates_of_pem("RPC server", pem))) == 1


@pytest.mark.parametrize("version", [1, 3, 127])
def test_a_version_that_there_is_not(version: int) -> None:
    pem = of_version(CERT, version)
    assert not is_certificate(pem)
    assert not are_authorities(AUTHORITY.pem + pem)
    with pytest.raises(PemError, match="version"):
        leaf_of(pem)


def test_a_key_of_an_unknown_kind() -> None:
    unknown = as_pem(der_of(CERT).replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0277"), 1))
    with pytest.raises(PemError, match="Unknown key type"):
        is_pair(unknown, KEY)
    assert not is_key(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


@pytest.mark.parametrize(
    "bundle",
    [
        "# Főtanúsítvány\n".encode() + AUTHORITY.pem,
        b"# \xff\xfe\0\n" + AUTHORITY.pem + b"\xff",
        AUTHORITY.pem.replace(b"\n", b"\r\n"),
        AUTHORITY.pem.replace(b"\n", b""),
        AUTHORITY.pem.replace(b"CERTIFICATE-", b"X509 CERTIFICATE-"),
    ],
)
def test_authorities_between_whatever_bundles_have(bundle: bytes) -> None:
    assert authorities_of(bundle) == AUTHORITY.pem.decode()
    assert authorities_of(bundle + bundle) == AUTHORITY.pem.decode() * 2
