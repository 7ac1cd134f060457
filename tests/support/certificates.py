"""Certificate authorities and certificates for tests, generated when needed."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "as_pem", "der_of", "of_version", "replace"]

_DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates for 127.0.0.1 and localhost, or for given names."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self._cert = _builder(self._name, self._name, self._key.public_key()).add_extension(constraints, critical=True)
        self.pem = self._cert.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, name: str, *names: str, ended: bool = False) -> tuple[bytes, bytes]:
        """A certificate and its key, PEM. `ended`: one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        names_in = [_general(each) for each in names or ("localhost", "127.0.0.1")]
        builder = _builder(_named(name), self._name, key.public_key(), ended=ended)
        cert = builder.add_extension(x509.SubjectAlternativeName(names_in), critical=False).sign(self._key, hashes.SHA256())
        return cert.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, directory: Path, name: str, *names: str, ended: bool = False) -> tuple[Path, Path]:
        """Issue a certificate into directory/name.crt and directory/name.key, each replaced by a rename."""
        paths = directory / f"{name}.crt", directory / f"{name}.key"
        for path, pem in zip(paths, self.issue(name, *names, ended=ended), strict=True):
            replace(path, pem)
        return paths


def der_of(pem: bytes) -> bytes:
    """Of one certificate in PEM."""
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def as_pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def of_version(pem: bytes, version: int) -> bytes:
    """The certificate with another version number: 0 to 2 are versions 1 to 3."""
    return as_pem(der_of(pem).replace(bytes.fromhex("a003020102"), bytes.fromhex("a0030201") + bytes([version]), 1))


def replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}")
    fresh.write_bytes(content)
    fresh.replace(path)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, ended: bool = False
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC) - (2 * _DAY if ended else dt.timedelta())
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _DAY).not_valid_after(now + _DAY)
