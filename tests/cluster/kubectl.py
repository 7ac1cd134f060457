"""kubectl as a user runs it."""

import asyncio
import os
from pathlib import Path

__all__ = ["Kubectl"]


class Kubectl:
    """Call it with kubectl's arguments; returns the output, and fails with the error message."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self._program, self._kubeconfig = program, kubeconfig

    async def __call__(self, *words: str, stdin: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            self._program, *words, env={**os.environ, "KUBECONFIG": str(self._kubeconfig)},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, error = await process.communicate(stdin.encode())
        assert process.returncode == 0, f"kubectl {' '.join(words)}: {error.decode().strip()}"
        return out.decode()
