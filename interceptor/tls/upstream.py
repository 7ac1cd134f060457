"""TLS to backends: which authorities are believed, and which name a backend's certificate must have.

The files of authorities are looked at before each connection, and read again when one has changed. If they have become invalid,
what was read before stays in use.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fleet.runtime.tls import TlsError, read_authority
from fleet.runtime.watch import Stamp, stamp
from interceptor.tls.policy import Policy

__all__ = ["HTTP1", "HTTP2", "BackendTls", "server_name"]

HTTP1: Final = "http/1.1"
HTTP2: Final = "h2"
"""Protocols, as ALPN names them."""

_KEY: Final = re.compile(r"(?P<namespace>[^/]+)/(?P<service>[^:@]+)")

logger = logging.getLogger(__name__)


class BackendTls:
    """The contexts for connections to backends, one for each protocol."""

    def __init__(self, policy: Policy, directories: Sequence[Path] = (), *, verify: bool = True) -> None:
        """The authorities are those of the system, and those in the files of `directories`. Without `verify` any certificate is
        accepted. Raises TlsError."""
        self._policy = policy
        self._directories = tuple(directories)
        self._verify = verify
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._fault = ""
        self._seen: tuple[tuple[Path, Stamp], ...] = ()
        if self._directories:
            self._seen = self._stamps()
            self._authorities = self._read()
        else:
            self._authorities = ""
        if not verify:
            logger.warning("the certificates of backends are not verified: whoever is in between can read and change requests")

    def context(self, protocol: str) -> ssl.SSLContext:
        """For one protocol, which is the only one that is offered (ALPN)."""
        if self._directories:
            self._read_again()
        context = self._contexts.get(protocol)
        if context is None:
            context = self._contexts[protocol] = self._new(protocol)
        return context

    def _new(self, protocol: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._policy.apply(context)
        context.set_alpn_protocols([protocol])
        if self._authorities:
            context.load_verify_locations(cadata=self._authorities)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _read_again(self) -> None:
        try:
            seen = self._stamps()
            if seen == self._seen:
                return
            self._seen = seen
            self._authorities = self._read()
            self._contexts = {}
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


def server_name(target: str) -> str:
    """The name that the certificate of a target's backends must have, which is also asked for (SNI): that of its Service.

    `target` is the target's key: "namespace/service:port@pods", where port and the end may be missing.
    """
    found = _KEY.match(target)
    return f"{found['service']}.{found['namespace']}.svc" if found else target
