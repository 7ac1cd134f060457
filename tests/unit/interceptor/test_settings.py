from __future__ import annotations

import pytest

from fleet.runtime.settings import SettingsError
from interceptor.settings import InterceptorSettings


def test_every_setting_says_what_it_is() -> None:
    for name, field in InterceptorSettings.model_fields.items():
        assert field.description, name


def test_half_closed_clients_are_answered_only_where_somebody_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not InterceptorSettings.load([]).answer_half_closed
    assert InterceptorSettings.load(["--answer-half-closed"]).answer_half_closed
    monkeypatch.setenv("WEIR_ANSWER_HALF_CLOSED", "true")
    assert InterceptorSettings.load([]).answer_half_closed
    assert not InterceptorSettings.load(["--no-answer-half-closed"]).answer_half_closed


@pytest.mark.parametrize("given", [["--proxy-tls-client-certs=required"], ["--proxy-tls-client-certs=optional"]])
def test_client_certificates_need_an_authority(given: list[str]) -> None:
    """Otherwise nobody would be asked for one, without a word."""
    certificate = ["--proxy-tls-cert=/c", "--proxy-tls-key=/k"]
    with pytest.raises(SettingsError, match="WEIR_PROXY_TLS_CLIENT_CERTS\\) needs --proxy-tls-ca"):
        InterceptorSettings.load([*certificate, *given])
    assert InterceptorSettings.load([*certificate, *given, "--proxy-tls-ca=/ca"]).proxy_tls_ca == "/ca"


def test_suites_and_versions_that_leave_no_connection() -> None:
    suites = "--tls-cipher-suites=TLS_AES_128_GCM_SHA256"
    with pytest.raises(SettingsError, match="no connection would be possible"):
        InterceptorSettings.load([suites, "--tls-max-version=1.2"])
    assert InterceptorSettings.load([suites]).tls_policy.ciphers == ""
