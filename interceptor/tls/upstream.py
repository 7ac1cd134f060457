"""TLS to backends: which authorities are believed, for all targets or for one.

The files of authorities are looked at before each connection, and read again when one has changed. If they have become invalid,
what was read before stays in use. Authorities of one target come with its route, and are believed for it alone.
"""

from __future__ import annotations

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

MAX_CONTEXTS: Final = 128
"""Contexts that are kept: those used last."""

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
        self._contexts: OrderedDict[_Wanted, ssl.SSLContext] = OrderedDict()
        self._fault = ""
        self._seen: tuple[tuple[Path, Stamp], ...] = ()
        if self._directories:
            self._seen = self._stamps()
            self._authorities = self._read()
        else:
            self._authorities = ""
        if not verify:
            logger.warning("the certificates of backends are not verified: whoever is in between can read and change requests")

    def context(self, protocol: str, tls: TargetTls | None = None) -> ssl.SSLContext:
        """For one protocol, which is the only one that is offered (ALPN), and for what the route says of TLS. Raises
        ConnectionAbortedError if its authorities cannot be used."""
        if self._directories:
            self._read_again()
        wanted = (protocol, None if tls is None else tls.ca_bundle, verifies(tls, by_default=self._verify))
        context = self._contexts.get(wanted)
        if context is None:
            context = self._contexts[wanted] = self._new(wanted)
            if len(self._contexts) > MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(wanted)
        return context

    def _new(self, wanted: _Wanted) -> ssl.SSLContext:
        protocol, bundle, verified = wanted
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificates and names, and believes nobody yet
        if not verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif bundle is not None:
            _believe(context, bundle)
        else:
            context = ssl.create_default_context()
            if self._authorities:
                context.load_verify_locations(cadata=self._authorities)
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
        found = [read_authority(path).decode("ascii", "replace") for path in self._files()]
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


def _believe(context: ssl.SSLContext, bundle: str) -> None:
    """These authorities, and no others. One that is itself signed by another, which is not among them, is believed as well."""
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=bundle)
    except (ssl.SSLError, ValueError) as error:
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
        raise ConnectionAbortedError(f"TLS: the authorities in tls.caBundle cannot be read ({why})") from error
