"""Mistakes with previews in files of apps, as in broken.py."""

from __future__ import annotations

__all__ = ["BROKEN_PREVIEWS"]

A = "apps:\n- name: a\n  hosts: [a.localhost]\n  command: x\n"

BROKEN_PREVIEWS: list[tuple[str, list[str]]] = [
    (
        A + "  previews: {copies: {blue: {}}}\n- {name: b, hosts: [blue.a.localhost], command: x}\n",
        ["6: apps[1]: asks for the same requests as apps[0]: blue.a.localhost/ is the host of preview blue of a"],
    ),
    (
        "apps:\n- {name: b, hosts: [blue.a.localhost], command: x}\n"
        + A.removeprefix("apps:\n")
        + "  previews: {copies: {blue: {}}}\n",
        ["3: apps[1]: asks for the same requests as apps[0]: blue.a.localhost/ is the host of preview blue of a"],
    ),
    (
        "apps:\n- {name: a, hosts: [a, blue.a], command: x, previews: {copies: {blue: {}}}}\n",
        ["2: apps[0]: asks for the same requests as itself: blue.a/ is the host of preview blue of a"],
    ),
    (
        A + "  previews:\n    baggage: 'a,b'\n    cookie: 'a;b'\n",
        [
            "6: apps[0].previews.baggage: 'a,b' is not the key of a member of baggage",
            "7: apps[0].previews.cookie: 'a;b' is not the name of a cookie",
        ],
    ),
    (
        A + "  affinity: {cookie: s}\n  previews: {cookie: s}\n",
        ["6: apps[0].previews.cookie: s is the cookie of affinity as well: take another name for one of them"],
    ),
]
