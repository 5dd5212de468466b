"""A picture of a cell as a node that knows which structure it shows."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.cell_picture import draw_cell, save_picture
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed

#: Keys of the parameters of :func:`picture_cell`, all of which may be left out, with their defaults.
PICTURE_DEFAULTS: dict[str, Any] = {
    'format': 'png',
    'colour_by': 'element',
    'value_label': '',
    'view': 'oblique',
    'width_cm': 12.0,
    'dpi': 200,
    'radius_scale': 1.0,
    'wrap': True,
    'title': None,
}


def picture_bytes(structure: orm.StructureData, options: dict[str, Any], labels: orm.ArrayData | None = None) -> bytes:
    """Return the picture of a structure as the content of a file.

    Parameters
    ----------
    structure : StructureData
    options : dict
        Some of :data:`PICTURE_DEFAULTS`: ``format`` (png, pdf, svg), ``colour_by`` (``element`` or the name of an array
        of ``labels``: whole numbers are classes, others values with the ``value_label``), ``view``, ``width_cm``,
        ``dpi``, ``radius_scale``, ``wrap``, ``title`` (the formula if not given).
    labels : ArrayData, optional
        One number for each atom: ``grain``, ``molecule_id``, a displacement, …

    Raises
    ------
    ValueError
        With a sentence that says what to change.
    """
    if unknown := sorted(set(options) - set(PICTURE_DEFAULTS)):
        raise ValueError(f'a picture does not know {", ".join(unknown)}: choose from {", ".join(PICTURE_DEFAULTS)}')
    chosen = {**PICTURE_DEFAULTS, **options}
    kind, name, label = chosen.pop('format'), chosen.pop('colour_by'), chosen.pop('value_label')
    atoms = structure.get_ase()
    if name != 'element':
        arrays = [] if labels is None else labels.get_arraynames()
        if name not in arrays:
            raise ValueError(f'there is no array {name!r} to colour by: choose from {", ".join(["element", *arrays])}')
        array = labels.get_array(name)
        if array.dtype.kind in 'biu':
            chosen |= {'classes': array, 'class_name': str(name).removesuffix('_id')}
        else:
            chosen |= {'values': np.asarray(array), 'value_label': label or str(name)}
    if chosen['title'] is None:
        chosen['title'] = f'{structure.get_formula(mode="hill_compact")}, {len(atoms)} atoms'
    content = io.BytesIO()
    save_picture(draw_cell(atoms, **chosen), content, kind)
    return content.getvalue()


@calcfunction
def picture_cell(
    structure: orm.StructureData, parameters: orm.Dict, labels: orm.ArrayData | None = None
) -> orm.SinglefileData | ExitCode:
    """Return the picture of a structure as a file.

    Parameters
    ----------
    structure : StructureData
    parameters : Dict
        As ``options`` of :func:`picture_bytes`; may be empty.
    labels : ArrayData, optional
        One number for each atom: ``grain``, ``molecule_id``, a displacement, …
    """
    options = parameters.get_dict()
    try:
        content = picture_bytes(structure, options, labels)
    except (ValueError, TypeError) as error:
        return analysis_failed(error)
    kind = options.get('format', PICTURE_DEFAULTS['format'])
    node = orm.SinglefileData(io.BytesIO(content), filename=f'cell.{kind}')
    node.label = f'picture of {structure.get_formula(mode="hill_compact")}'
    return node
