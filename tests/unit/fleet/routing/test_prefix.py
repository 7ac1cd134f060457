"""A prefix replaced by another one: where it ends, what follows it, and paths that lead out of it."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.routing.claims import Claim
from fleet.routing.match import Index
from fleet.routing.prefix import new_prefix, with_prefix


class Owner:
    app, created = "a", 0.0


@pytest.mark.parametrize(
    ("path", "prefix", "new", "result"),
    [
        # As in the table of HTTPRoute's ReplacePrefixMatch.
        (b"/foo/bar", b"foo", "/xyz", b"/xyz/bar"),
        (b"/foo/bar", b"foo", "/xyz/", b"/xyz/bar"),
        (b"/foo", b"foo", "/xyz", b"/xyz"),
        (b"/foo/", b"foo", "/xyz", b"/xyz/"),
        (b"/foo/bar", b"foo", "/", b"/bar"),
        (b"/foo/", b"foo", "/", b"/"),
        (b"/foo", b"foo", "/", b"/"),
        (b"/", b"", "/v1", b"/v1/"),
        (b"/a", b"", "/v1", b"/v1/a"),
        (b"/a/b/c", b"a/b", "/x/y", b"/x/y/c"),
        # Never "//", whatever was sent; and what is escaped stays as it was sent.
        (b"//foo//bar", b"foo", "/", b"/bar"),
        (b"/foo//bar//baz", b"foo", "/v1", b"/v1/bar//baz"),
        (b"/f%6Fo/b%61r%2Fbaz", b"foo", "/", b"/b%61r%2Fbaz"),
        (b"/foo%2fbar", b"foo", "/", b"/bar"),
        (b"/%2Ffoo/bar", b"foo", "/", b"/bar"),
        (b"/caf%C3%A9/x", "café".encode(), "/", b"/x"),
        (b"/a%/b", b"a%", "/", b"/b"),
    ],
)
def test_the_prefix_is_replaced(path: bytes, prefix: bytes, new: str, result: bytes) -> None:
    assert with_prefix(path, prefix, new_prefix(new)) == result


@pytest.mark.parametrize(
    "rest",
    [
        b"..",
        b"../admin",
        b"a/../../admin",
        b"%2e%2E/admin",
        b"..;a=1/admin",
        b"..%5cadmin",
        b"..\\admin",
        b"a/./../..",
        b"%2f../x",
    ],
)
def test_a_path_that_leads_out_is_refused(rest: bytes) -> None:
    assert with_prefix(b"/foo/" + rest, b"foo", b"/v1") is None
    assert with_prefix(b"/foo/" + rest, b"foo", b"") is None


@pytest.mark.parametrize("rest", [b"a/..", b"a/../b", b"...", b"..a", b"a..", b"%252e%252e/x", b"a;..;b"])
def test_a_path_that_stays_is_not(rest: bytes) -> None:
    assert with_prefix(b"/foo/" + rest, b"foo", b"") == b"/" + rest


_SEGMENTS = st.lists(st.sampled_from([b"a", b"b", b"%61", b"%2F", b"", b".", b"x%2f", b"%", b"a%zz"]), max_size=6)


@given(_SEGMENTS, st.sampled_from(["a", "a/b", "a/a"]), st.sampled_from(["/", "/v", "/v/w"]))
def test_what_is_matched_is_what_is_taken_off(segments: list[bytes], prefix: str, new: str) -> None:
    """The decoded path is the prefix and a rest; the backend reads the new prefix and the same rest."""
    path = b"/" + b"/".join(segments)
    if Index([(Claim("*", f"/{prefix}"), Owner())]).search(b"h", path, ()) is None:
        return
    result = with_prefix(path, prefix.encode(), new_prefix(new))
    assert result is not None
    decoded = unquote_to_bytes(path).lstrip(b"/")
    assert decoded.startswith(prefix.encode())
    kept = unquote_to_bytes(result).removeprefix(new_prefix(new))
    assert kept.lstrip(b"/") == decoded[len(prefix) :].lstrip(b"/")
    assert result.startswith(b"/")
    assert not result.startswith(b"//")
    assert path.endswith(result.removeprefix(new_prefix(new)).lstrip(b"/"))
