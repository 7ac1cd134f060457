"""What the docstring of a module claims holds: pure, no I/O, no clock, opens no file, knows no protocol, no routes, no apps.

Import contracts in pyproject.toml say it of whole packages; here it follows from the words of each module.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fleet", "interceptor", "scaler", "controller", "weir")
IMPURE = [
    "asyncio",
    "grpc",
    "httpx",
    "kubernetes",
    "logging",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "starlette",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uvicorn",
]
"""Modules and packages of which a pure module has no use."""
HARMLESS = {
    ("interceptor.http2.heads", "secrets"): "the key of a WebSocket, which a request over HTTP/2 does not have",
    ("fleet.runtime.terminal", "os"): "to write to the null device once the reader of standard output has gone",
    ("interceptor.date", "time"): "the date that a response without one gets",
    ("interceptor.app.waits", "logging"): "what it may do",
    ("controller.schedule", "random"): "the jitter of pauses, whose source can be passed in",
    ("fleet.runtime.pauses", "random"): "the same",
}
"""Imports that change nothing about what a pure module's functions give back."""

FILES = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "glob", "rglob", "stat", "exists", "is_file"}
FILES |= {"is_dir", "expanduser", "resolve", "print", "input", "now", "utcnow", "today"}
"""Calls by which a module without such imports would use files, standard output or a clock."""
READS_ITS_OWN = {"interceptor.app.pages": "the pages are files of the package, read once"}

_PURE = re.compile(r"\bPure\b|\bone pure decision\b")
_NO_IO = re.compile(r"(?i)(?<!does )\bno I/O\b")
_NO_IO_ITSELF = re.compile(r"(?i)\bdoes no I/O\b")
_NO_FILES = re.compile(r"(?i)\b(?:opens|reads) no files?\b|\breads nothing\b")
_KNOWS_NO = re.compile(r"(?i)\bknows (?:no\b|nothing\b|the meaning of no\b)[^,.;]*")
_CODECS = ["interceptor.http1", "interceptor.http2"]
_MESSAGES = [*_CODECS, "interceptor.core"]
_APPS = ["fleet.routing.table", "interceptor.app"]
UNKNOWN = {
    ("fleet.routing.check", "knows nothing of others"): ["fleet.routing.table"],
    ("fleet.runtime.backlog", "Knows no bytes and no protocol"): ["socket", "ssl", "grpc", "httptools"],
    ("fleet.runtime.process", "Knows nothing about what runs on the loop"): [
        "fleet.routing.table",
        "fleet.demand",
        "fleet.discovery",
        "grpc",
    ],
    ("interceptor.exchange.attempt", "Knows no wire format"): _CODECS,
    ("interceptor.exchange.exchange", "Knows no wire format"): _CODECS,
    ("interceptor.exchange.tunnel", "Knows no wire format"): _CODECS,
    ("interceptor.http1", "Knows no routes or applications"): _APPS,
    ("interceptor.http2", "Knows no route and no application"): _APPS,
    ("interceptor.transport.encrypted", "Knows no HTTP"): _MESSAGES,
    ("interceptor.transport.handshakes", "Knows no HTTP"): _MESSAGES,
    ("interceptor.transport.splice", "Knows no messages"): _MESSAGES,
    ("weir.engine.child", "knows nothing about apps: see supervisor"): ["weir.engine.app", "weir.engine.spec", "fleet.routing"],
    ("weir.engine.document", "knows the meaning of no field"): ["weir.engine.spec", "weir.engine.specfile", "fleet.routing"],
}
"""What a module says that it knows nothing of, and what it therefore does not import, directly or not."""
NOT_OF_THE_MODULE = {("interceptor.transport.tls", "knows no half-closed connections: whoever ends its side ends both")}


def imports_of(graph: grimp.ImportGraph, module: str, forbidden: list[str]) -> list[str]:
    """Which of the forbidden modules and packages it imports, or one of its own modules does, with a way to each."""
    there = [name for name in forbidden if name in graph.modules and graph.chain_exists(module, name, as_packages=True)]
    chains = (sorted(graph.find_shortest_chains(module, name, as_packages=True)) for name in there)
    return [" -> ".join(chain) for chain, *_ in chains]


def test_ways_are_found() -> None:
    graph = grimp.ImportGraph()
    graph.add_import(importer="a", imported="b")
    graph.add_import(importer="b", imported="time")
    graph.add_import(importer="c", imported="d")
    graph.add_import(importer="e.f", imported="g.h")
    graph.add_module("e")
    graph.add_module("g")
    assert imports_of(graph, "a", IMPURE) == ["a -> b -> time"]
    assert imports_of(graph, "c", IMPURE) == []
    assert imports_of(graph, "e", ["g"]) == ["e.f -> g.h"]


def file_calls(source: str) -> list[str]:
    """What a module calls of files, standard output and clocks, by name."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    names = (call.id if isinstance(call, ast.Name) else call.attr for call in calls if isinstance(call, ast.Name | ast.Attribute))
    return sorted(set(names) & FILES)


def test_calls_are_found() -> None:
    assert file_calls("open('x')\nPath('x').read_text()\nx.today()\nclose('x')") == ["open", "read_text", "today"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    made = grimp.build_graph(
        *PACKAGES, "protos", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    for importer, imported in HARMLESS:
        assert imported in made.find_modules_directly_imported_by(importer), "no such import any more"
        made.remove_import(importer=importer, imported=imported)
    return made


PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
DOCSTRINGS = {module: " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split()) for module, path in PATHS.items()}


def _claiming(*claims: re.Pattern[str]) -> list[str]:
    return [module for module, text in DOCSTRINGS.items() if any(claim.search(text) for claim in claims)]


def test_what_is_called_pure_is_pure(graph: grimp.ImportGraph) -> None:
    called = _claiming(_PURE, _NO_IO)
    assert len(called) > 100
    assert {module: ways for module in called if (ways := imports_of(graph, module, IMPURE))} == {}


def test_what_does_no_io_itself_imports_nothing_for_it(graph: grimp.ImportGraph) -> None:
    called = _claiming(_NO_IO_ITSELF)
    assert called
    assert {module: found for module in called if (found := graph.find_modules_directly_imported_by(module) & set(IMPURE))} == {}


def test_what_does_no_io_opens_no_files() -> None:
    found = {module: file_calls(PATHS[module].read_text()) for module in _claiming(_PURE, _NO_IO, _NO_IO_ITSELF, _NO_FILES)}
    assert {module for module, calls in found.items() if calls} == set(READS_ITS_OWN)


def test_what_a_module_knows_nothing_of_is_not_imported(graph: grimp.ImportGraph) -> None:
    claims = {(module, claim[0]) for module, text in DOCSTRINGS.items() for claim in _KNOWS_NO.finditer(text)}
    assert claims - NOT_OF_THE_MODULE == set(UNKNOWN), "say here what follows from the words"
    for (module, claim), forbidden in UNKNOWN.items():
        assert all(name in graph.modules for name in forbidden), forbidden
        assert imports_of(graph, module, forbidden) == [], claim
