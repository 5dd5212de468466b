"""Bring finished VASP runs into the provenance graph: files of the user's own, or calculations that AiiDA ran.

Of a folder only ``vasprun.xml`` or ``OUTCAR`` is stored, never POTCAR, whose content is licensed. A file is
recognised by its SHA-256, so that importing a tree again imports what is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_softclay.calcfunctions.frames import frames_from_vasp_folder
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_import import OUTPUT_NAMES, check_output, file_sha256, reader_of
from aiida_softclay.data.vasp_steps import VaspOutputError
from aiida_softclay.data.vasprun import iter_vasprun

#: Extras of the folder node of a file: where it was, and by what it is recognised.
SHA256_EXTRA, PATH_EXTRA = 'softclay_sha256', 'softclay_path'


@dataclass(frozen=True)
class Imported:
    """Frames of one file: their node, and whether it was there before."""

    frames: FramesData
    known: bool


def import_file(path: Path, parameters: dict[str, Any]) -> Imported:
    """Store a ``vasprun.xml`` or ``OUTCAR`` and return its frames.

    Parameters
    ----------
    path : Path
        The file, under any name, may be gzipped.
    parameters : dict
        Keys of :data:`~aiida_softclay.calcfunctions.frames.VASP_DEFAULTS` except ``filename``.

    Raises
    ------
    VaspOutputError
        If the file cannot be used; nothing is stored then.
    """
    digest = file_sha256(path)
    folder = _known_folder(digest)
    if folder is None:
        # Before it is stored: a file without a usable step has no place in the repository.
        check_output(
            path, **{key: parameters[key] for key in ('energy_kind', 'start', 'keep_unconverged') if key in parameters}
        )
        folder = orm.FolderData()
        folder.base.repository.put_object_from_file(str(path), _stored_name(path))
        folder.label = path.parent.name or path.name
        folder.store()
        folder.base.extras.set_many({SHA256_EXTRA: digest, PATH_EXTRA: str(path.resolve())})
    return import_folder(folder, parameters)


def import_folder(folder: orm.FolderData, parameters: dict[str, Any]) -> Imported:
    """Return the frames of a stored folder, from the graph if they have been imported with the same parameters."""
    query = orm.QueryBuilder().append(orm.FolderData, filters={'id': folder.pk}, tag='folder')
    query.append(
        orm.CalcFunctionNode,
        with_incoming='folder',
        filters={'attributes.process_label': frames_from_vasp_folder.__name__, 'attributes.exit_status': 0},
        tag='import',
    )
    query.append(FramesData, with_incoming='import')
    for frames in query.all(flat=True):
        if frames.creator.inputs.parameters.get_dict() == parameters:
            return Imported(frames, known=True)
    return Imported(frames_from_vasp_folder(folder, orm.Dict(parameters)), known=False)


def folders_of(node: orm.Node) -> Iterator[tuple[str, orm.FolderData]]:
    """Yield the folders with VASP outputs that belong to a node, with a label for their frames.

    Parameters
    ----------
    node : Node
        A folder, a calculation (its retrieved folder) or a workchain (those of all calculations it called, except of
        those that have frames already).

    Raises
    ------
    VaspOutputError
        If there is none.
    """
    found = False
    if isinstance(node, orm.FolderData):
        calculations, folders = [], [(node.label or 'vasp', node)]
    else:
        calculations = [node] if isinstance(node, orm.CalcJobNode) else list(getattr(node, 'called_descendants', []))
        folders = [
            (_label_of(calculation), calculation.outputs.retrieved)
            for calculation in calculations
            if isinstance(calculation, orm.CalcJobNode)
            and 'retrieved' in calculation.outputs
            and not calculation.base.links.get_outgoing(node_class=FramesData, link_type=LinkType.CREATE).first()
        ]
    for label, folder in folders:
        if set(OUTPUT_NAMES) & set(folder.base.repository.list_object_names()):
            found = True
            yield label, folder
    if not found:
        raise VaspOutputError(f'{node} has no folder with {" or ".join(OUTPUT_NAMES)} whose frames are not there yet')


def _label_of(calculation: orm.CalcJobNode) -> str:
    structure = calculation.inputs.structure if 'structure' in calculation.inputs else None
    formula = structure.get_formula() if isinstance(structure, orm.StructureData) else ''
    return calculation.label or getattr(structure, 'label', '') or formula or 'vasp'


def _known_folder(digest: str) -> orm.FolderData | None:
    query = orm.QueryBuilder().append(orm.FolderData, filters={f'extras.{SHA256_EXTRA}': digest})
    return query.first(flat=True)


def _stored_name(path: Path) -> str:
    """Return the usual name of an output that may have any, found out from its content."""
    name = 'vasprun.xml' if reader_of(path) is iter_vasprun else 'OUTCAR'
    return name + ('.gz' if path.name.endswith('.gz') else '')
