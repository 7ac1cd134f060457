"""What one module does for all, so that nobody else does it: addresses are joined and split, and outputs of a process written."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fleet", "interceptor", "scaler", "controller", "weir")
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
NOT_AN_ADDRESS = {
    "controller/admin/busy.py": "the user name of a ServiceAccount",
    "controller/status.py": "a service and the name of its port",
    "controller/wiring.py": "a trigger's scalerAddress, which may be any text",
    "controller/server.py": "service:NAMESPACE/NAME:PORTNAME, whose port is a name",
    "fleet/discovery/kubernetes/backends.py": "a target's key, namespace/service:PORT",
    "fleet/routing/outside.py": "a target's key, dns:NAME:PORT, and addresses in objects, whose port may be missing",
    "fleet/routing/target.py": "a target's key, namespace/service:PORT",
    "fleet/routing/redirect.py": "the authority of a URL, which may have no port",
    "fleet/routing/request_examples.py": "a Host field, which may have no port",
    "interceptor/app/applist.py": "a Host field, which may have no port",
    "scaler/members.py": "a reason in gRPC's words",
    "weir/apps/events.py": "a field of an event, name: value",
    "weir/apps/given.py": "SECRET:KEY, and a message after the name of a field",
    "weir/apps/kube.py": "a list of files, as in PATH",
    "weir/engine/listening.py": "hexadecimal, in a table of the kernel",
    "weir/explain.py": "a header, name:value",
}
"""Where something else than an address is put together, or taken apart, at a colon."""
_CUTS = {"split", "rsplit", "partition", "rpartition"}


def _by_hand(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from _joined_port(node)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and ("%s:%d" in node.value or "{}:{}" in node.value)
        ) or (isinstance(node, ast.Call) and _cuts_at_colon(node)):
            yield node


def _cuts_at_colon(call: ast.Call) -> bool:
    colons = [one for one in call.args if isinstance(one, ast.Constant) and one.value == ":"]
    return isinstance(call.func, ast.Attribute) and call.func.attr in _CUTS and bool(colons)


def _joined_port(text: ast.JoinedStr) -> Iterator[ast.AST]:
    """What looks like {anything}:{something.port}, or [{anything}]:{…}."""
    for before, colon, port in zip(text.values, text.values[1:], text.values[2:], strict=False):
        is_colon = isinstance(colon, ast.Constant) and colon.value in (":", "]:")
        if is_colon and isinstance(before, ast.FormattedValue) and "port" in ast.unparse(port).lower():
            yield text


def test_addresses_are_joined_and_split_nowhere_else() -> None:
    found: Counter[str] = Counter()
    for name, tree in TREES.items():
        if name != "fleet/runtime/address.py":
            found.update({name: len(list(_by_hand(tree)))})
    assert set(+found) == set(NOT_AN_ADDRESS), "use fleet.runtime.address, or say what it is instead"


@pytest.mark.parametrize(
    "source",
    [
        'f"{host}:{port}"',
        'f"http://{a.host}:{b.proxy_port}/x"',
        'f"[{host}]:{port}"',
        'x.rpartition(":")',
        'x.rsplit(":", 1)',
        '"%s:%d"',
    ],
)
def test_the_look_for_it_finds(source: str) -> None:
    assert list(_by_hand(ast.parse(source)))


def _calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_nobody_else_writes_to_the_outputs_of_a_process() -> None:
    writers = {
        (name, call)
        for name, tree in TREES.items()
        for call in _calls(tree)
        if call in ("print", "typer.echo", "typer.secho", "logging.Formatter", "Console", "Text")
        or call.startswith(("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer", "sys.stderr.buffer", "sys.__std"))
        or call.endswith((".from_markup", "logging.StreamHandler"))
    }
    assert writers == {
        ("fleet/runtime/terminal.py", "sys.stdout.write"),
        ("fleet/runtime/terminal.py", "sys.stderr.write"),
        ("fleet/runtime/logs.py", "logging.StreamHandler"),  # with formatters of its own
        ("weir/up.py", "Console"),  # for texts of styled.py
        ("weir/queue.py", "Console"),
        ("weir/apps/progress.py", "Console"),  # for a text that is safe, without markup
        ("weir/styled.py", "Text"),
        ("weir/engine/view.py", "Text"),  # of a record that its formatter has made
    }


def test_reason_phrases_come_from_one_table() -> None:
    """Those of `HTTPStatus` differ between versions of Python."""
    attributes = ((name, node) for name, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    users = {name for name, node in attributes if node.attr == "phrase"}
    assert users == {"interceptor/core/phrases.py"}
