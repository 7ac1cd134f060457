"""Half of a set of certificate, key, authority and name is refused wherever it can be given, and never taken for plain text.

Finds the settings classes, the commands and their groups of fields by itself: who adds one has it checked here.
"""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from pydantic import BaseModel, ValidationError
from typer.testing import CliRunner

import controller
import fleet
import interceptor
import scaler
import weir
from fleet.runtime.settings import ComponentSettings, SettingsError
from fleet.runtime.tls import TlsFiles
from tests.support.certificates import Authority
from weir import cli
from weir.dial import PLAIN, Dial, Tls, dial

PACKAGES = (fleet, interceptor, scaler, controller, weir)
PARTS = ("cert", "key", "ca", "name")
GROUP = re.compile(r"(?P<group>\w*tls)_(?P<part>cert|key|ca|name)")
SENSITIVE = re.compile(r"tls|ssl|cert|crt|pem|key|secret|token|password|(^|_)ca(_|$)|verify|insecure|trust|auth")
"""What settings of security are called. One that is no part of a group has to be looked at by a person, and named here."""
ALONE = {
    # One value, which another one could be missing to by no means.
    "affinity_key",
    "trigger_authentication",  # without it KEDA speaks plain text, to which a scaler with a certificate does not listen
    "verify_timeout",  # seconds
    "trusted_proxies",  # one value; whose default is bounded and documented
    # Of the proxy's port for TLS. Without certificates there is no such port, and it is refused to redirect to it.
    "proxy_tls_port",
    "proxy_tls_directories",  # given and empty, it is refused
    "proxy_tls_client_certs",  # required is the default; refused without a proxy_tls_ca
    "tls_min_version",
    "tls_max_version",
    "tls_cipher_suites",
    "tls_curves",
    "proxy_tls",  # a port, in the file of apps
    "backend_tls_ca_dirs",  # given and empty, it is refused
    # Of documents of the Admin API: references to a Secret, which it never reads.
    "secret",
    "key",
    "backend_tls_as_clients",  # more TLS, not less; false is the default
    "backend_tls_skip_verify",  # false is the default; a value that is neither true nor false is refused
    # Of an app in the file of apps.
    "tls",  # what is given and empty is refused
    "ca",  # the same; a file that has no authority is refused, and so is one beside skip_verify
    "skip_verify",  # as backend_tls_skip_verify
    # Of events, each one value: without it nothing is sent in its place, and a file that cannot be read is refused.
    "events_ca",
    "events_token",
    "events_signing_key",
}


def _modules() -> Iterator[str]:
    for package in PACKAGES:
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield found.name


def _subclasses(of: type[Any]) -> Iterator[type[Any]]:
    for kind in of.__subclasses__():
        if kind.__module__.partition(".")[0] in {package.__name__ for package in PACKAGES}:
            yield kind
        yield from _subclasses(kind)


for name in _modules():
    importlib.import_module(name)

SETTINGS = sorted((kind for kind in _subclasses(ComponentSettings)), key=lambda kind: kind.__name__)
MODELS = sorted(
    {kind for kind in _subclasses(BaseModel) if not issubclass(kind, ComponentSettings)}, key=lambda kind: kind.__name__
)


class Group(NamedTuple):
    """Fields of a settings class that are one set."""

    settings: type[ComponentSettings]
    prefix: str
    parts: Mapping[str, str]
    """Field by part."""

    @property
    def files(self) -> str:
        """The property in which the class gives them to whoever uses them."""
        return "server_tls" if self.prefix == "tls" else self.prefix

    def flags(self, given: Collection[str], value: str = "") -> list[str]:
        return [f"{_flag(self.parts[part])}={value or f'/{part}'}" for part in given]

    def __str__(self) -> str:
        return f"{self.settings.__name__}-{self.prefix}"


def _groups() -> Iterator[Group]:
    for kind in SETTINGS:
        found: dict[str, dict[str, str]] = {}
        for field in kind.model_fields:
            if match := GROUP.fullmatch(field):
                found.setdefault(match["group"], {})[match["part"]] = field
        yield from (Group(kind, prefix, parts) for prefix, parts in found.items())


GROUPS = list(_groups())


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _variable(field: str) -> str:
    return f"WEIR_{field.upper()}"


def _subsets(parts: Collection[str]) -> list[tuple[str, ...]]:
    return [subset for size in range(len(parts) + 1) for subset in itertools.combinations(sorted(parts), size)]


