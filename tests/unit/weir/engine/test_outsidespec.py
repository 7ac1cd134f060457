"""Apps of a file that are not started here."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.routing.route import Target, WeightedTarget
from weir.engine.specfile import SpecError, SpecFile, parse_spec

FILE = Path(__file__).parent / "fleet.yaml"


def parsed(text: str) -> SpecFile:
    return parse_spec(text, FILE)


def test_an_app_that_is_outside_is_a_target_for_others_too() -> None:
    file = parsed(
        """
        defaults: {command: serve, cooldown: 5s, max: 3, env: {A: b}}
        apps:
          - {name: docs, hosts: [docs], outside: {host: docs.test, port: 80}}
          - {name: fixed, hosts: [fixed], outside: {addresses: ["127.0.0.1:81", "::1"], port: 82}}
          - name: web
            fallback: fixed
            rules:
              - hosts: [web]
              - hosts: [web]
                paths: [/docs]
                backends:
                  - {service: docs, weight: 2}
                  - {host: a.test, port: 8, weight: 3}
                  - {addresses: ["192.0.2.1:80"]}
                  - {service: web}
        """
    )
    docs, fixed = Target(host="docs.test", port=80), Target(addresses=("127.0.0.1:81", "::1"), port=82)
    apps = file.table.apps
    assert (apps["default/docs"].target, apps["default/fixed"].target, apps["default/web"].target) == (
        docs,
        fixed,
        Target("default/web"),
    )
    assert apps["default/web"].cold_start.fallback == fixed
    assert apps["default/web"].rules[1].backends == (
        WeightedTarget(host="docs.test", port=80, weight=2),
        WeightedTarget(host="a.test", port=8, weight=3),
        WeightedTarget(addresses=("192.0.2.1:80",)),
        WeightedTarget("default/web"),
    )
    assert [app.command for app in file.spec.apps] == [(), (), ("/bin/sh", "-c", "serve")]
    assert [app.cooldown for app in file.spec.apps] == [30.0, 30.0, 5.0]


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ("outside: {host: a.test}", "outside.port: is missing"),
        ("outside: {port: 80}", "outside: is either a host or addresses"),
        ("outside: {}", "outside: is either a host or addresses"),
        ("outside: {host: a.test, port: 80, addresses: [127.0.0.1]}", "outside: is either a host or addresses"),
        ("outside: {host: 127.0.0.1, port: 80}", "outside.host: '127.0.0.1' is an address; write it in addresses"),
        ("outside: {host: a b, port: 80}", "outside.host: 'a b' is not a DNS name"),
        ("outside: {addresses: [127.0.0.1]}", "outside.port: is missing"),
        ("outside: {addresses: [localhost], port: 1}", "outside.addresses[0]: 'localhost' is not an IP address"),
        ("outside: {host: a.test, port: 80}, command: x", "command: is for an app that is started here, and this one is outside"),
        ("outside: {host: a.test, port: 80}, port: 80", "port: is for an app that is started here"),
        ("outside: {host: a.test, port: 80}, min: 1", "min: is for an app that is started here"),
        ("outside: {hosts: a.test, port: 80}", "outside.hosts: is not a field"),
        ("command: x, backends: [{weight: 1}]", "backends[0].service: is missing, and so are host and addresses"),
        ("command: x, backends: [{service: b, host: a.test, port: 1}]", "backends[0].service: is missing, and so are"),
        ("command: x, backends: [{service: a, port: 1}]", "backends[0].port: is for a host or addresses"),
        ("command: x, backends: [{host: a.test}]", "backends[0].port: is missing"),
        ("command: x, fallback: {}", "fallback.service: is missing, and so are host and addresses"),
        ("command: x, fallback: {service: a}", "fallback: is the app itself"),
        ("command: x, fallback: {service: b, tls: {}}", "fallback: there is no app default/b; did you mean default/a?"),
        ("command: x, fallback: {service: b, port: 1}", "fallback.port: is for a host or addresses"),
        ("command: x, fallback: {host: b.test}", "fallback.port: is missing"),
        ("command: x, fallback: {host: b.test, port: 1, weight: 2}", "fallback.weight: is not a field"),
        ("command: x, fallback: {host: b.test, port: 1, tls: }", "fallback.tls: is empty; {} is TLS with the usual"),
        ("command: x, fallback: {addresses: [127.0.0.1], port: 1, tls: {}}", "fallback.tls.server_name: is missing"),
        ("command: x, fallback: {host: b.test, port: 1, app_protocol: spdy}", "fallback.app_protocol: "),
        ("command: x, fallback: 5", "fallback: should be the name of an app, or "),
        ("command: x, fallback: [b]", "fallback: should be the name of an app, or "),
    ],
)
def test_what_is_wrong(app: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        parsed(f"apps:\n- {{name: a, hosts: [a], {app}}}\n")
    assert len(caught.value.lines) == 1, caught.value.lines
    assert caught.value.lines[0].startswith(f"{FILE}:2: apps[0].{expected}")
