"""Whether PEM files contain what they should, and belong together. Bytes only; whatever they are, only `PemError` is raised.

Imported by tls.py when the first certificate is read: the cryptography library takes 8 MB, and a process without certificates
should not load it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

__all__ = ["Leaf", "PemError", "are_authorities", "authorities_of", "is_certificate", "is_key", "is_pair", "leaf_of"]

_FAULTS: Final = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""All that the library raises for certificates that are malformed, or that it does not know. Parts of a certificate are read when
they are asked for, so each question may raise them."""


class PemError(Exception):
    """The content cannot be used. The message says why, in one line."""


class Leaf(NamedTuple):
    """What a server's own certificate says: the first one in its file."""

    names: tuple[str, ...]
    """Host names in lower case, as "a.test" or "*.a.test"."""
    not_before: dt.datetime
    not_after: dt.datetime
    issuer: str
    is_rsa: bool
    """Whether its key is of RSA; other keys need the cipher suites of ECDSA."""


def leaf_of(pem: bytes) -> Leaf:
    """Its common name is used only if it has no other (RFC 9525 2). Raises PemError."""
    cert = _certificates(pem)[0]
    try:
        lower = dict.fromkeys(name.lower().rstrip(".") for name in _names(cert))
        is_rsa = isinstance(cert.public_key(), RSAPublicKey)
        return Leaf(tuple(lower), cert.not_valid_before_utc, cert.not_valid_after_utc, cert.issuer.rfc4514_string(), is_rsa)
    except _FAULTS as error:
        raise PemError(_why(error)) from error


def _names(cert: x509.Certificate) -> Sequence[str]:
    try:
        return cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        return [str(name.value) for name in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def authorities_of(pem: bytes) -> str:
    """The certificates in it, and nothing else. Bundles have comments in any encoding between them, and OpenSSL and the library
    differ in what they pass over. Raises PemError."""
    found = _certificates(pem)
    try:
        for cert in found:
            _ = cert.subject, cert.issuer, cert.not_valid_after_utc  # OpenSSL takes none in which these cannot be parsed
    except _FAULTS as error:
        raise PemError(_why(error)) from error
    return "".join(cert.public_bytes(Encoding.PEM).decode("ascii") for cert in found)


def _certificates(pem: bytes) -> list[x509.Certificate]:
    """One or several. Raises PemError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except _FAULTS as error:
        raise PemError(_why(error)) from error


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def is_certificate(pem: bytes) -> bool:
    """Whether it contains one certificate or several."""
    try:
        _certificates(pem)
    except PemError:
        return False
    return True


def are_authorities(pem: bytes) -> bool:
    """Whether it contains one certificate or several, each of which can be that of an authority."""
    try:
        authorities_of(pem)
    except PemError:
        return False
    return True


def is_key(pem: bytes) -> bool:
    """Whether it contains a private key without a password."""
    try:
        load_pem_private_key(pem, password=None)
    except _FAULTS:
        return False
    return True


def is_pair(cert: bytes, key: bytes) -> bool:
    """Whether the key belongs to the first certificate. Raises PemError if one of the two is of an unknown kind."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        of_key = load_pem_private_key(key, password=None).public_key()
        return of_key.public_bytes(*form) == _certificates(cert)[0].public_key().public_bytes(*form)
    except _FAULTS as error:
        raise PemError(_why(error)) from error