def _commands() -> dict[str, Any]:
    """Those with a flag about certificates; the components' own flags are those of their settings."""
    every: dict[str, Any] = getattr(typer.main.get_command(cli.app), "commands")  # noqa: B009  # which of click's classes it is, is typer's business
    return {name: command for name, command in every.items() if any(GROUP.fullmatch(each.name) for each in command.params)}


COMMANDS = _commands()


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("WEIR_")]:
        monkeypatch.delenv(variable)


def test_all_of_them_are_found() -> None:
    assert {kind.__name__ for kind in SETTINGS} >= {"InterceptorSettings", "ScalerSettings", "ControllerSettings"}
    assert {str(group) for group in GROUPS} >= {
        "InterceptorSettings-tls",
        "ScalerSettings-tls",
        "ScalerSettings-member_tls",
        "ControllerSettings-member_tls",
    }
    assert set(COMMANDS) >= {"queue", "explain"}


@pytest.mark.parametrize("kind", [*SETTINGS, *MODELS], ids=lambda kind: kind.__name__)
def test_nothing_about_security_stands_outside_of_a_group(kind: type[BaseModel]) -> None:
    grouped = {field for group in GROUPS if group.settings is kind for field in group.parts.values()}
    assert {field for field in kind.model_fields if SENSITIVE.search(field)} - grouped - ALONE == set()


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_group_has_what_its_kind_needs(group: Group) -> None:
    assert {"cert", "key", "ca"} <= set(group.parts)
    assert isinstance(getattr(group.settings, group.files), property)


