"""The page for people with one machine: what it links to is there, and what it says to write is accepted."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.support.certificates import Authority
from tests.support.manifests import ROOT
from weir.engine.specfile import parse_spec

PAGE = (ROOT / "docs" / "local.md").read_text()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _fenced(kind: str) -> list[str]:
    return [text for language, text in FENCED.findall(PAGE) if language == kind]


def test_links_within_the_page_lead_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", PAGE), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", PAGE)
    assert links
    assert set(links) <= anchors


def test_links_to_other_pages_lead_somewhere() -> None:
    assert all((ROOT / "docs" / path).exists() for path in re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGE))


@pytest.mark.parametrize("text", _fenced("yaml"), ids=lambda text: " ".join(text.split())[:30])
def test_what_the_page_has_written_is_accepted(text: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=b\n")
    (tmp_path / "cert.pem").write_bytes(Authority().pem)
    if not re.search("^apps:", text, re.MULTILINE):
        (tmp_path / "soon.html").write_text("soon")
        lacks = "" if "hosts:" in text else "    hosts: [a.localhost]\n"
        text = f"apps:\n  - name: a\n    command: x\n{lacks}{text}"
    assert parse_spec(text, tmp_path / "apps.yaml").spec.apps


def test_commands_bind_where_the_engine_looks() -> None:
    table = PAGE.partition("## Listening address of an app")[2].partition("\n## ")[0]
    commands = re.findall(r"^\| \w+ \| `(exec [^`]+)`", table, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        spec = parse_spec(yaml.safe_dump({"apps": [{"name": "a", "hosts": ["a"], "command": command}]}), Path("apps.yaml"))
        assert spec.spec.apps
        assert {"127.0.0.1", "127.0.0.1:$PORT"} & set(shlex.split(command))
        assert "$PORT" in command


def test_the_unit_is_one() -> None:
    (text,) = _fenced("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]  # names of systemd have capitals
    unit.read_string(text)
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Service"]["ExecStart"].split()[1:] == ["up", "apps.yaml", "--no-ui"]
