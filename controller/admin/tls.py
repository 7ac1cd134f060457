"""The certificate of the Admin API, read again when its files change. Connections keep the one that they began with."""

from __future__ import annotations

import asyncio
import logging
import ssl

from fleet.runtime.tls import TlsError, TlsFiles

__all__ = ["Certificates"]

LOOK_SECONDS = 5.0
"""Seconds between looks at the files."""

_log = logging.getLogger(__name__)


class Certificates:
    """`context` is for the listener; handshakes use the newest certificate. With a `ca`, clients must show one, too."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsError."""
        self._files = files
        self._stamps = files.stamps()
        self._newest = _context(files)
        self.context = _context(files)
        # Called by every handshake, also by those without a server name.
        self.context.sni_callback = self._choose

    async def follow(self) -> None:
        """Read changed files, until cancelled. Files that cannot be used change nothing."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        stamps = self._files.stamps()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._newest = _context(self._files)
        except TlsError as error:
            _log.warning("certificates not reloaded, the last good ones stay: %s", error)
            return
        _log.info("certificates reloaded from %s", self._files.cert)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._newest


def _context(files: TlsFiles) -> ssl.SSLContext:
    files.read()  # says better what is wrong
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.cert, files.key)
        if files.ca is not None:
            context.load_verify_locations(files.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"{files.cert}: {error}") from error
    return context
