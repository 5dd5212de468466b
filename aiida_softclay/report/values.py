"""Numbers as they stand in nodes and tables."""

from __future__ import annotations

import math
from typing import Any


def finite_or_none(value: Any) -> float | None:
    """Return a finite number, and ``None`` for everything else: no value, nan, a text.

    >>> finite_or_none(3), finite_or_none(float('nan')), finite_or_none('300 K'), finite_or_none(True)
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
