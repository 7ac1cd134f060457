"""Whether PEM files contain what they should, and belong together. Bytes only.

Imported by tls.py when the first certificate is read: the cryptography library takes 8 MB, and a process without certificates
should not load it.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

__all__ = ["Leaf", "is_certificate", "is_key", "is_pair", "leaf_of"]


class Leaf(NamedTuple):
    """What a server's own certificate says: the first one in its file."""

    names: tuple[str, ...]
    """Host names in lower case, as "a.test" or "*.a.test"."""
    not_before: dt.datetime
    not_after: dt.datetime
    issuer: str


def leaf_of(pem: bytes) -> Leaf:
    """Of a certificate that was checked by `is_certificate`. Its common name is used only if it has no other (RFC 9525 2)."""
    cert = x509.load_pem_x509_certificates(pem)[0]
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = [str(name.value) for name in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    lower = dict.fromkeys(name.lower().rstrip(".") for name in names)
    return Leaf(tuple(lower), cert.not_valid_before_utc, cert.not_valid_after_utc, cert.issuer.rfc4514_string())


def is_certificate(pem: bytes) -> bool:
    """Whether it contains one certificate or several."""
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError:
        return False
    return True


def is_key(pem: bytes) -> bool:
    """Whether it contains a private key without a password."""
    try:
        load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def is_pair(cert: bytes, key: bytes) -> bool:
    """Whether the key belongs to the first certificate."""
    of_key = load_pem_private_key(key, password=None).public_key()
    of_cert = x509.load_pem_x509_certificates(cert)[0].public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return of_key.public_bytes(*form) == of_cert.public_bytes(*form)
