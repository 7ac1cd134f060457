"""Which addresses targets outside of discovery may be."""

from __future__ import annotations

import pytest

from fleet.discovery.outside.policy import DEFAULT, LOCAL, AddressPolicy

PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")
PRIVATE = ("10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.1.2.3", "64:ff9b::a01:203")
LOOPBACK = ("127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1")
METADATA = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16",
            "192.0.0.192", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1")  # fmt: skip
NEVER = ("0.0.0.0", "::", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "fe80::1", "fec0::1", "::127.0.0.1",
         "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::ffff:0.0.0.0")  # fmt: skip
OTHER = ("192.0.2.1", "198.18.0.1", "2001:db8::1")
EVERY = (*PUBLIC, *PRIVATE, *LOOPBACK, *METADATA, *NEVER, *OTHER)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (DEFAULT, PUBLIC),
        ("private", PRIVATE),
        ("public, private", (*PUBLIC, *PRIVATE)),
        (LOCAL, (*PUBLIC, *PRIVATE, *LOOPBACK)),
        ("0.0.0.0/0,::/0", (*PUBLIC, *PRIVATE, *OTHER)),
        ("169.254.0.0/16", ("169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe")),
        ("100.100.100.200", ("100.100.100.200",)),
        ("192.0.2.1,2001:db8::/32", ("192.0.2.1", "2001:db8::1")),
        ("*.example.com,db", ()),
        ("none", ()),
        ("OFF", ()),
    ],
)
def test_written_addresses(text: str, allowed: tuple[str, ...]) -> None:
    policy = AddressPolicy.parse(text)
    assert [address for address in EVERY if policy.allows(address)] == [address for address in EVERY if address in allowed]
    assert policy.is_off == (text.lower() in ("none", "off"))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("db.corp.example.", True),
        ("DB.corp.Example.", True),
        ("x.y.corp.example.", True),
        ("corp.example.", False),
        ("evilcorp.example.", False),
        ("one.test.", True),
        ("other.test.", False),
        ("one.test.corp.evil.", False),
        ("", False),
    ],
)
def test_a_name_allows_what_is_found_there_but_nothing_special(name: str, found: bool) -> None:
    policy = AddressPolicy.parse("*.corp.example, one.test.")
    assert policy.allows("10.0.0.1", name) is policy.allows("8.8.8.8", name) is found
    assert not any(policy.allows(address, name) for address in (*LOOPBACK, *METADATA, *NEVER))


@pytest.mark.parametrize(
    "text", ["", ",", "none,public", "everything!", "10.0.0.0/99", "10.0.0.1/8", "a b", "*", "*.", "1.2.3.4.5"]
)
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        AddressPolicy.parse(text)


def test_a_list_has_an_end() -> None:
    with pytest.raises(ValueError, match="at most"):
        AddressPolicy.parse(",".join(["10.0.0.1"] * 1001))
