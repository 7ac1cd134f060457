"""TLS to backends: which authorities are believed, for all targets or for one.

The files of authorities are looked at before each connection, and read again when one has changed. If they have become invalid,
what was read before stays in use. Authorities of one target come with its route, and are believed for it alone.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fleet.routing.target import TargetTls
from fleet.runtime.tls import TlsError, read_authority
from fleet.runtime.watch import Stamp, stamp
from interceptor.tls.policy import Policy

__all__ = ["HTTP1", "HTTP2", "MAX_CONTEXTS", "BackendTls", "certifiable", "verifies"]

HTTP1: Final = "http/1.1"
HTTP2: Final = "h2"
"""Protocols, as ALPN names them."""

MAX_CONTEXTS: Final = 64
"""Contexts that are kept, those used last: usual clusters have a few authorities. One takes 17 KB with one authority, and half a
megabyte with as many as a route can name."""
AUTHORITIES_AT_ONCE: Final = 4
"""Authorities that are read in one turn of the event loop. OpenSSL takes 0.3 ms for one with an elliptic curve."""

_END: Final = "-----END CERTIFICATE-----"
_Wanted = tuple[str, str | None, bool]
"""What a context is made for: protocol, authorities of its own, and whether certificates are verified."""

logger = logging.getLogger(__name__)


class BackendTls:
    """The contexts for connections to backends: one for each protocol, and for each set of authorities of a route."""

    def __init__(self, policy: Policy, directories: Sequence[Path] = (), *, verify: bool = True) -> None:
        """The authorities are those of the system, and those in the files of `directories`. Without `verify` any certificate is
        accepted. Raises TlsError."""
        self._policy = policy
        self._directories = tuple(directories)
        self._verify = verify
        self._contexts: OrderedDict[_Wanted, ssl.SSLContext | str] = OrderedDict()
        """Or why there is none: what is wrong with authorities does not change."""
        self._making = asyncio.Lock()
        """One is made at a time, so that whoever else wants it finds it."""
        self._fault = ""
        self._seen: tuple[tuple[Path, Stamp], ...] = ()
        if self._directories:
            self._seen = self._stamps()
            self._authorities = self._read()
        else:
            self._authorities = ""
        if not verify:
            logger.warning("the certificates of backends are not verified: whoever is in between can read and change requests")

    async def context(self, protocol: str, tls: TargetTls | None = None) -> ssl.SSLContext:
        """For one protocol, which is the only one that is offered (ALPN), and for what the route says of TLS. Raises
        ConnectionAbortedError if its authorities cannot be used."""
        if self._directories:
            self._read_again()
        wanted = (protocol, None if tls is None else tls.ca_bundle, verifies(tls, by_default=self._verify))
        found = self._contexts.get(wanted)
        if found is None:
            async with self._making:
                while (found := self._contexts.get(wanted)) is None:
                    await self._make(wanted)
        self._contexts.move_to_end(wanted)
        if isinstance(found, str):
            raise ConnectionAbortedError(found)
        return found

    async def _make(self, wanted: _Wanted) -> None:
        """Keep the context, or why there is none; neither if the authorities for all targets have changed meanwhile."""
        authorities = self._authorities
        try:
            made: ssl.SSLContext | str = await self._new(wanted)
        except _UnreadableError as error:
            made = f"TLS: the authorities in tls.caBundle cannot be read ({error})"
        if authorities is not self._authorities:
            return
        self._contexts[wanted] = made
        if len(self._contexts) > MAX_CONTEXTS:
            self._contexts.popitem(last=False)

    async def _new(self, wanted: _Wanted) -> ssl.SSLContext:
        """Raises _UnreadableError."""
        protocol, bundle, verified = wanted
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificates and names, and believes nobody yet
        if not verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif bundle is not None:
            # One that is itself signed by another, which is not among them, is believed as well.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            await _believe(context, bundle)
        else:
            context = await asyncio.to_thread(ssl.create_default_context)  # reads files, and takes tens of milliseconds
            if self._authorities:
                await _believe(context, self._authorities)
        self._policy.apply(context)
        context.set_alpn_protocols([protocol])
        return context

    def _read_again(self) -> None:
        try:
            seen = self._stamps()
            if seen == self._seen:
                return
            self._seen = seen
            self._authorities = self._read()
            self._contexts.clear()
            self._fault = ""
            logger.info("authorities of backends read again")
        except TlsError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                logger.warning("authorities of backends not read again, the last good ones stay: %s", error)

    def _stamps(self) -> tuple[tuple[Path, Stamp], ...]:
        return tuple((path, stamp(path)) for path in self._files())

    def _files(self) -> Iterator[Path]:
        for directory in self._directories:
            try:
                entries = sorted(directory.iterdir())
            except OSError as error:
                raise TlsError(f"{directory}: {error.strerror}") from error
            # In volumes of Kubernetes, names that begin with two dots are where the symbolic links point to.
            yield from (path for path in entries if not path.name.startswith("..") and not path.is_dir())

    def _read(self) -> str:
        found = [read_authority(path).decode("ascii") for path in self._files()]
        if not found:
            raise TlsError(f"no certificate of an authority in {', '.join(map(str, self._directories))}")
        return "\n".join(found)


def verifies(tls: TargetTls | None, *, by_default: bool) -> bool:
    """Whether certificates of a target's backends are verified. Where a route names authorities they always are, whatever the
    setting for all targets says."""
    if tls is None:
        return by_default
    return tls.ca_bundle is not None or (by_default and not tls.insecure_skip_verify)


def certifiable(name: str) -> str:
    """The name, if a certificate could have it. Raises ConnectionAbortedError: names of Services in a file are not bound to the
    DNS's limits."""
    try:
        name.encode("idna")
    except UnicodeError as error:
        raise ConnectionAbortedError(f"TLS: no certificate can have the name {name[:80]!r}; set tls.serverName") from error
    return name


class _UnreadableError(Exception):
    """Why authorities cannot be read."""


async def _believe(context: ssl.SSLContext, bundle: str) -> None:
    """Add these authorities, a few in each turn. Raises _UnreadableError."""
    *each, rest = bundle.split(_END)
    if not each or "-----BEGIN" in rest:
        raise _UnreadableError("no certificate in PEM" if not each else "the last certificate has no end")
    for start in range(0, len(each), AUTHORITIES_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        some = each[start : start + AUTHORITIES_AT_ONCE]
        try:
            context.load_verify_locations(cadata="".join(f"{one}{_END}\n" for one in some))
        except (ssl.SSLError, TypeError, ValueError) as error:
            raise _UnreadableError(error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)) from error
