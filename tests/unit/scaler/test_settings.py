from pathlib import Path

import pytest

from fleet.runtime.settings import SettingsError
from scaler.settings import ScalerSettings


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_MEMBER_TTL", "10")
    monkeypatch.setenv("WEIR_PORT", "1")
    settings = ScalerSettings.load(["--port", "2"])
    assert (settings.port, settings.member_ttl, settings.reassert_interval) == (2, 10.0, 2.0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port", "70000"], "--port"),
        (["--reassert-interval", "0"], "--reassert-interval"),
        (["--tls-cert", "a"], r"^--tls-key \(WEIR_TLS_KEY\) is missing: --tls-cert \(WEIR_TLS_CERT\) needs it$"),
        (["--tls-ca", "a"], r"^--tls-cert \(.*\) and --tls-key \(.*\) are missing: --tls-ca \(WEIR_TLS_CA\) needs them$"),
        (["--member-tls-key", "a"], r"^--member-tls-cert \(WEIR_MEMBER_TLS_CERT\) is missing: --member-tls-key"),
        (["--member-tls-name", "a"], r"^--member-tls-cert \(.*\) and --member-tls-key \(.*\) are missing: --member-tls-name"),
    ],
)
def test_settings_that_cannot_work_are_told_in_a_line(flags: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as told:
        ScalerSettings.load(flags)
    assert "\n" not in str(told.value)


def test_certificates() -> None:
    assert ScalerSettings.load([]).server_tls is None
    assert ScalerSettings.load([]).member_tls is None
    server = ScalerSettings.load(["--tls-cert", "c", "--tls-key", "k"]).server_tls
    assert server is not None
    assert (server.cert, server.key, server.ca) == (Path("c"), Path("k"), None)
    member = ScalerSettings.load(["--member-tls-cert", "c", "--member-tls-key", "k", "--member-tls-ca", "a"]).member_tls
    assert member is not None
    assert member.ca == Path("a")


def test_every_setting_says_what_it_is() -> None:
    for name, field in ScalerSettings.model_fields.items():
        assert field.description, name
