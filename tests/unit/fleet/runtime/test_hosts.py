"""Names that a web page cannot make its own."""

from __future__ import annotations

import pytest

from fleet.runtime.hosts import is_own, own_names


@pytest.mark.parametrize(
    "host",
    [
        *("", "127.0.0.1", "127.0.0.1:9901", "10.2.3.4:9901", "[::1]", "[::1]:9901"),
        *("localhost", "LOCALHOST:9901", "localhost.", "shop.localhost:1", "weir-interceptor", "weir-interceptor:9901"),
        *("weir-interceptor.weir-system.svc", "weir-interceptor.weir-system.svc:9901", "a.b.svc.cluster.local."),
        "keda-add-ons-http-interceptor-metrics.keda:2223",
    ],
)
def test_own(host: str) -> None:
    assert is_own(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.test",
            "evil.test:9901",
            "127.0.0.1.evil.test",
            "127.0.0.1.nip.io:9901",
            "localhost.evil.test",
            "evil-localhost.test",
        ),
        *("svc.evil.test", "x.svc.evil.test", "a.notsvc", "a.svcx", "127.0.0.1@evil.test", "evil.test@localhost.x", "0x7f.1"),
        *(
            "localhost:evil.test",
            "localhost:9901:evil.test",
            "[::1]evil.test",
            "[evil.test]",
            "[evil.test]:9901",
            "[",
            ":9901",
            ".",
        ),
        *("evil.test/localhost", "localhost/.evil.test", "127.1"),
    ],
)
def test_of_somebody_else(host: str) -> None:
    assert not is_own(host)


def test_names_that_are_set() -> None:
    names = own_names("Weir.Corp.Example. , ,other.test")
    assert names == {"weir.corp.example", "other.test"}
    assert is_own("weir.corp.example:9901", names)
    assert is_own("OTHER.test.", names)
    assert not is_own("x.other.test", names)
    assert not own_names("")


def test_all_services_of_a_namespace() -> None:
    names = own_names("*.Weir-System, x.test")
    assert is_own("metrics.weir-system:9901", names)
    assert is_own("x.test", names)
    for other in ("a.b.weir-system", "weir-system.test", "metrics.weir", "metrics.weir-system.test", "y.test"):
        assert not is_own(other, names)
