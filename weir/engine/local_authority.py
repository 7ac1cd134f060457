"""A certificate authority of this user's own, for `weir up --tls`: made once, and certificates of it for the hosts in the file.

Whoever trusts it trusts it only for names that mean something on this machine or network (RFC 6761, RFC 6762, RFC 8375), as its
certificate says (name constraints): its key is no danger for other names, even if it is stolen.
"""

from __future__ import annotations

import datetime as dt
import getpass
import ipaddress
import os
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet.runtime.process import StartError

__all__ = ["LocalAuthority", "LocalCertificates", "authority_directory", "is_local"]

LOCAL_ENDS = ("localhost", "test", "example", "invalid", "local", "internal", "home.arpa")
"""The last labels of names that nobody else can own."""
LOCAL_NETWORKS = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
YEARS = dt.timedelta(days=3650)
LEAF = dt.timedelta(days=90)
RENEWED = dt.timedelta(days=30)
"""A certificate that ends within this time is made anew when the engine starts, or when the file changes."""
BACKDATED = dt.timedelta(hours=1)
"""Clocks of virtual machines may be behind."""
NAMES_AT_ONCE = 100
"""Names in one certificate: some servers and clients dislike certificates of many kilobytes."""
CERT, KEY = "authority.crt", "authority.key"


def authority_directory() -> Path:
    """WEIR_TLS_DIRECTORY, or a directory among the user's files of state."""
    if named := os.environ.get("WEIR_TLS_DIRECTORY"):
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "weir" / "tls"


def is_local(host: str) -> bool:
    """Whether the authority may sign for a host name, which may begin with a wildcard."""
    labels = host.removeprefix("*.").split(".")
    return any(labels[-len(end.split(".")) :] == end.split(".") for end in LOCAL_ENDS) and "*" not in "".join(labels)


class LocalAuthority:
    """Its key is readable by this user only."""

    def __init__(self, directory: Path) -> None:
        """Read the authority, or make it. Raises StartError."""
        self.path = directory / CERT
        key_path = directory / KEY
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (self.path.exists() and key_path.exists()):
                _make(self.path, key_path)
            self._cert = x509.load_pem_x509_certificate(self.path.read_bytes())
            key = load_pem_private_key(key_path.read_bytes(), password=None)
            if key_path.stat().st_mode & 0o077:
                raise StartError(f"{key_path}: others may read this key; remove it and {self.path}, and a new one is made")
        except (OSError, ValueError, TypeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not what weir up --tls has written"
            raise StartError(f"{directory}: {why}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._cert.public_key():
            raise StartError(f"{directory}: {CERT} and {KEY} do not belong together")
        if self._cert.not_valid_after_utc < dt.datetime.now(dt.UTC) + LEAF:
            raise StartError(f"{self.path} expires soon: remove it and {KEY}, and a new one is made, which has to be trusted")
        self._key = key

    def issue(self, names: Sequence[str], key: ec.EllipticCurvePrivateKey) -> bytes:
        """A certificate for some names, the first of which is its subject. PEM."""
        addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        builder = _builder(subject, self._cert.subject, key.public_key(), LEAF)
        builder = builder.add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names), *addresses]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        public = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(public, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


class LocalCertificates:
    """Certificates for the hosts of a file, in a directory that interceptors follow."""

    def __init__(self, authority: LocalAuthority, directory: Path) -> None:
        self.authority = authority
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._names: tuple[str, ...] = ()
        self._until = dt.datetime.min.replace(tzinfo=dt.UTC)

    def write(self, hosts: Iterable[str]) -> Collection[str]:
        """Make certificates for localhost and these hosts, unless those that are there are good. Returns the names that they
        have. Hosts for which the authority may not sign are left out. Raises OSError."""
        names = tuple(dict.fromkeys(["localhost", *(host.lower() for host in hosts if is_local(host.lower()))]))
        now = dt.datetime.now(dt.UTC)
        if names != self._names or self._until - now < RENEWED:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            key = _pem(self._key)
            for number, some in enumerate(_parts(names)):
                path = self.directory / f"{number:03d}.crt"
                _write(path.with_suffix(".key"), key)  # the same key each time: whichever is read first, they belong together
                _write(path, self.authority.issue(some, self._key))
            for path in sorted(self.directory.glob("*.crt"))[number + 1 :]:
                path.unlink()
            self._names, self._until = names, now + LEAF
        return names


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), NAMES_AT_ONCE):
        yield names[at : at + NAMES_AT_ONCE]


def _make(cert_path: Path, key_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"weir up of {getpass.getuser()} on {socket.gethostname()}"[:64])])
    permitted: list[x509.GeneralName] = [x509.DNSName(end) for end in LOCAL_ENDS]
    permitted += [x509.IPAddress(ipaddress.ip_network(network)) for network in LOCAL_NETWORKS]
    builder = _builder(name, name, key.public_key(), YEARS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    builder = builder.add_extension(_signs_certificates(), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    _write(key_path, _pem(key))
    _write(cert_path, builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), mode=0o644)


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasts: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - BACKDATED).not_valid_after(now + lasts)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace the file as a whole."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    fresh.replace(path)
