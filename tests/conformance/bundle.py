"""Makes the page of the browser's suite: the pinned packages of npm, the suite's descriptors, and one script of both."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["DESCRIPTORS", "SITE", "build", "missing"]

HERE = Path(__file__).parent / "npm"
BUILD = HERE.parents[2] / "build"
PROTOS = BUILD / "tools" / "proto"
"""The suite's, by `tools/clients conformance`."""
WORK = BUILD / "conformance"
SITE = WORK / "site"
DESCRIPTORS = WORK / "service.binpb"
SERVICE = "connectrpc/conformance/v1/service.proto"
PACKAGES = ("package.json", "package-lock.json")
PATIENCE = 300.0
"""Seconds for one tool; npm has to load some megabytes."""


def missing() -> str:
    """What is not installed, for people; "" if all is there."""
    tools = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    return ", ".join(tools + ([] if PROTOS.is_dir() else [str(PROTOS)]))


def build() -> None:
    """Make the page anew. Raises subprocess.CalledProcessError, with what the tool has said."""
    WORK.mkdir(parents=True, exist_ok=True)
    if not (WORK / "node_modules" / ".package-lock.json").exists() or any(_differs(HERE / name) for name in PACKAGES):
        for name in PACKAGES:
            shutil.copy(HERE / name, WORK)
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    for script in HERE.glob("*.js"):
        shutil.copy(script, WORK)
    protoc = (sys.executable, "-m", "grpc_tools.protoc")
    _run(*protoc, f"-I{HERE}", f"-I{PROTOS}", "--include_imports", f"--descriptor_set_out={DESCRIPTORS}", "status.proto", SERVICE)
    SITE.mkdir(exist_ok=True)
    shutil.copy(HERE / "index.html", SITE)
    esbuild = (
        "node_modules/.bin/esbuild",
        "page.js",
        "--bundle",
        "--format=iife",
        "--loader:.binpb=binary",
        "--log-level=warning",
    )
    _run(*esbuild, f"--outfile={SITE / 'page.js'}")


def _differs(file: Path) -> bool:
    """Whether a file is another than that of the last time."""
    there = WORK / file.name
    return not there.exists() or there.read_bytes() != file.read_bytes()


def _run(*command: str) -> None:
    subprocess.run(command, cwd=WORK, check=True, timeout=PATIENCE, capture_output=True, text=True)
