"""Write labelled frames for other programs: DeePMD-kit's npy systems and extended XYZ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .frame_block import block_atoms
from .frames_store import BlockView, FramesFile
from .telling import tell

PathLike = str | Path

#: Name of the array in a DeePMD set, and its type: energies are large sums and need double precision.
DEEPMD_ARRAYS = {
    'cells': ('box', '<f8'),
    'positions': ('coord', '<f4'),
    'energies': ('energy', '<f8'),
    'forces': ('force', '<f4'),
    'virials': ('virial', '<f4'),
}


def export_deepmd_npy(
    file: FramesFile | PathLike, directory: PathLike, type_map: Sequence[str], set_size: int = 10_000
) -> list[str]:
    """Write DeePMD-kit systems, one per block, so that atoms of one formula in another order stay apart.

    Parameters
    ----------
    file : FramesFile or path
        The frames.
    directory : path
        Where to write; made if missing, must not hold systems already.
    type_map : sequence of str
        Chemical symbols; the index of a symbol is its type. May hold more elements than the frames.
    set_size : int
        Largest number of frames per set.

    Returns
    -------
    list of str
        Names of the systems (folders below ``directory``).

    Raises
    ------
    ValueError
        If an element is missing in the type map, the type map repeats one, there are no frames, or the folder
        holds systems already.
    """
    if not isinstance(file, FramesFile):
        with FramesFile(file) as opened:
            return export_deepmd_npy(opened, directory, type_map, set_size)
    if len(set(type_map)) != len(type_map):
        raise ValueError(f'the type map names an element twice: {", ".join(type_map)}')
    missing = [element for element in file.elements if element not in type_map]
    if missing:
        raise ValueError(f'the type map {", ".join(type_map)} lacks {", ".join(missing)}, which the frames contain')
    if file.n_frames == 0:
        raise ValueError('there are no frames to export')
    if any(Path(directory).glob('*/type.raw')):
        raise ValueError(
            f'{directory} holds systems already: training would mix them with these, choose another folder'
        )
    systems, written = [], 0
    for number, view in enumerate(file.blocks()):
        if view.n_frames == 0:
            continue
        name = f'{number:04d}_{view.formula}' + ('' if view.virials is not None else '_no_virial')
        system = Path(directory) / name
        system.mkdir(parents=True)
        types = [type_map.index(symbol) for symbol in view.symbols]
        (system / 'type.raw').write_text('\n'.join(str(kind) for kind in types) + '\n')
        (system / 'type_map.raw').write_text('\n'.join(type_map) + '\n')
        for index, start in enumerate(range(0, view.n_frames, set_size)):
            tell('writing frames', written + start, file.n_frames)
            _write_set(view, system / f'set.{index:03d}', start, min(start + set_size, view.n_frames))
        written += view.n_frames
        systems.append(name)
    return systems


def _write_set(view: BlockView, folder: Path, start: int, stop: int) -> None:
    """Write one set slab by slab, so that its size does not matter."""
    folder.mkdir()
    for name, (target, dtype) in DEEPMD_ARRAYS.items():
        dataset = view.datasets.get(name)
        if dataset is None:
            continue
        width = int(np.prod(dataset.shape[1:], dtype=np.int64))
        shape = (stop - start,) if name == 'energies' else (stop - start, width)
        header = {'descr': dtype, 'fortran_order': False, 'shape': shape}
        with (folder / f'{target}.npy').open('wb') as handle:
            np.lib.format.write_array_header_1_0(handle, header)
            for first in range(start, stop, view.slab):
                rows = dataset[first : min(first + view.slab, stop)]
                handle.write(np.ascontiguousarray(rows, dtype=dtype).data)


def export_extxyz(file: FramesFile | PathLike, path: PathLike) -> int:
    """Write extended XYZ with energies, forces and stress (tension positive, eV/Å³) and return the number of frames.

    Each frame also names its origin: ``source`` (label), ``energy_kind`` and, if known, ``temperature_K``.
    """
    from ase.io import write

    if not isinstance(file, FramesFile):
        with FramesFile(file) as opened:
            return export_extxyz(opened, path)
    sources = file.sources
    total = 0
    with open(path, 'w', encoding='utf-8') as handle:
        for view in file.blocks():
            for start, block in view.iter_slabs():
                indices = view.source_index[start : start + block.n_frames]
                images = []
                tell(f'writing frames to {os.path.basename(path)}', total, file.n_frames)
                for row in range(block.n_frames):
                    atoms = block_atoms(block, row)
                    atoms.info['source'] = str(sources[indices[row]].get('label', ''))
                    atoms.info['energy_kind'] = file.energy_kind
                    if block.temperature is not None and np.isfinite(block.temperature[row]):
                        atoms.info['temperature_K'] = float(block.temperature[row])
                    images.append(atoms)
                    if len(images) == 100:
                        write(handle, images, format='extxyz')
                        images = []
                if images:
                    write(handle, images, format='extxyz')
                total += block.n_frames
    return total
