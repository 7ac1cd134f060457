"""Where redirects lead, and that clients cannot make them lead elsewhere."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.routing.redirect import location
from fleet.routing.route import Redirect, Rule
from fleet.routing.rules import RulePath


def leads(
    redirect: Redirect, path: bytes, *, prefix: str = "/", host: bytes = b"a.test:8080", query: bytes = b""
) -> bytes | None:
    return location(RulePath(0, Rule(), prefix), redirect, host=host, path=path, query=query)


@pytest.mark.parametrize(
    ("redirect", "path", "to"),
    [
        (Redirect(scheme="https"), b"/x", b"https://a.test/x"),
        (Redirect(scheme="https", port=443), b"/x", b"https://a.test/x"),
        (Redirect(scheme="https", port=8443), b"/x", b"https://a.test:8443/x"),
        (Redirect(scheme="http", port=443), b"/x", b"http://a.test:443/x"),
        (Redirect(host="b.test"), b"/x", b"//b.test/x"),
        (Redirect(port=81), b"/x", b"//a.test:81/x"),
        (Redirect(host="b.test", path="/new"), b"/old/x", b"//b.test/new"),
        (Redirect(path="/new"), b"/old/x", b"/new"),
        (Redirect(prefix="/new"), b"/old/x", b"/new/x"),
        (Redirect(prefix="/"), b"/old//x", b"/x"),
        (Redirect(prefix="/"), b"/old", b"/"),
        (Redirect(prefix="/", scheme="https"), b"/old/%41", b"https://a.test/%41"),
        (Redirect(scheme="https"), b"*", b"https://a.test/"),
    ],
)
def test_where_it_leads(redirect: Redirect, path: bytes, to: bytes) -> None:
    assert leads(redirect, path, prefix="/old" if path.startswith(b"/old") else "/") == to
    assert leads(redirect, path, prefix="/old" if path.startswith(b"/old") else "/", query=b"?a=%2F&b") == to + b"?a=%2F&b"


def test_hosts_are_as_matched() -> None:
    assert leads(Redirect(scheme="https"), b"/", host=b"A.Test.:80") == b"https://a.test/"
    assert leads(Redirect(scheme="https"), b"/", host=b"[2001:DB8::1]:80") == b"https://[2001:db8::1]/"


def test_a_path_that_leads_out() -> None:
    assert leads(Redirect(prefix="/new"), b"/old/../x", prefix="/old") is None


def test_what_clients_read_otherwise_is_escaped() -> None:
    assert leads(Redirect(prefix="/"), b'/old/\\evil.test/"<\xff>', prefix="/old") == b"/%5Cevil.test/%22%3C%FF%3E"


_PARTS = st.lists(
    st.sampled_from([b"/", b"\\", b"..", b".", b"%2f", b"%5c", b"evil.test", b"@", b":", b";", b"old", b"?", b"\t"])
)


@given(_PARTS, st.sampled_from([Redirect(prefix="/"), Redirect(prefix="/v1"), Redirect(path="/p"), Redirect(scheme="https")]))
def test_no_path_leads_to_another_host(parts: list[bytes], redirect: Redirect) -> None:
    rest, _, query = b"".join(parts).partition(b"?")
    to = leads(redirect, b"/old/" + rest, prefix="/old", query=b"?" + query if query else b"")
    if to is not None:
        assert urlsplit(urljoin("https://a.test/old", to.decode())).netloc == "a.test"
        assert b"\\" not in to
        assert not to.startswith((b"//", b"/\t"))
