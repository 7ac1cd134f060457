from typing import NoReturn

import pytest

from controller.server import Controller
from controller.settings import ControllerSettings
from fleet.discovery.kubernetes.client import Api
from fleet.runtime.process import StartError
from fleet.runtime.settings import SettingsError


def test_every_setting_says_what_it_is() -> None:
    for name, field in ControllerSettings.model_fields.items():
        assert field.description, name


def test_namespaces() -> None:
    assert ControllerSettings.load([]).watched == ()
    assert ControllerSettings.load(["--namespaces", "a, b,a,"]).watched == ("a", "b")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--member-tls-cert", "c"], r"^--member-tls-key \(WEIR_MEMBER_TLS_KEY\) is missing"),
        (["--member-tls-ca", "c"], r"^--member-tls-cert \(.*\) and --member-tls-key \(.*\) are missing: --member-tls-ca"),
        (["--lease-duration", "1"], "--lease-duration"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_settings_that_cannot_work_are_told_in_a_line(flags: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ControllerSettings.load(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--routes", "configmap:table"], "routes: 'configmap:table' is neither"),
        (["--routes", "etcd:a/b"], "routes: 'etcd:a/b' is neither"),
        (["--routes", "file:/x"], "lease:"),
        (["--lease", "alone"], "lease:"),
        (["--members", "service:a/b"], "members: 'service:a/b' is not"),
        (["--members", "nowhere"], "members"),
    ],
)
async def test_places_that_make_no_sense(flags: list[str], message: str) -> None:
    async def load() -> NoReturn:
        raise AssertionError("nothing is asked before the settings make sense")

    with pytest.raises(StartError, match=message):
        Controller(ControllerSettings.load(flags), api=Api(load))


def test_certificates() -> None:
    assert ControllerSettings.load([]).member_tls is None
    tls = ControllerSettings.load(["--member-tls-cert", "c", "--member-tls-key", "k", "--member-tls-ca", "a"]).member_tls
    assert tls is not None
    assert str(tls.ca) == "a"
