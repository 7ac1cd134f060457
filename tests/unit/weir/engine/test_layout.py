"""The flags that components get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.settings import InterceptorSettings
from scaler.settings import ScalerSettings
from weir.engine.layout import Layout
from weir.engine.spec import FleetSpec
from weir.engine.state import StateDirectory


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    state = StateDirectory(tmp_path / "state")
    yield state
    state.close()


def test_interceptors_stand_side_by_side(state: StateDirectory) -> None:
    spec = FleetSpec.model_validate({"ports": {"rpc": 9090}})
    layout = Layout(spec, state, proxy_port=7000)
    assert [layout.proxy_port(index) for index in range(3)] == [7000, 7001, 7002]
    assert [layout.rpc_port(index) for index in range(2)] == [9090, 9091]
    assert layout.interceptor_diagnostics_port(1) == 0


def test_of_several_interceptors_the_first_alone_listens_at_ports_of_apps(state: StateDirectory) -> None:
    layout = Layout(FleetSpec(interceptors=3), state)

    def listens(index: int) -> bool:
        return InterceptorSettings.load(layout.interceptor(index, proxy=1, rpc=2, diagnostics=3)).app_ports

    assert [listens(index) for index in range(3)] == [True, False, False]


def test_settings_of_the_file_reach_the_components(state: StateDirectory) -> None:
    given = {"interceptor": {"max_held": 7, "head_timeout": 3}, "scaler": {"member_ttl": 5}}
    layout = Layout(FleetSpec.model_validate(given), state, log_level="warning")
    interceptor = InterceptorSettings.load(layout.interceptor(1, proxy=1, rpc=2, diagnostics=3))
    assert (interceptor.max_held, interceptor.head_timeout, interceptor.log_level) == (7, 3.0, "warning")
    assert (interceptor.proxy_port, interceptor.rpc_port, interceptor.diagnostics_port) == (1, 2, 3)
    assert (interceptor.member_name, interceptor.host) == ("interceptor-2", "127.0.0.1")
    assert interceptor.routes == f"file:{state.path / 'routes.json'}"
    scaler = ScalerSettings.load(layout.scaler(port=4, diagnostics=5))
    assert (scaler.port, scaler.member_ttl, scaler.log_level) == (4, 5.0, "warning")
    assert scaler.members == f"file:{state.path / 'members.json'}"


def test_what_listens_everywhere_is_reached_here(state: StateDirectory) -> None:
    assert Layout(FleetSpec(), state, host="0.0.0.0").near_host == "127.0.0.1"


def test_apps_are_listed_by_an_engine_unless_its_file_says_otherwise_and_by_nobody_else(state: StateDirectory) -> None:
    def lists(given: dict[str, object]) -> bool:
        layout = Layout(FleetSpec.model_validate(given), state)
        return InterceptorSettings.load(layout.interceptor(0, proxy=1, rpc=2, diagnostics=3)).list_apps

    assert lists({})
    assert not lists({"interceptor": {"list_apps": False}})
    assert not InterceptorSettings.load([]).list_apps


def test_certificates_of_the_file_stand_beside_those_that_are_made(state: StateDirectory) -> None:
    given = {"interceptor": {"proxy_tls_directories": "/mine", "proxy_tls_ca": "/ca"}}
    for made, directories in ((None, "/mine"), (Path("/made"), "/mine,/made")):
        layout = Layout(FleetSpec.model_validate(given), state, certificates=made)
        settings = InterceptorSettings.load(layout.interceptor(0, proxy=1, rpc=2, diagnostics=3))
        assert (settings.proxy_tls_directories, settings.proxy_tls_ca, layout.has_certificates) == (directories, "/ca", True)
    assert not Layout(FleetSpec(), state).has_certificates
