"""Settings: their sources, precedence, and error messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError

from fleet.runtime.settings import ComponentSettings, SettingsError


class Example(ComponentSettings):
    proxy_port: int = Field(8080, ge=0, le=65535, description="Port for requests; 0 takes any | free one.")
    drain_delay: float = Field(5.0, description="Seconds, so that 100% of load balancers hear of it.")
    json_logs: bool = Field(False, description="JSON for collectors.")
    routes: str | None = Field(None, description="Where the routing table is.")
    tls_cert: Path | None = None
    token: SecretStr | None = None


class Required(ComponentSettings):
    routes: str


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROXY_PORT", "DRAIN_DELAY", "JSON_LOGS", "ROUTES", "TLS_CERT", "TOKEN"):
        monkeypatch.delenv(f"WEIR_{name}", raising=False)


def test_defaults() -> None:
    settings = Example.load()
    assert (settings.proxy_port, settings.drain_delay, settings.json_logs, settings.routes) == (8080, 5.0, False, None)


def test_the_environment_and_then_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_PROXY_PORT", "1")
    monkeypatch.setenv("WEIR_JSON_LOGS", "true")
    monkeypatch.setenv("WEIR_DRAIN_DELAY", "")
    monkeypatch.setenv("WEIR_SERVICE_HOST", "10.0.0.1")
    settings = Example.load(["--proxy-port", "2", "--tls-cert=/tls/cert.pem"])
    assert (settings.proxy_port, settings.json_logs, settings.drain_delay) == (2, True, 5.0)
    assert settings.tls_cert == Path("/tls/cert.pem")
    assert not Example.load(["--no-json-logs"]).json_logs


def test_times_may_be_written_as_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_DRAIN_DELAY", "1m30s")
    assert Example.load().drain_delay == 90.0
    assert Example.load(["--drain-delay=500ms"]).drain_delay == 0.5
    assert Example.model_validate({"drain_delay": 2}).drain_delay == 2.0


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example.load().proxy_port = 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--proxy-port", "x"], "--proxy-port: Input should be a valid integer"),
        (["--proxy-port", "65536"], "--proxy-port: Input should be less than or equal to 65535"),
        (["--proxy-port"], "argument --proxy-port: expected one argument"),
        (["--proxy", "1"], "unrecognized arguments: --proxy 1"),
        (["extra"], "unrecognized arguments: extra"),
        (["--proxy-port", "x", "--drain-delay", "y"], "--drain-delay: should be seconds, or a duration like"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(argv: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Example.load(argv)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_variable_is_named_and_its_value_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_PROXY_PORT", "hunter2")
    with pytest.raises(SettingsError, match=r"^WEIR_PROXY_PORT: ") as caught:
        Example.load(["--drain-delay", "1"])
    assert "hunter2" not in str(caught.value)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^WEIR_ROUTES: Field required$"):
        Required.load()


def test_a_misspelt_field_in_code_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Example(proxyport=1)  # type: ignore[call-arg]


def test_described_as_a_table() -> None:
    lines = Example.describe().splitlines()
    assert lines[0] == "| Variable | Flag | Default | Meaning |"
    assert lines[2] == "| `WEIR_PROXY_PORT` | `--proxy-port` | `8080` | Port for requests; 0 takes any \\| free one. |"
    assert lines[5] == "| `WEIR_ROUTES` | `--routes` | (none) | Where the routing table is. |"
    assert len(lines) == 2 + len(Example.model_fields)
    assert Required.describe().splitlines()[2] == "| `WEIR_ROUTES` | `--routes` | (required) |  |"


def test_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Example.load(["--help"])
    assert caught.value.code == 0
    assert "so that 100% of load balancers" in " ".join(capsys.readouterr().out.split())
