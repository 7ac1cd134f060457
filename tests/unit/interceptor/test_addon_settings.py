"""The add-on's variables about TLS mean the same here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet.runtime.settings import SettingsError
from fleet.runtime.tls import TlsFiles
from interceptor.settings import InterceptorSettings


def load(monkeypatch: pytest.MonkeyPatch, *flags: str, **variables: str) -> InterceptorSettings:
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(f"KEDA_HTTP_{name}", value)
        return InterceptorSettings.load(flags)


def test_enabled_alone_has_the_paths_of_the_add_on(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, PROXY_TLS_ENABLED="true")
    assert settings.proxy_tls == TlsFiles(Path("/certs/tls.crt"), Path("/certs/tls.key"))
    assert settings.proxy_tls_port == 8443
    assert settings.proxy_plaintext == "serve"


def test_all_of_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        PROXY_TLS_ENABLED="1",
        PROXY_TLS_CERT_PATH="/c",
        PROXY_TLS_KEY_PATH="/k",
        PROXY_TLS_CERT_STORE_PATHS="/x,/y",
        PROXY_TLS_PORT="443",
    )
    assert settings.proxy_tls == TlsFiles(Path("/c"), Path("/k"))
    assert settings.certificate_directories == (Path("/x"), Path("/y"))
    assert settings.proxy_tls_port == 443


@pytest.mark.parametrize("disabled", ["false", "0", ""])
def test_nothing_of_the_listener_unless_it_is_enabled(monkeypatch: pytest.MonkeyPatch, disabled: str) -> None:
    settings = load(monkeypatch, PROXY_TLS_ENABLED=disabled, PROXY_TLS_CERT_PATH="/c", PROXY_TLS_CERT_STORE_PATHS="/x")
    assert not settings.has_proxy_tls


def test_an_answer_that_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="KEDA_HTTP_PROXY_TLS_ENABLED: neither true nor false"):
        load(monkeypatch, PROXY_TLS_ENABLED="yes please")


def test_the_policy_by_its_new_and_by_its_old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        TLS_MIN_VERSION="TLS13",
        TLS_MAX_VERSION="1.3",
        TLS_CIPHER_SUITES="TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        TLS_CURVE_PREFERENCES="X25519,CurveP256",
        PROXY_TLS_MIN_VERSION="1.2",
        TLS_SKIP_VERIFY="true",
        TLS_CA_DIRS="/a,/b",
    )
    assert settings.backend_tls_skip_verify
    assert settings.authority_directories == (Path("/a"), Path("/b"))
    assert (settings.tls_min_version, settings.tls_max_version) == ("1.2", "1.3")
    assert settings.tls_policy.ciphers == "ECDHE-RSA-AES128-GCM-SHA256"
    assert settings.tls_policy.curves == ("X25519", "P-256")


def test_weirs_own_settings_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, "--tls-min-version=1.3", TLS_MIN_VERSION="1.2", PROXY_TLS_ENABLED="true", PROXY_TLS_PORT="1")
    assert settings.tls_min_version == "1.3"
    monkeypatch.setenv("WEIR_PROXY_TLS_PORT", "2")
    assert load(monkeypatch, PROXY_TLS_ENABLED="true", PROXY_TLS_PORT="1").proxy_tls_port == 2


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--proxy-plaintext=redirect"], "--proxy-plaintext .* needs a certificate"),
        (["--proxy-plaintext=off"], "--proxy-plaintext .* needs a certificate"),
        (["--backend-tls-ca-dirs=,"], "--backend-tls-ca-dirs .* is given, and names none"),
        (["--proxy-tls-directories= , "], "--proxy-tls-directories .* is given, and names none"),
        (["--tls-min-version=1.3", "--tls-max-version=1.2"], "--tls-min-version .* is higher than --tls-max-version"),
        (["--tls-min-version=1.1"], r"--tls-min-version: not a version of TLS that can be used: 1\.2 or 1\.3"),
        (["--tls-cipher-suites=RC4"], "--tls-cipher-suites: 'RC4' is not a cipher suite"),
        (["--tls-curves=secp112r1"], "--tls-curves: 'secp112r1' is not a curve"),
        (["--proxy-tls-client-certs=none"], "--proxy-tls-client-certs: "),
    ],
)
def test_what_would_be_less_than_what_was_meant_is_refused(flags: list[str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        InterceptorSettings.load(flags)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"TLS_MIN_VERSION": "1.1"}, "KEDA_HTTP_TLS_MIN_VERSION: not a version of TLS"),
        ({"PROXY_TLS_MIN_VERSION": "1.1"}, "KEDA_HTTP_PROXY_TLS_MIN_VERSION: not a version of TLS"),
        ({"TLS_MAX_VERSION": "2"}, "KEDA_HTTP_TLS_MAX_VERSION: not a version of TLS"),
        (
            {"TLS_MIN_VERSION": "1.3", "PROXY_TLS_MAX_VERSION": "1.2"},
            "KEDA_HTTP_TLS_MIN_VERSION is higher than KEDA_HTTP_PROXY_TLS_MAX_VERSION",
        ),
        ({"TLS_CIPHER_SUITES": "RC4"}, "KEDA_HTTP_TLS_CIPHER_SUITES: 'RC4' is not a cipher suite"),
        ({"TLS_CURVE_PREFERENCES": "x"}, "KEDA_HTTP_TLS_CURVE_PREFERENCES: 'x' is not a curve"),
        ({"PROXY_TLS_CURVE_PREFERENCES": "x"}, "KEDA_HTTP_PROXY_TLS_CURVE_PREFERENCES: 'x' is not a curve"),
        ({"TLS_SKIP_VERIFY": "perhaps"}, "KEDA_HTTP_TLS_SKIP_VERIFY: Input should be a valid boolean"),
        ({"PROXY_TLS_SKIP_VERIFY": "perhaps"}, "KEDA_HTTP_PROXY_TLS_SKIP_VERIFY: Input should be a valid boolean"),
        ({"TLS_CA_DIRS": ","}, "KEDA_HTTP_TLS_CA_DIRS is given, and names none"),
        ({"PROXY_TLS_ENABLED": "true", "PROXY_TLS_CERT_STORE_PATHS": ","}, "KEDA_HTTP_PROXY_TLS_CERT_STORE_PATHS is given, and"),
        ({"PROXY_TLS_ENABLED": "true", "PROXY_TLS_PORT": "70000"}, "KEDA_HTTP_PROXY_TLS_PORT: Input should be less than"),
        (
            {"TLS_MIN_VERSION": "1.3", "--tls-max-version=1.2": ""},
            "KEDA_HTTP_TLS_MIN_VERSION is higher than --tls-max-version (W",
        ),
    ],
)
def test_a_value_that_is_wrong_is_told_by_the_variable_that_has_it(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], told: str
) -> None:
    flags = [name for name in given if name.startswith("--")]
    with pytest.raises(SettingsError, match=re.escape(told)):
        load(monkeypatch, *flags, **{name: value for name, value in given.items() if name not in flags})


def test_weirs_own_variable_is_told_where_it_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_TLS_MIN_VERSION", "1.1")
    with pytest.raises(SettingsError, match=r"^WEIR_TLS_MIN_VERSION: not a version"):
        load(monkeypatch, TLS_MIN_VERSION="1.0")
