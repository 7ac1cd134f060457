"""Which versions, ciphers and curves TLS may use, from their names in settings to an SSLContext of Python's."""

from __future__ import annotations

import ctypes
import ssl
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple

__all__ = ["CIPHERS", "CURVES", "VERSIONS", "Policy", "parse_ciphers", "parse_curves", "parse_version"]

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
"""Older ones are not offered (RFC 8996)."""
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The default for TLS 1.2: forward secrecy and authenticated encryption, which is also what HTTP/2 demands (RFC 9113 9.2.2)."""
CURVES: Final = {
    "CurveP256": "P-256",
    "CurveP384": "P-384",
    "CurveP521": "P-521",
    "P-256": "P-256",
    "P-384": "P-384",
    "P-521": "P-521",
    "X25519": "X25519",
    "X25519MLKEM768": "X25519MLKEM768",
}
"""The names that the KEDA HTTP add-on takes, and OpenSSL's."""
_USUAL_CURVES: Final = ("X25519MLKEM768", "X25519", "P-256", "P-384", "P-521")
"""The default, as far as OpenSSL has them. OpenSSL's own default also has finite fields of up to 8192 bits, by which a client
can have the server compute a hundred times as much as with a curve."""
_SUITES_OF_13: Final = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
_SET_GROUPS_LIST: Final = 92
"""SSL_CTRL_SET_GROUPS_LIST in OpenSSL's ssl.h."""


class Policy(NamedTuple):
    """What is allowed on connections of clients or to backends."""

    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = CIPHERS
    """Of TLS 1.2, in OpenSSL's form; empty for none of them. Those of TLS 1.3 cannot be chosen: all are good."""
    curves: tuple[str, ...] = ()
    """In OpenSSL's names, in the order of preference; empty for the usual ones."""

    def apply(self, context: ssl.SSLContext) -> None:
        """Raises ValueError if OpenSSL does not have what is asked for."""
        context.minimum_version = self.minimum if self.ciphers else ssl.TLSVersion.TLSv1_3
        context.maximum_version = self.maximum
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        curves = self.curves or _usual_curves()
        if curves:
            _set_curves(context, curves)
        # A client could have the server compute the expensive part of handshakes over and over on one connection.
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION

    def serves(self, *, rsa: bool) -> bool:
        """Whether a handshake is possible with a key of RSA, or with any other. In TLS 1.3 suites say nothing of keys."""
        if self.maximum >= ssl.TLSVersion.TLSv1_3:
            return True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(self.ciphers)
        needed = "auth-rsa" if rsa else "auth-ecdsa"
        return any(suite["auth"] == needed for suite in context.get_ciphers())


def parse_version(text: str) -> ssl.TLSVersion:
    """ "1.2", "1.3", and as KEDA writes them "TLS12", "TLS13". Raises ValueError."""
    plain = text.strip().upper().removeprefix("TLS").replace("12", "1.2").replace("13", "1.3")
    if plain not in VERSIONS:
        raise ValueError("not a version of TLS that can be used: 1.2 or 1.3")
    return VERSIONS[plain]


def parse_ciphers(text: str) -> str:
    """Names of suites, separated by commas or colons, as IANA or OpenSSL writes them, in OpenSSL's form. Suites of TLS 1.3 may be
    named, and are always on. Raises ValueError for a name that OpenSSL does not know, or that is not safe."""
    names = [name for part in text.replace(":", ",").split(",") if (name := part.strip())]
    if not names:
        raise ValueError("no cipher suite is named")
    return ":".join(_suite(name) for name in names if name not in _SUITES_OF_13)


def parse_curves(text: str) -> tuple[str, ...]:
    """Names of curves, separated by commas. Raises ValueError."""
    names = [name for part in text.split(",") if (name := part.strip())]
    if not names:
        raise ValueError("no curve is named")
    for name in names:
        if name not in CURVES:
            raise ValueError(f"{name[:40]!r} is not a curve: {', '.join(CURVES)}")
    curves = tuple(CURVES[name] for name in names)
    _set_curves(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), curves)
    return curves


def _suite(name: str) -> str:
    found = _suites().get(name)
    if found is None:
        raise ValueError(f"{name[:60]!r} is not a cipher suite of TLS 1.2 that can be used")
    return found


@cache
def _suites() -> dict[str, str]:
    """OpenSSL's names, by IANA's and by themselves, of all suites with forward secrecy and a cipher without known weaknesses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ECDHE:!aNULL:!eNULL:!3DES:!RC4:!MD5:!PSK:!SRP:!CAMELLIA:!ARIA:!AESCCM8")
    names = [suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"]
    return {spelling: name for name in names for spelling in (name, _iana_name(name))}


def _iana_name(name: str) -> str:
    """ECDHE-RSA-AES128-GCM-SHA256 is TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256."""
    exchange, authentication, *rest = name.split("-")
    cipher = "_".join(rest).replace("AES128", "AES_128").replace("AES256", "AES_256")
    if cipher == "CHACHA20_POLY1305":
        cipher += "_SHA256"
    elif "GCM" not in cipher and "CCM" not in cipher:
        cipher = cipher.replace("_SHA", "_CBC_SHA")
    return f"TLS_{exchange}_{authentication}_WITH_{cipher}"


@cache
def _usual_curves() -> tuple[str, ...]:
    """Empty if only OpenSSL's own can be used."""
    for curves in (_USUAL_CURVES, _USUAL_CURVES[1:]):
        try:
            _set_curves(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), curves)
        except ValueError:
            continue
        return curves
    return ()


def _set_curves(context: ssl.SSLContext, curves: Sequence[str]) -> None:
    """Raises ValueError."""
    set_groups: Callable[[str], None] | None = getattr(context, "set_groups", None)
    try:
        if set_groups is not None:  # since Python 3.15
            set_groups(":".join(curves))
        elif not _set_groups_in_openssl(context, ":".join(curves)):
            raise ValueError
    except (ValueError, ssl.SSLError):
        raise ValueError(f"not all of these curves are in {ssl.OPENSSL_VERSION}: {', '.join(curves)}") from None


@cache
def _openssl(path: str) -> ctypes.CDLL:
    """Raises ValueError if its functions cannot be called, as where Python is linked with it statically."""
    library = ctypes.CDLL(path)
    try:
        library.SSL_CTX_get_options.restype = ctypes.c_uint64
        library.SSL_CTX_get_options.argtypes = [ctypes.c_void_p]
        library.SSL_CTX_ctrl.restype = ctypes.c_long
        library.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p]
        library.ERR_clear_error.argtypes = []
    except AttributeError as error:
        raise ValueError(str(error)) from error
    return library


def _set_groups_in_openssl(context: ssl.SSLContext, groups: str) -> bool:
    """SSL_CTX_set1_groups_list, which Python passes on for one curve only (`set_ecdh_curve`).

    Python's object begins with a pointer to OpenSSL's, in all versions that Weir supports. Before it is used, OpenSSL must report
    the same options for it as Python does.
    """
    import _ssl  # noqa: PLC0415 -- which OpenSSL Python is linked with

    if sys.implementation.name != "cpython" or not getattr(_ssl, "__file__", None):
        raise ValueError
    library = _openssl(_ssl.__file__)
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    if library.SSL_CTX_get_options(pointer) != context.options:
        raise ValueError
    if library.SSL_CTX_ctrl(pointer, _SET_GROUPS_LIST, 0, groups.encode()) == 1:
        return True
    library.ERR_clear_error()
    return False
