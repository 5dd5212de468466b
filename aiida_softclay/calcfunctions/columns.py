"""Curves as nodes that know their units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm


def columns_node(columns: Mapping[str, tuple[Any, str]], dtype: type | None = float) -> orm.ArrayData:
    """Return arrays as one node, with their units in the attribute ``units``.

    Parameters
    ----------
    columns : mapping of str to (array_like, str)
        Name of each array to its values and unit.
    dtype : type, optional
        Of all arrays; each keeps its own for ``None``.
    """
    node = orm.ArrayData({name: np.asarray(values, dtype=dtype) for name, (values, _) in columns.items()})
    node.base.attributes.set('units', {name: unit for name, (_, unit) in columns.items()})
    return node
