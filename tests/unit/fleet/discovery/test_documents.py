"""The form of the files of backends and members."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.discovery.documents import decode_backends, decode_members, decode_targets, encode_backends, encode_members
from fleet.discovery.sources import Backend, Member, Trouble

A, B = Backend("127.0.0.1", 8001), Backend("::1", 8001)

backends = st.dictionaries(
    st.text(max_size=10),
    st.lists(st.builds(Backend, host=st.ip_addresses().map(str), port=st.integers(1, 65535)), unique=True, max_size=4),
    max_size=4,
)


@given(backends)
def test_backends_survive(mapping: dict[str, list[Backend]]) -> None:
    read = decode_backends(encode_backends(mapping))
    assert {key: set(values) for key, values in read.items()} == {key: set(values) for key, values in mapping.items()}


def test_equal_values_encode_to_equal_bytes() -> None:
    assert encode_backends({"b": [A, B], "a": []}) == encode_backends({"a": [], "b": [B, A]})
    first, second = Member("a", "a:1"), Member("b", "b:1")
    assert encode_members([second, first]) == encode_members([first, second])


def test_one_address_counts_once() -> None:
    assert decode_backends(encode_backends({"a": [A, A]})) == {"a": (A,)}


def test_troubles_survive_and_are_fit_for_a_terminal() -> None:
    troubles = {"a": Trouble("ended\n\x1b[2Jwith", hopeless=True), "b": Trouble("slow")}
    told = decode_targets(encode_backends({"c": [A]}, troubles))
    assert told.backends == {"c": (A,)}
    assert told.troubles == {"a": Trouble("ended [2Jwith", hopeless=True), "b": Trouble("slow")}
    assert b"troubles" not in encode_backends({"c": [A]})


def test_notes_survive_and_are_fit_for_a_terminal() -> None:
    found = decode_targets(encode_backends({"c": [A]}, notes={"default/web": "needs\n\x1b[2Japi"}))
    assert found.notes == {"default/web": "needs [2Japi"}
    assert found.backends == {"c": (A,)}
    assert b"notes" not in encode_backends({"c": [A]})


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (b'{"backends": {"default/web": [{"host": "web", "port": 1}]}}', r"backends\.default/web\[0\]\.host: 'web'"),
        (b'{"backends": {"default/web": [{"host": "::1", "port": 0}]}}', r"backends\.default/web\[0\]\.port: 0"),
        (b'{"backends": {"default/web": [{"host": "::1", "port": "1"}]}}', r"\$\.backends.*\.port"),
        (b'{"backends": []}', r"\$\.backends"),
        (b"{}", "backends"),
        (b"\xff", "."),
        (b"[" * 100_000, "."),
    ],
)
def test_wrong_backends_name_the_field(document: bytes, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        decode_backends(document)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (b'{"members": [{"name": "", "address": "a:1"}]}', r"members\[0\]\.name"),
        (b'{"members": [{"name": "a", "address": "a:1"}, {"name": "a", "address": "b:1"}]}', r"members\[1\]\.name.*twice"),
        (b'{"members": [{"name": "a", "address": "a"}]}', r"members\[0\]\.address: 'a'"),
    ],
)
def test_wrong_members_name_the_field(document: bytes, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        decode_members(document)


@pytest.mark.parametrize("document", [b"members: [", b"members: !!python/object:os.system {}", b"- 1", b"members: {a: 1}"])
def test_wrong_yaml_is_a_value_error(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_members(document, from_yaml=True)
