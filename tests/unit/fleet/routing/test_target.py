"""What a target may say of how its backends are spoken to, and when two are spoken to alike."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fleet.routing.check import RouteError, check_route
from fleet.routing.codec import decode_json, decode_yaml, encode_json, encode_yaml
from fleet.routing.protocols import HTTP1, HTTP2, PROTOCOLS, Spoken, is_known, spoken
from fleet.routing.route import ColdStart, Route, Rule, WeightedTarget
from fleet.routing.table import RoutingTable
from fleet.routing.target import MAX_CA_BYTES, MAX_SERVER_NAME, USUAL, Target, TargetTls

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
LONG = ".".join("a" * 63 for _ in range(4))[:MAX_SERVER_NAME]


def checked(target: Target) -> None:
    """In each place that a route has for one."""
    weighted = WeightedTarget(target.service, app_protocol=target.app_protocol, tls=target.tls)
    for whole in (
        Route("n/app", target),
        Route("n/app", Target("n/app"), cold_start=ColdStart(fallback=target)),
        Route("n/app", Target("n/app"), (Rule(backends=(weighted,)),)),
    ):
        check_route(whole)


@pytest.mark.parametrize(
    "name", ["a", "A.test", "xn--bcher-kva.test", "a_b.test", "127.0.0.1", "::1", "2001:db8::1", LONG, "1.a"]
)
def test_good_names(name: str) -> None:
    checked(Target("n/b", tls=TargetTls(name, PEM)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("*", "is a pattern"),
        ("*.a.test", "is a pattern"),
        ("a*.test", "is a pattern"),
        ("", "is neither the name of a host nor an IP address"),
        (".", "is neither"),
        ("a.test.", "is neither"),
        (".a.test", "is neither"),
        ("a..test", "is neither"),
        ("-a.test", "is neither"),
        ("a b", "is neither"),
        ("a.test:443", "is neither"),
        ("https://a.test", "is neither"),
        ("[::1]", "is neither"),
        ("fe80::1%eth0", "is neither"),
        ("127.1", "is neither"),
        ("127.0.0.01", "is neither"),
        ("1.2.3.4.5", "is neither"),
        ("bücher.test", "is neither"),
        ("a\x00.test", "is neither"),
        ("a.test\n", "is neither"),
        ("a" * 64, "is neither"),
        (f"{LONG}a", "is neither"),
        ("a." * (1 << 19), "is neither"),
    ],
)
def test_names_that_no_certificate_is_asked_for(name: str, reason: str) -> None:
    with pytest.raises(RouteError, match=reason) as told:
        check_route(Route("n/app", Target("n/b", tls=TargetTls(name))))
    assert told.value.field == "target.tls.server_name"
    assert len(str(told.value)) < 250


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        ("", "has no certificate in PEM"),
        ("garbage", "has no certificate in PEM"),
        ("/etc/ssl/ca.pem", "has no certificate in PEM"),
        ("-----BEGIN TRUSTED CERTIFICATE-----", "has no certificate in PEM"),
        (f"{PEM}-----BEGIN PRIVATE KEY-----", "has a private key"),
        (f"-----BEGIN RSA PRIVATE KEY-----\n{PEM}", "has a private key"),
        (f"{PEM}é", "not ASCII"),
        (PEM * (1 << 15), f"characters of certificates, at most {MAX_CA_BYTES} are possible"),
        ("x" * (1 << 20), f"{1 << 20} characters of certificates"),
    ],
)
def test_what_is_no_authority(pem: str, reason: str) -> None:
    with pytest.raises(RouteError, match=reason) as told:
        check_route(Route("n/app", Target("n/b", tls=TargetTls(ca_bundle=pem))))
    assert told.value.field == "target.tls.ca_bundle"
    assert len(str(told.value)) < 250


def test_verification_cannot_be_skipped_and_bound_to_authorities() -> None:
    with pytest.raises(RouteError, match="insecure_skip_verify: there are authorities as well"):
        checked(Target("n/b", tls=TargetTls(ca_bundle=PEM, insecure_skip_verify=True)))
    checked(Target("n/b", tls=TargetTls("a.test", insecure_skip_verify=True)))


@pytest.mark.parametrize("word", ["tcp", "HTTP", "", "h3", "kubernetes.io/tcp", "x" * (1 << 20)])
def test_a_word_of_a_route_that_nobody_knows_is_a_mistake(word: str) -> None:
    with pytest.raises(RouteError, match=r"target\.app_protocol: .* is not one of http, ") as told:
        check_route(Route("n/app", Target("n/b", app_protocol=word)))
    assert len(str(told.value)) < 300


def test_every_word() -> None:
    for word, meaning in PROTOCOLS.items():
        checked(Target("n/b", app_protocol=word))
        assert word == word.lower()
        assert is_known(word.upper())
        assert spoken(word) == spoken(word.upper()) == meaning
    assert set(PROTOCOLS.values()) == {Spoken(protocol, tls) for protocol in (HTTP1, HTTP2) for tls in (False, True)}
    assert spoken(None) == spoken("") == spoken("tcp") == Spoken(HTTP1)


PLAIN = Target("n/b", 80)
WAYS = [
    PLAIN,
    replace(PLAIN, app_protocol="http"),
    replace(PLAIN, app_protocol="h2c"),
    replace(PLAIN, tls=TargetTls()),
    replace(PLAIN, tls=TargetTls("a.test")),
    replace(PLAIN, tls=TargetTls("b.test")),
    replace(PLAIN, tls=TargetTls(ca_bundle=PEM)),
    replace(PLAIN, tls=TargetTls(ca_bundle=PEM * 2)),
    replace(PLAIN, tls=TargetTls("a.test", PEM)),
    replace(PLAIN, tls=TargetTls(insecure_skip_verify=True)),
    replace(PLAIN, app_protocol="h2", tls=TargetTls(insecure_skip_verify=True)),
]


def test_connections_are_shared_by_those_who_speak_alike_and_by_no_others() -> None:
    assert len({target.connects for target in WAYS}) == len(WAYS)
    assert {target.key for target in WAYS} == {"n/b:80"}, "to discovery they are one"
    for target in WAYS:
        again = Target(target.service, 80, app_protocol=target.app_protocol, tls=target.tls and replace(target.tls))
        assert again.pool == target.pool
        weighted = WeightedTarget(target.service, 80, app_protocol=target.app_protocol, tls=target.tls, weight=3)
        assert weighted.pool == target.pool
    assert PLAIN.connects is USUAL
    assert replace(PLAIN, port=81).pool != PLAIN.pool


@pytest.mark.parametrize("target", WAYS)
def test_a_table_keeps_all_of_it(target: Target) -> None:
    weighted = WeightedTarget("n/c", app_protocol=target.app_protocol, tls=target.tls)
    whole = Route("n/app", target, (Rule(backends=(weighted,)),), cold_start=ColdStart(fallback=replace(target, service="n/d")))
    table = RoutingTable([whole])
    for decoded in (decode_json(encode_json(table)), decode_yaml(encode_yaml(table))):
        assert decoded.routes == (whole,)
        assert decoded.version == table.version


def test_a_route_that_says_nothing_has_the_version_that_it_always_had() -> None:
    assert (
        encode_json(RoutingTable([Route("n/app", PLAIN)])) == b'{"routes":[{"app":"n/app","target":{"service":"n/b","port":80}}]}'
    )


@pytest.mark.parametrize("tls", [None, TargetTls(), TargetTls(ca_bundle=PEM)])
def test_addresses_over_tls_need_a_name(tls: TargetTls | None) -> None:
    target = Target(addresses=("192.0.2.1:443",), app_protocol="https", tls=tls)
    with pytest.raises(RouteError, match="addresses have no name that a certificate could have"):
        check_route(Route("n/app", target))
    for named in (TargetTls("a.test"), TargetTls(insecure_skip_verify=True)):
        check_route(Route("n/app", replace(target, tls=named)))
    assert replace(target, tls=TargetTls(insecure_skip_verify=True)).server_name == "192.0.2.1"


def test_the_name_of_a_host_is_its_own() -> None:
    assert Target(host="api.test.", port=443, app_protocol="https").server_name == "api.test"
    assert Target(host="api.test", port=443, tls=TargetTls("other.test")).server_name == "other.test"
