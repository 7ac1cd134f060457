"""Whether PEM files are what they should be, and belong together. Bytes only.

Imported by tls.py when the first certificate is read: the library behind it costs 8 MB, and most of a fleet that runs on
one machine has no certificates.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

__all__ = ["is_certificate", "is_key", "is_pair"]


def is_certificate(pem: bytes) -> bool:
    """Whether there is a certificate, or several."""
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError:
        return False
    return True


def is_key(pem: bytes) -> bool:
    """Whether there is a private key that needs no password."""
    try:
        load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def is_pair(cert: bytes, key: bytes) -> bool:
    """Whether the key is that of the first certificate."""
    of_key = load_pem_private_key(key, password=None).public_key()
    of_cert = x509.load_pem_x509_certificates(cert)[0].public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return of_key.public_bytes(*form) == of_cert.public_bytes(*form)
