"""The picture of the cell of a structure, or of the glass a process made, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from aiida_softclay.analysis.cell_picture import PictureError, draw_cell, save_picture
from aiida_softclay.calcfunctions.cell_picture import picture_bytes, picture_cell

__all__ = [
    'PictureError',
    'draw_cell',
    'labels_of',
    'picture_bytes',
    'picture_cell',
    'plot_cell',
    'save_picture',
    'structure_of',
]

#: Outputs of processes that hold their structure, the one to show first.
STRUCTURES = ('structure', 'output_structure')
#: Names of the outputs and inputs that hold one number for each atom.
LABELS = ('labels', 'molecules')


def structure_of(node: orm.Node) -> orm.StructureData:
    """Return the structure a node is, or that a process made.

    Raises
    ------
    ValueError
        If there is none.
    """
    if isinstance(node, orm.StructureData):
        return node
    if isinstance(node, orm.ProcessNode):
        for name in STRUCTURES:
            if name in node.outputs and isinstance(node.outputs[name], orm.StructureData):
                return node.outputs[name]
    raise ValueError(f'<{node.pk}> is no structure, and no process that made one: give one of these')


def labels_of(structure: orm.StructureData) -> orm.ArrayData | None:
    """Return the grains or molecules of the atoms of a structure, if the builder that made it told them apart."""
    creator = structure.creator
    if creator is None:
        return None
    for name in LABELS:
        if name in creator.outputs and isinstance(creator.outputs[name], orm.ArrayData):
            return creator.outputs[name]
    return None


def plot_cell(
    node: orm.Node, path: Path, labels: orm.ArrayData | None = None, **options: Any
) -> tuple[orm.StructureData, Path]:
    """Draw the cell of a structure, or of what a process made, into a file.

    Parameters
    ----------
    node : aiida.orm.Node
        A structure or a process.
    path : pathlib.Path
        Where to write; the suffix (``.png``, ``.svg``, ``.pdf``) decides the format.
    labels : aiida.orm.ArrayData, optional
        One number for each atom; those of the builder of the structure if not given.
    **options
        As for :func:`~aiida_softclay.calcfunctions.cell_picture.picture_bytes`.

    Returns
    -------
    structure : aiida.orm.StructureData
        What is shown.
    path : pathlib.Path

    Raises
    ------
    ValueError
        If there is nothing to draw, or the suffix is none that can be written.
    """
    structure = structure_of(node)
    kind = path.suffix.lower().lstrip('.')
    found = labels if labels is not None else labels_of(structure)
    path.write_bytes(picture_bytes(structure, {**options, 'format': kind}, found))
    return structure, path
