"""Certificates of the RPC servers, reloaded when their files change; channels.py does the same for clients.

A certificate is used only together with its own key, so a half-finished change of the files is never served.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Self

import grpc
import msgspec

from fleet.runtime.files import read_regular
from fleet.runtime.process import StartError
from fleet.runtime.tlsparts import MAX_PEM_BYTES
from fleet.runtime.watch import Stamp, stamp

__all__ = ["Material", "TlsError", "TlsFiles", "read_authority", "server_credentials"]

_log = logging.getLogger(__name__)


class TlsError(StartError):
    """The certificate files cannot be used. The message is one line for an operator."""


class Material(msgspec.Struct, frozen=True):
    """The contents of the files, checked to belong together. PEM."""

    cert: bytes
    key: bytes
    ca: bytes | None


class TlsFiles(msgspec.Struct, frozen=True):
    """Paths of a certificate, of its key and, for mTLS, of the authorities that sign the peer's certificate. PEM."""

    cert: Path
    key: Path
    ca: Path | None = None

    @classmethod
    def of(cls, cert: str, key: str, ca: str = "") -> Self | None:
        """The files named in the settings, which were checked to be a complete set; None when none is named. A partial set
        raises an error; it is never treated as plain text."""
        if not (cert or key or ca):
            return None
        return cls(Path(cert), Path(key), Path(ca) if ca else None)

    def read(self) -> Material:
        """Read and check the files. Raises TlsError."""
        material = Material(_bytes_of(self.cert), _bytes_of(self.key), None if self.ca is None else read_authority(self.ca))
        self._check(material)
        return material

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.cert, self.key, self.ca) if path is not None)

    def stamps(self) -> tuple[Stamp, ...]:
        """Changes when a file changes; cheap enough for each handshake."""
        return tuple(stamp(path) for path in self.paths)

    def _check(self, material: Material) -> None:
        from fleet.runtime import pem  # noqa: PLC0415  # what it imports costs memory, and most processes have no TLS

        if not pem.is_certificate(material.cert):
            raise TlsError(f"{self.cert}: not a certificate in PEM")
        if not pem.is_key(material.key):
            raise TlsError(f"{self.key}: not a private key in PEM without a password")
        try:
            belongs = pem.is_pair(material.cert, material.key)
        except pem.PemError as error:
            raise TlsError(f"{self.cert}: cannot be used: {error}") from error
        if not belongs:
            raise TlsError(f"{self.key}: not the key of the certificate in {self.cert}")


def read_authority(path: Path) -> bytes:
    """The certificates of authorities, PEM, and nothing else that is in the file. Raises TlsError."""
    from fleet.runtime import pem  # noqa: PLC0415  # as above

    read = _bytes_of(path)
    if not pem.is_certificate(read):
        raise TlsError(f"{path}: not a certificate in PEM")
    try:
        found = pem.authorities_of(read)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
    except (pem.PemError, ssl.SSLError) as error:
        raise TlsError(f"{path}: cannot be used: {error}") from error
    return found.encode("ascii")


def _bytes_of(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_PEM_BYTES)
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror}") from error


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that follow the files; client certificates are required when there is a `ca`. Raises TlsError."""
    reload = _ServerReload(files)
    return grpc.dynamic_ssl_server_credentials(
        reload.configuration,
        reload,  # type: ignore[arg-type]  # the published types forget the None that says "no change"
        require_client_authentication=files.ca is not None,
    )


class _ServerReload:
    """Called by gRPC at every handshake, on its own thread: returns the new configuration, or None to keep the last."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = files.stamps()
        self.configuration = _configuration(files.read())

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        stamps = self._files.stamps()
        if stamps == self._seen:
            return None
        self._seen = stamps
        try:
            material = self._files.read()
        except TlsError as error:
            _log.warning("certificates not reloaded, the last good ones stay: %s", error)
            return None
        _log.info("certificates reloaded from %s", self._files.cert)
        return _configuration(material)


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(material.key, material.cert)], root_certificates=material.ca)
