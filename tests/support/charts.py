"""Charts for tests, packed as helm packs them, and as nobody should."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping

__all__ = ["chart", "packed", "tar_of"]

CHART = "apiVersion: v2\nname: web\nversion: 1.0.0\n"


def tar_of(files: Mapping[str, str | bytes], *more: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these files, and then of entries without content."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in more:
            tar.addfile(info)
    return made.getvalue()


def packed(files: Mapping[str, str | bytes], *more: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    return gzip.compress(tar_of(files, *more, form=form), mtime=0)


def chart(templates: Mapping[str, str], *, name: str = "web", version: str = "1.0.0", **files: str) -> bytes:
    """A packed chart. `files` are others, with two underscores for a dot: values__yaml."""
    others = {f"{name}/{file.replace('__', '.')}": content for file, content in files.items()}
    head = f"apiVersion: v2\nname: {name}\nversion: {version}\n"
    return packed(
        {f"{name}/Chart.yaml": head, **others, **{f"{name}/templates/{file}": text for file, text in templates.items()}}
    )