@pytest.mark.parametrize("source", ["flags", "environment", "code"])
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_every_subset_is_whole_or_refused_by_the_name_of_what_is_missing(
    group: Group, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in _subsets(group.parts):
        missing = {"cert", "key"}.difference(given) if given else set()
        if not missing:
            _assert_used(group, given, _load(group, given, source, monkeypatch))
            continue
        with pytest.raises((SettingsError, ValidationError)) as told:
            _load(group, given, source, monkeypatch)
        message = str(told.value)
        before, _, after = message.partition(" missing: ")
        if source != "code":
            assert "\n" not in message
            assert not message.startswith("Value error")
        for part, field in group.parts.items():
            name = rf"{_flag(field)} \({_variable(field)}\)"
            assert bool(re.search(name, before)) == (part in missing), (given, message)
            assert bool(re.search(name, after)) == (part in given), (given, message)


def _load(group: Group, given: Collection[str], source: str, monkeypatch: pytest.MonkeyPatch) -> ComponentSettings:
    if source == "flags":
        return group.settings.load(group.flags(given))
    if source == "code":
        return group.settings(**{group.parts[part]: f"/{part}" for part in given})
    with monkeypatch.context() as patch:
        for part in given:
            patch.setenv(_variable(group.parts[part]), f"/{part}")
        return group.settings.load()


def _assert_used(group: Group, given: Collection[str], settings: ComponentSettings) -> None:
    files = getattr(settings, group.files)
    if not given:
        assert files is None
    else:
        assert files == TlsFiles(Path("/cert"), Path("/key"), Path("/ca") if "ca" in given else None)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_flags_and_variables_are_one_set(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_variable(group.parts["key"]), "/key")
    with pytest.raises(SettingsError, match=rf"{_flag(group.parts['cert'])} \(.*missing"):
        group.settings.load(group.flags(["ca"]))
    _assert_used(group, ["cert", "key"], group.settings.load(group.flags(["cert"])))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_flag_that_is_given_without_a_value_is_not_a_flag_that_is_not_given(group: Group) -> None:
    """As of --tls-cert="$CERT", where nobody has set CERT."""
    for part, field in group.parts.items():
        with pytest.raises(SettingsError, match=rf"^{_flag(field)} \({_variable(field)}\) is given, and empty$"):
            group.settings.load([f"{_flag(field)}=", *group.flags(set(group.parts) - {part})])
    with pytest.raises(SettingsError, match=r" are given, and empty$"):
        group.settings.load([f"{_flag(field)}=" for field in group.parts.values()])


def test_a_secret_that_is_given_without_a_value_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^--affinity-key \(WEIR_AFFINITY_KEY\) is given, and empty$"):
        interceptor.settings.InterceptorSettings.load(["--affinity-key="])


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_a_secret_is_not_shown(kind: type[ComponentSettings]) -> None:
    """Of a group there are only paths."""
    grouped = {field for group in GROUPS if group.settings is kind for field in group.parts.values()}
    secret = {field for field in kind.model_fields if re.search(r"key|secret|token|password", field)}
    urls = {"events_webhook", "events_redis"} & kind.model_fields.keys()  # they may have a password
    assert (secret - grouped) | urls == kind.secrets


def test_the_value_of_a_secret_is_in_no_page() -> None:
    settings = interceptor.settings.InterceptorSettings.load(["--affinity-key=hush", "--routes=file:/r"])
    assert settings.shown()["settings"]["affinity_key"] == "(hidden)"
    assert settings.shown()["not_default"] == ["affinity_key", "member_name", "routes"]
    assert "hush" not in str(settings.shown())
    assert interceptor.settings.InterceptorSettings.load().shown()["settings"]["affinity_key"] == ""


@pytest.mark.parametrize("names", [",", " , ", " "])
def test_a_list_of_namespaces_that_names_none_is_not_all_of_them(names: str) -> None:
    with pytest.raises(SettingsError, match=r"^--namespaces: "):
        controller.settings.ControllerSettings.load(["--namespaces", names])


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_file_of_apps_gives_none_of_them(group: Group) -> None:
    """The engine speaks to its components without certificates: a file that asks for some must not be taken and get none."""
    from weir.engine.specfile import SpecError, parse_spec  # noqa: PLC0415

    kind = group.settings.__name__.removesuffix("Settings").lower()
    for field in group.parts.values():
        with pytest.raises(SpecError, match=field if kind in ("interceptor", "scaler") else kind):
            parse_spec(f"apps: [{{name: a, hosts: [a], command: x}}]\n{kind}: {{{field}: x}}\n", Path("apps.yaml"))


# Commands that dial.


class Pki:
    def __init__(self, directory: Path) -> None:
        authority = Authority()
        self.ca = directory / "ca.crt"
        self.ca.write_bytes(authority.pem)
        self.cert, self.key = authority.write(directory, "client")
        self.name = "interceptor"

    def value(self, part: str) -> Any:
        return getattr(self, part)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def _missing_of_a_client(given: Collection[str]) -> set[str]:
    """Who dials may show no certificate; then there must be an authority, lest a name alone be spoken to in plain text."""
    if not given:
        return set()
    return ({"cert", "key"} if {"cert", "key"} & set(given) else {"ca"}).difference(given)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_whole_sets_only(command: str, pki: Pki, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dialled: list[Dial] = []

    def opened(self: Dial, *_: Any, **__: Any) -> Any:
        dialled.append(self)
        raise SystemExit(0)

    monkeypatch.setattr(Dial, "open", opened)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # of no engine that runs on this machine
    options = {parameter.name: parameter for parameter in COMMANDS[command].params}
    assert {f"tls_{part}" for part in PARTS} <= set(options)
    arguments = ["a.test"] if command == "explain" else []
    for given in _subsets(PARTS):
        flags = [text for part in given for text in (f"--tls-{part}", str(pki.value(part)))]
        variables = {str(options[f"tls_{part}"].envvar): str(pki.value(part)) for part in given}
        missing = _missing_of_a_client(given)
        for typed, environment in ((flags, {}), ([], variables)):
            dialled.clear()
            ended = CliRunner().invoke(cli.app, [command, *arguments, *typed], env=environment)
            if not missing:
                (how,) = dialled
                assert (how.credentials is not None) == bool(given), given
                continue
            assert dialled == []
            assert ended.exit_code == 3
            (line,) = ended.stderr.splitlines()
            before, _, after = line.partition(" missing: ")
            for part in PARTS:
                assert (f"--tls-{part} (WEIR_MEMBER_TLS_{part.upper()})" in before) == (part in missing), (given, line)
                assert (f"--tls-{part} (" in after) == (part in given), (given, line)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_with_an_empty_flag_is_refused(command: str, part: str) -> None:
    arguments = ["a.test"] if command == "explain" else []
    ended = CliRunner().invoke(cli.app, [command, *arguments, f"--tls-{part}", ""])
    assert ended.exit_code == 3
    assert ended.stderr == f"--tls-{part} (WEIR_MEMBER_TLS_{part.upper()}) is given, and empty\n"


def test_only_nothing_at_all_is_plain_text() -> None:
    assert dial(Tls()) is PLAIN
