"""The picture of a cell as a panel, beside curves; atoms coloured by element or by a number of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.registry import Panel

#: Width of the picture that a panel shows, cm: a third of a page at the resolution of print.
WIDTH_CM = 8.0
#: Share of the atoms whose D²min the colours tell apart; the few beyond would make all others one colour.
COLOURED_SHARE = 0.99


def show_cell(axes: Any, atoms: Atoms, title: str, **options: Any) -> None:
    """Show a cell on axes; options as for :func:`~aiida_softclay.analysis.cell_picture.draw_cell`."""
    from matplotlib import image

    from aiida_softclay.analysis.cell_picture import draw_cell, save_picture

    buffer = BytesIO()
    save_picture(draw_cell(atoms, width_cm=WIDTH_CM, **options), buffer, 'png')
    buffer.seek(0)
    axes.imshow(image.imread(buffer))
    axes.set_axis_off()
    axes.set_title(title)


def plastic_snapshots(node: orm.ArrayData) -> Iterator[Panel]:
    """Yield the cell at the end of some pairs of frames, its atoms coloured by D²min (gupta2023, Fig. 2).

    All snapshots have the same colours, up to the 99th percentile of D²min in them.
    """
    if 'snapshot_positions' not in node.get_arraynames():
        return
    pairs = array_of(node, 'snapshot_pairs')
    values = array_of(node, 'd2min')[pairs]
    top = float(np.nanquantile(values, COLOURED_SHARE))
    for index in range(len(pairs)):
        yield f'snapshot_{index + 1}', node, lambda axes, node, index=index: _snapshot(axes, node, index, top)


def _snapshot(axes: Any, node: orm.ArrayData, index: int, top: float) -> None:
    row = array_of(node, 'snapshot_pairs')[index]
    atoms = Atoms(
        array_of(node, 'atomic_numbers'), positions=array_of(node, 'snapshot_positions')[index],
        cell=array_of(node, 'snapshot_cells')[index], pbc=True,
    )  # fmt: skip
    strain = float(array_of(node, 'snapshot_strain')[index])
    where = '' if np.isnan(strain) else f' at a strain of {strain:.3g}'
    show_cell(
        axes, atoms, f'$D^2_{{min}}$ of the atoms{where}', values=array_of(node, 'd2min')[row],
        value_label='$D^2_{min}$ (Å²)', value_range=(0.0, top),
    )  # fmt: skip
