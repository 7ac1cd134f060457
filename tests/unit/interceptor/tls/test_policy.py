"""Names of versions, suites and curves: both spellings, and what is refused."""

from __future__ import annotations

import ssl

import pytest

from interceptor.tls.policy import CIPHERS, Policy, parse_ciphers, parse_curves, parse_version


@pytest.mark.parametrize("text", ["1.2", "TLS12", "tls12", " 1.2 "])
def test_a_version(text: str) -> None:
    assert parse_version(text) is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("text", ["1.1", "", "TLS", "13.0", "SSLv3", "1.2.3"])
def test_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"1\.2 or 1\.3"):
        parse_version(text)


def test_suites_have_two_names() -> None:
    iana = (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"
    )
    openssl = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-SHA"
    assert parse_ciphers(iana) == parse_ciphers(openssl) == openssl


@pytest.mark.parametrize(
    "text", ["RC4-SHA", "aNULL", "ALL", "NULL-MD5", "DES-CBC3-SHA", "AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA256,x"]
)
def test_what_is_no_suite_or_not_safe_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cipher suite"):
        parse_ciphers(text)


@pytest.mark.parametrize(("parse", "what"), [(parse_ciphers, "no cipher suite"), (parse_curves, "no curve")])
def test_a_list_of_nothing(parse: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse(" , ")  # type: ignore[operator]


def test_only_suites_of_tls_1_3_leave_no_other_version() -> None:
    assert parse_ciphers("TLS_AES_128_GCM_SHA256") == ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Policy(ciphers="").apply(context)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_the_default_is_forward_secret_and_authenticated() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Policy(ciphers=CIPHERS).apply(context)
    for suite in context.get_ciphers():
        assert suite["aead"], suite
        assert suite["protocol"] == "TLSv1.3" or suite["name"].startswith("ECDHE-"), suite
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_curves() -> None:
    assert parse_curves("X25519,CurveP256, P-384") == ("X25519", "P-256", "P-384")
    with pytest.raises(ValueError, match="'P-224' is not a curve"):
        parse_curves("P-224")


@pytest.mark.parametrize(
    ("maximum", "suites", "rsa", "other"),
    [
        ("1.2", "ECDHE-RSA-AES128-GCM-SHA256", True, False),
        ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", False, True),
        ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256,ECDHE-RSA-AES128-GCM-SHA256", True, True),
        ("1.3", "ECDHE-RSA-AES128-GCM-SHA256", True, True),
    ],
)
def test_which_keys_can_be_used(maximum: str, suites: str, rsa: bool, other: bool) -> None:
    policy = Policy(maximum=parse_version(maximum), ciphers=parse_ciphers(suites))
    assert (policy.serves(rsa=True), policy.serves(rsa=False)) == (rsa, other)
    assert Policy(maximum=parse_version(maximum)).serves(rsa=False)
