"""Certificates and kubeconfigs of the test cluster: one authority per purpose, as a real cluster has."""

import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.api import Tls

__all__ = ["Authority", "kubeconfig", "service_account_key"]

LIFETIME = dt.timedelta(days=2)
_USAGES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates into one directory."""

    directory: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, directory: Path, name: str) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), _name(name), key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        _write(directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        return cls(directory, certificate, key)

    @property
    def path(self) -> Path:
        return self.directory / f"{self.certificate.subject.rfc4514_string().removeprefix('CN=')}.crt"

    def issue(self, name: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> Tls:
        """A certificate for both ends of a connection. Kubernetes uses `groups` as the user's groups."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name, groups), self.certificate.subject, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        file = name.replace(":", "-")
        tls = Tls(self.path, self.directory / f"{file}.crt", self.directory / f"{file}.key")
        _write(tls.cert, certificate.public_bytes(serialization.Encoding.PEM))
        _write(tls.key, _pem(key))
        return tls


def service_account_key(path: Path) -> Path:
    """The key that signs the tokens of service accounts."""
    _write(path, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    return path


def kubeconfig(path: Path, url: str, tls: Tls) -> Path:
    """Write a kubeconfig file, as JSON, which is valid YAML."""
    cluster = {"server": url, "certificate-authority": str(tls.ca)}
    user = {"client-certificate": str(tls.cert), "client-key": str(tls.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(document))
    return path


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _name(name: str, groups: Sequence[str] = ()) -> x509.Name:
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
