"""The arrays that figures are drawn from."""

from __future__ import annotations

import numpy as np
from aiida import orm


def array_of(node: orm.ArrayData, name: str) -> np.ndarray:
    """Return an array of a node.

    Raises
    ------
    ValueError
        If the node has none of this name: what was computed by another version, or by something else, lacks some.
    """
    try:
        return node.get_array(name)
    except KeyError:
        raise ValueError(f'{node.__class__.__name__} <{node.pk}> has no array {name}') from None
