"""gRPC channels from commands to interceptors, in plain text or with the given certificates, and readable connection errors.

For short-lived commands: certificate files are read once. Long-running components, which reload certificates, use fleet.runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc
import msgspec
from grpc import aio

from fleet.defaults import INTERCEPTOR_RPC_PORT
from fleet.runtime.address import split_address
from fleet.runtime.terminal import one_line
from fleet.runtime.tls import TlsError, TlsFiles, read_authority
from fleet.runtime.tlsparts import fault_of_set

__all__ = ["CALL_TIMEOUT", "PLAIN", "Dial", "Tls", "dial"]

CALL_TIMEOUT = 5.0
"""Seconds for one interceptor to answer a question that is asked once, its handshake included."""
_MEANINGS = {
    "Hostname Verification": "its certificate is for another name than the one dialled; --tls-name says for which",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not of an authority in --tls-ca",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "Connection refused": f"nobody listens there; interceptors do on {INTERCEPTOR_RPC_PORT}, "
    "weir up's are found without an address",
    "Domain name not found": "the name is not known",
}
"""Parts of gRPC's error text for a failed connection, and an explanation for the user."""


_NAMES = {part: f"--tls-{part} (WEIR_MEMBER_TLS_{part.upper()})" for part in ("cert", "key", "ca", "name")}
"""The flag and the variable of each TLS part, as the user of a command knows them."""


class Tls(msgspec.Struct, frozen=True):
    """TLS options as typed or from the environment; None for an option that was not given."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    name: str | None = None


class Dial(msgspec.Struct, frozen=True):
    """Opens channels to interceptors with fixed credentials."""

    credentials: grpc.ChannelCredentials | None = None
    shows_certificate: bool = False
    options: tuple[tuple[str, int | str], ...] = (("grpc.enable_http_proxy", 0),)

    def open(self, address: str, options: Sequence[tuple[str, int | str]] = ()) -> aio.Channel:
        """A channel to "host:port". The caller closes it. Raises AddressError."""
        split_address(address)  # without this check, gRPC would resolve any text as a host name
        every = (*self.options, *options)
        if self.credentials is None:
            return aio.insecure_channel(address, options=every)
        return aio.secure_channel(address, self.credentials, options=every)

    def problem(self, error: aio.AioRpcError) -> str:
        """Why a call failed, in one line."""
        details = one_line(" ".join((error.details() or "").split()))
        return f"{error.code().name} {self._reason(details)}".strip()

    def _reason(self, details: str) -> str:
        if "Socket closed" in details:
            return f"the connection was closed; {self._why_closed()}"
        return next((meaning for sign, meaning in _MEANINGS.items() if sign in details), details)

    def _why_closed(self) -> str:
        if self.credentials is None:
            return "if the interceptor speaks TLS, --tls-ca names its authority"
        if not self.shows_certificate:
            return "the interceptor may want a certificate: --tls-cert and --tls-key"
        return "the interceptor may not accept the certificate of --tls-cert"


PLAIN = Dial()


def dial(tls: Tls) -> Dial:
    """Raises TlsError for files that cannot be used, or not together."""
    fault = fault_of_set(msgspec.structs.asdict(tls), _NAMES, anonymous=True)
    if fault is not None:
        raise TlsError(fault)
    if tls == Tls():
        return PLAIN
    cert, key = _pair(tls.cert, tls.key)
    ca = None if tls.ca is None else read_authority(Path(tls.ca))
    credentials = grpc.ssl_channel_credentials(ca, private_key=key, certificate_chain=cert)
    named = () if tls.name is None else (("grpc.ssl_target_name_override", tls.name),)
    return Dial(credentials, cert is not None, (*PLAIN.options, *named))


def _pair(cert: str | None, key: str | None) -> tuple[bytes | None, bytes | None]:
    if cert is None or key is None:
        return None, None
    held = TlsFiles(Path(cert), Path(key)).read()
    return held.cert, held.key
