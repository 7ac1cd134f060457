"""Amounts of bytes as people write them: "16Mi", "1.5k", "4096". Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

__all__ = ["QUANTITY_PATTERN", "octets"]

QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(k|M|G|Ki|Mi|Gi)?$"
"""The part of Kubernetes' quantity syntax that makes sense for bytes, in RE2 syntax, as CRDs require."""

_QUANTITY: Final = re.compile(QUANTITY_PATTERN, re.ASCII)
_UNITS: Final = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}


def octets(text: str) -> int:
    """Bytes. Raises ValueError when the text is not a quantity."""
    if not _QUANTITY.fullmatch(text):
        raise ValueError("should be bytes, or a quantity like 500k, 16Mi, 1Gi")
    number = text.rstrip("kKMGi")
    return int(Decimal(number) * _UNITS[text[len(number) :]])
