"""The certificates of the proxy: chosen by the name that a client asks for (SNI), and read again when their files change.

Each certificate has an SSLContext of its own. A handshake begins with a common context, and Python calls `_choose` with the name,
which replaces the context: two look-ups in a dictionary, however many certificates there are. The common context makes and reads
session tickets, so that sessions survive a change of certificates.

A certificate is used only together with its key. If files have become invalid, what was read of them before stays in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import ssl
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fleet import defaults
from fleet.runtime.certificates import MAX_NAMES, ShownCertificate
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.tls import Material, TlsError, TlsFiles, read_authority
from fleet.runtime.watch import FileWatch, Stamp, stamp
from interceptor.tls.policy import Policy
from interceptor.tls.store import Found, find

__all__ = ["PROTOCOLS", "Certificate", "Certificates", "Clients"]

PROTOCOLS: Final = ["h2", "http/1.1"]
"""Offered by ALPN, the preferred one first. A client that offers none of them, or no ALPN at all, is served by HTTP/1.1."""

logger = logging.getLogger(__name__)


class Clients(NamedTuple):
    """Which certificates clients show."""

    authority: Path
    """Of those who sign them. PEM."""
    required: bool


class Certificate(NamedTuple):
    """One certificate with its key, as it was last read without a fault."""

    files: TlsFiles
    names: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    issuer: str
    context: ssl.SSLContext


class _Read(NamedTuple):
    """The result of reading a pair."""

    stamps: tuple[Stamp, ...]
    certificate: Certificate | None
    fault: str


class Certificates:
    """The certificates of one listener. Start it before `context` is used."""

    def __init__(
        self,
        default: TlsFiles | None,
        directories: Collection[Path],
        *,
        policy: Policy,
        clients: Clients | None = None,
        protocols: Sequence[str] = PROTOCOLS,
    ) -> None:
        """The default certificate is for clients that ask for no name, or for one that no certificate has. Without it, that is
        the first one in the directories, in the order of their paths. Without `protocols` none is agreed (ALPN)."""
        self._default = default
        self._directories = tuple(directories)
        self._policy = policy
        self._clients = clients
        self._protocols = list(protocols)
        self._authority: tuple[Stamp, bytes] | None = None
        self._reads: dict[TlsFiles, _Read] = {}
        self._names: Mapping[str, ssl.SSLContext] = {}
        self._fallback: ssl.SSLContext | None = None
        self._base: ssl.SSLContext | None = None
        self._fault = ""
        self._found = Found((), ())
        self._task: asyncio.Task[None] | None = None
        self.reloads = 0
        """How often changed files were read without a fault."""

    @property
    def context(self) -> ssl.SSLContext:
        """The context to begin a handshake with."""
        assert self._base is not None  # noqa: S101 -- started
        return self._base

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read all files, and watch them. Raises TlsError, which names the first file that cannot be used."""
        await asyncio.to_thread(self._read_all)
        fault = self._fault or next((read.fault for read in self._reads.values() if read.fault), "")
        if fault:
            raise TlsError(fault)
        for certificate in self.certificates:
            _note_dates(certificate)
        self._task = asyncio.create_task(self._follow(), name="certificates")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def _follow(self) -> None:
        while True:
            found = self._found
            watch = FileWatch(self._watched(), directories=found.directories)
            watch.start()
            try:
                while found is self._found:
                    await asyncio.to_thread(self._read_all)  # also before the first wait: for changes before the watch began
                    if found is self._found:
                        await watch.wait(defaults.RESYNC_OF_FILES_SECONDS)
            finally:
                await watch.close()

    def _watched(self) -> list[Path]:
        authority = [] if self._clients is None else [self._clients.authority]
        return [*(path for pair in self._found.pairs for path in pair.paths), *authority]

    # -- reading, on a thread ---------------------------------------------------------------------------------------

    def _read_all(self) -> None:
        """Read what has changed, and take it into use as a whole."""
        try:
            found = find(self._default, self._directories)
            renewed = self._read_authority()
        except TlsError as error:
            self._note_fault(str(error))
            return
        self._note_fault("")
        before = {} if renewed else self._reads
        reads = {files: self._read(files, before.get(files), self._reads.get(files)) for files in found.pairs}
        if found != self._found:
            self._found = found
        if reads == self._reads and not renewed:
            return
        self.reloads += bool(self._reads)
        self._reads = reads
        self._take_into_use([read.certificate for read in reads.values() if read.certificate is not None], renewed=renewed)

    def _read_authority(self) -> bool:
        """Returns whether all contexts must be made anew."""
        seen = (0, 0, 0, 0) if self._clients is None else stamp(self._clients.authority)
        if self._authority is not None and self._authority[0] == seen:
            return False
        pem = b"" if self._clients is None else read_authority(self._clients.authority)
        changed = self._authority is None or self._authority[1] != pem
        self._authority = (seen, pem)
        return changed

    def _read(self, files: TlsFiles, before: _Read | None, last: _Read | None) -> _Read:
        stamps = files.stamps()
        if before is not None and before.stamps == stamps:
            return before
        try:
            certificate = self._load(files)
        except TlsError as error:
            fault = str(error)
            kept = None if last is None else last.certificate
            if last is not None and last.fault != fault:
                used = "the last good one stays in use" if kept is not None else "not used"
                logger.warning("a certificate was not reloaded, %s: %s", used, fault)
            return _Read(stamps, kept, fault)
        if last is not None or self._reads:
            logger.info("certificate for %s read from %s", ", ".join(certificate.names[:3]) or "no name", files.cert)
            _note_dates(certificate)
        return _Read(stamps, certificate, "")

    def _load(self, files: TlsFiles) -> Certificate:
        from fleet.runtime import pem  # noqa: PLC0415  # what it imports costs memory, and most processes have no TLS

        material = files.read()
        try:
            leaf = pem.leaf_of(material.cert)
        except pem.PemError as error:
            raise TlsError(f"{files.cert}: cannot be used: {error}") from error
        if not self._policy.serves(rsa=leaf.is_rsa):
            needed = "RSA" if leaf.is_rsa else "ECDSA"
            raise TlsError(
                f"{files.cert}: no handshake is possible: its key needs a cipher suite of {needed}, and none is allowed"
            )
        context = self._new_context()
        try:
            with _as_file(material) as path:
                context.load_cert_chain(path)
        except ssl.SSLError as error:
            raise TlsError(f"{files.cert}: OpenSSL does not take it: {error.reason or error}") from error
        return Certificate(files, leaf.names, leaf.not_before, leaf.not_after, leaf.issuer, context)

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._policy.apply(context)
        if self._protocols:
            context.set_alpn_protocols(self._protocols)
        context.num_tickets = 1  # of TLS 1.3; OpenSSL makes two by default, which costs time in every handshake
        if self._clients is not None and self._authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED if self._clients.required else ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=self._authority[1].decode("ascii"))
        return context

    def _take_into_use(self, certificates: Sequence[Certificate], *, renewed: bool) -> None:
        if not certificates:
            return
        names: dict[str, ssl.SSLContext] = {}
        for certificate in certificates:
            for name in certificate.names:
                names.setdefault(name, certificate.context)
        self._names, self._fallback = names, certificates[0].context
        if renewed or self._base is None:  # tickets that were given for another authority's certificates end with it
            base = self._new_context()
            base.sni_callback = self._choose
            self._base = base

    def _note_fault(self, fault: str) -> None:
        if fault and fault != self._fault and self._reads:
            logger.warning("certificates not reloaded, the last good ones stay in use: %s", fault)
        self._fault = fault

    # -- use --------------------------------------------------------------------------------------------------------

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Called in every handshake. A name of more labels than a wildcard has is not matched by it (RFC 9525 6.3)."""
        found = self._fallback
        if name:
            names, lower = self._names, name.lower()
            found = names.get(lower) or names.get(f"*{lower[lower.find('.') :]}") or found
        if found is not None:
            connection.context = found

    # -- for people ---------------------------------------------------------------------------------------------------

    @property
    def certificates(self) -> list[Certificate]:
        """Those in use, the default one first."""
        return [read.certificate for read in list(self._reads.values()) if read.certificate is not None]

    @property
    def faults(self) -> dict[str, str]:
        """By certificate file: why its current content is not in use."""
        faults = {str(files.cert): read.fault for files, read in list(self._reads.items()) if read.fault}
        return {**faults, **({"": self._fault} if self._fault else {})}

    @property
    def first_expiry(self) -> float:
        """The time (Unix) at which the first certificate expires."""
        return min((one.not_after.timestamp() for one in self.certificates), default=0.0)

    def shown(self) -> Iterator[ShownCertificate]:
        """For the page /certs: those in use, and why files are not."""
        now, faults, listed = dt.datetime.now(dt.UTC), self.faults, self.certificates
        for one in listed:
            yield ShownCertificate(
                "proxy, by default" if one is listed[0] else "proxy",
                str(one.files.cert),
                names=list(one.names[:MAX_NAMES]),
                more_names=max(0, len(one.names) - MAX_NAMES),
                issuer=one.issuer,
                not_before=one.not_before.isoformat(),
                not_after=one.not_after.isoformat(),
                days_left=round((one.not_after - now) / dt.timedelta(days=1), 1),
                problem=faults.pop(str(one.files.cert), ""),
            )
        for file, fault in faults.items():
            yield ShownCertificate("proxy", file, problem=fault)


def _note_dates(certificate: Certificate) -> None:
    now = dt.datetime.now(dt.UTC)
    if not certificate.not_before <= now <= certificate.not_after:
        logger.warning(
            "the certificate in %s is valid from %s to %s only",
            certificate.files.cert,
            certificate.not_before.isoformat(),
            certificate.not_after.isoformat(),
        )


@contextlib.contextmanager
def _as_file(material: Material) -> Iterator[str]:
    """The path of a file with certificate and key, which is gone afterwards: Python loads them from files only, and the ones they
    were read from may have changed since they were checked."""
    content = material.cert + b"\n" + material.key
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate")
        with os.fdopen(descriptor, "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name
