"""The certificates that a process uses, as its page /certs shows them: names and times, and never a key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.runtime.files import read_regular
from fleet.runtime.terminal import one_line
from fleet.runtime.tlsparts import MAX_PEM_BYTES

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["MAX_NAMES", "ShownCertificate", "certificates_of_file", "certificates_of_pem"]

MAX_NAMES: Final = 100
"""Names that are shown of one certificate; it may have thousands."""
_SECONDS_A_DAY: Final = 86_400


class ShownCertificate(msgspec.Struct, omit_defaults=True):
    """One certificate."""

    purpose: str
    """What it is used for: "RPC server"."""
    file: str = ""
    names: list[str] = []
    """Those that it is valid for, at most `MAX_NAMES`."""
    more_names: int = 0
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    not_before: str = ""
    not_after: str = ""
    days_left: float | None = None
    """Negative once it has expired."""
    problem: str = ""
    """Why there is nothing else to show."""


def certificates_of_file(purpose: str, path: Path, now: datetime | None = None) -> Iterator[ShownCertificate]:
    """The certificates in a file as it is now; one that says what is wrong if it cannot be read."""
    try:
        pem = read_regular(path, MAX_PEM_BYTES)
    except OSError as error:
        yield ShownCertificate(purpose, str(path), problem=error.strerror or str(error))
        return
    yield from certificates_of_pem(purpose, pem, file=str(path), now=now)


def certificates_of_pem(purpose: str, pem: bytes, *, file: str = "", now: datetime | None = None) -> Iterator[ShownCertificate]:
    """The certificates in PEM, one at a time."""
    from cryptography import x509  # noqa: PLC0415  # it takes 8 MB, and most processes have no certificates

    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        yield ShownCertificate(purpose, file, problem="no certificate in PEM")
        return
    for one in found:
        try:
            yield _shown(purpose, file, one, now or datetime.now(UTC))
        except ValueError as error:  # parts are parsed when they are asked for
            yield ShownCertificate(purpose, file, problem=one_line(str(error)))


def _shown(purpose: str, file: str, one: x509.Certificate, now: datetime) -> ShownCertificate:
    names = _names(one)
    return ShownCertificate(
        purpose,
        file,
        names=[one_line(name) for name in names[:MAX_NAMES]],
        more_names=max(0, len(names) - MAX_NAMES),
        subject=one_line(one.subject.rfc4514_string()),
        issuer=one_line(one.issuer.rfc4514_string()),
        serial=f"{one.serial_number:x}",
        not_before=one.not_valid_before_utc.isoformat(),
        not_after=one.not_valid_after_utc.isoformat(),
        days_left=round((one.not_valid_after_utc - now).total_seconds() / _SECONDS_A_DAY, 1),
    )


def _names(one: x509.Certificate) -> list[str]:
    from cryptography import x509  # noqa: PLC0415

    try:
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        # No names, or extensions that cannot be parsed.
        return []
    return [str(name.value) for name in names]
