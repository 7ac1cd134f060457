"""What a file of apps says of how apps are spoken to: protocols and TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.routing.target import MAX_CA_BYTES, Connects, Target, TargetTls
from tests.support.certificates import Authority
from weir.engine.specfile import SpecError, load_spec


def written(directory: Path, *lines: str) -> Path:
    path = directory / "fleet.yaml"
    path.write_text("\n".join(("apps:", *lines)))
    return path


def test_how_apps_are_spoken_to(tmp_path: Path) -> None:
    authority, other = Authority().pem.decode(), Authority("other").pem.decode()
    (tmp_path / "ca.pem").write_text(authority)
    (tmp_path / "other.pem").write_text(other)
    path = written(
        tmp_path,
        "- {name: a, hosts: [a], command: x, app_protocol: grpcs, tls: {server_name: localhost, ca: ca.pem}}",
        "- {name: b, hosts: [b], command: x, tls: {skip_verify: true}, fallback: a, backends: [{service: a}, {service: b}]}",
        "- {name: c, hosts: [c], command: x, backends: [{service: a, app_protocol: h2, tls: {ca: other.pem}}]}",
        "- {name: d, hosts: [d], command: x, app_protocol: h2c}",
    )
    file = load_spec(path)
    a, b, c, d = (file.table.apps[f"default/{name}"] for name in "abcd")
    own = Connects("grpcs", TargetTls("localhost", authority))
    assert a.target.connects == own
    assert b.target.connects == Connects(None, TargetTls(insecure_skip_verify=True))
    assert b.cold_start.fallback is not None
    assert b.cold_start.fallback.pool == b.rules[0].backends[0].pool == a.target.pool, "as that app says it of itself"
    assert b.rules[0].backends[1].connects == b.target.connects
    assert c.rules[0].backends[0].connects == Connects("h2", TargetTls(ca_bundle=other))
    assert (c.target.connects, d.target.connects) == (Connects(), Connects("h2c"))
    assert file.files == {tmp_path / "ca.pem", tmp_path / "other.pem"}
    (tmp_path / "ca.pem").write_text(other)
    assert load_spec(path).table.version != file.table.version


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no certificate in PEM"),
        (b"garbage", "has no certificate in PEM"),
        (b"\xff\xfe", "is not PEM: it has characters that are not ASCII"),
        (b"-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----", "has no certificates in PEM that can be read"),
        (b"-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----", "has a private key"),
        (b"x" * (1 << 20), f"larger than {MAX_CA_BYTES} bytes"),
    ],
)
@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ("tls: {ca: ca.pem}", "tls.ca"),
        ("backends: [{service: a, tls: {ca: ca.pem}}]", "backends[0].tls.ca"),
        ("fallback: c", "tls.ca"),
        ("fallback: {host: c.test, port: 443, tls: {ca: ca.pem}}", "fallback.tls.ca"),
    ],
)
def test_authorities_that_are_none(tmp_path: Path, content: bytes, told: str, fields: str, place: str) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    lines = [f"- {{name: a, hosts: [a], command: x, {fields}}}"]
    if fields == "fallback: c":
        lines.append("- {name: c, hosts: [c], command: x, tls: {ca: ca.pem}}")
    with pytest.raises(SpecError) as caught:
        load_spec(written(tmp_path, *lines))
    errors = str(caught.value).splitlines()
    assert any(f".{place}: " in error and told in error for error in errors), errors
    assert all(len(error) < 400 for error in errors)


def test_how_an_app_outside_is_spoken_to(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "- {name: a, hosts: [a], outside: {host: api.test, port: 443}, app_protocol: https, tls: {server_name: other.test}}",
        "- {name: b, hosts: [b], command: x, fallback: a, backends: [{host: c.test, port: 443, tls: {}}, {service: a}]}",
    )
    table = load_spec(path).table
    outside, backends = table.apps["default/a"].target, table.apps["default/b"].rules[0].backends
    assert (outside.host, outside.connects) == ("api.test", Connects("https", TargetTls("other.test")))
    assert (backends[0].server_name, backends[0].connects) == ("c.test", Connects(None, TargetTls()))
    assert backends[1].pool == outside.pool
    assert table.apps["default/b"].cold_start.fallback == outside


def test_how_a_fallback_is_spoken_to(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority().pem)
    path = written(
        tmp_path,
        "- {name: a, hosts: [a], command: x, app_protocol: h2c}",
        "- {name: b, hosts: [b], command: x, fallback: {host: c.test, port: 443, app_protocol: h2, tls: {ca: ca.pem}}}",
        "- {name: c, hosts: [c], command: x, fallback: {service: a, tls: {server_name: d.test}}}",
        "- {name: d, hosts: [d], command: x, fallback: {service: default/a}}",
    )
    file = load_spec(path)
    b, c, d = (file.table.apps[f"default/{name}"].cold_start.fallback for name in "bcd")
    assert b is not None
    assert (b.key, b.connects) == ("dns:c.test:443", Connects("h2", TargetTls(None, (tmp_path / "ca.pem").read_text())))
    assert file.files == {tmp_path / "ca.pem"}
    assert c == Target("default/a", app_protocol="h2c", tls=TargetTls("d.test"))
    assert d == file.table.apps["default/a"].target


def test_fixed_addresses_over_tls_need_a_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"apps\[0\].tls.server_name: is missing"):
        load_spec(written(tmp_path, "- {name: a, hosts: [a], outside: {addresses: ['192.0.2.1:443']}, tls: {}}"))
