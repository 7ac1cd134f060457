"""Ports that terminate TLS, with and without certificates for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from weir.engine.spec import FleetSpec
from weir.engine.specfile import SpecError, parse_spec
from weir.engine.termination import check_termination

FILE = Path("apps.yaml")
TEXT = """
apps:
- name: db
  command: run
  ports: [{port: 6432, tls: terminate}, {port: 6433, tls: passthrough}, {port: 6434}]
"""


def spec_of(more: str = "", text: str = TEXT) -> FleetSpec:
    return parse_spec(text + more, FILE).spec


@pytest.fixture(autouse=True)
def _none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CERT", "KEY", "DIRECTORIES"):
        monkeypatch.delenv(f"WEIR_PROXY_TLS_{name}", raising=False)


def test_without_certificates_the_flag_is_named() -> None:
    with pytest.raises(SpecError) as raised:
        check_termination(FILE, spec_of(), makes_certificates=False)
    (line,) = raised.value.lines
    assert line == (
        "apps.yaml: TCP 6432 of app default/db terminates TLS, and there is no certificate: weir up --tls makes certificates; "
        "WEIR_PROXY_TLS_CERT or WEIR_PROXY_TLS_DIRECTORIES says others"
    )


@pytest.mark.parametrize("more", ["interceptor: {proxy_tls_directories: .}", "interceptor: {app_ports: false}"])
def test_settings_of_the_file(more: str) -> None:
    check_termination(FILE, spec_of(more), makes_certificates=False)


def test_other_certificates_or_none_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_termination(FILE, spec_of(), makes_certificates=True)
    check_termination(FILE, spec_of(text=TEXT.replace("terminate", "passthrough")), makes_certificates=False)
    monkeypatch.setenv("WEIR_PROXY_TLS_DIRECTORIES", "/certificates")
    check_termination(FILE, spec_of(), makes_certificates=False)
    monkeypatch.delenv("WEIR_PROXY_TLS_DIRECTORIES")
    monkeypatch.setenv("WEIR_PROXY_TLS_CERT", "/a.crt")
    monkeypatch.setenv("WEIR_PROXY_TLS_KEY", "/a.key")
    check_termination(FILE, spec_of(), makes_certificates=False)
