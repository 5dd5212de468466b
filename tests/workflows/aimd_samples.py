"""Small AIMD runs with the real driver over EMT: inputs, plans, and what comes out."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk

FAMILY = 'aimd'
#: Electronic settings that a model potential ignores.
INCAR = {'encut': 300, 'ismear': 0}


def alloy() -> Atoms:
    """Return a small crystal of alternating species, slightly distorted: VASP's order is not that of its sites."""
    atoms = bulk('Cu', 'fcc', a=3.9, cubic=True) * (2, 1, 1)
    atoms.symbols = ['Cu', 'Al', 'Cu', 'Cu', 'Al', 'Cu', 'Al', 'Cu']
    atoms.rattle(0.05, seed=4)
    return atoms


def emt_inputs(code):
    """Return everything but the plan of a run of the small crystal."""
    from aiida.orm import Dict, Str, StructureData

    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family(FAMILY, ['Cu', 'Al'])
    structure = StructureData(ase=alloy(), label='alloy')
    return {'structure': structure, 'code': code, 'potential_family': Str(FAMILY), 'incar': Dict(INCAR)}


def segments(*durations_fs, ensemble='nve', **more):
    names = [f'part_{index}' for index in range(len(durations_fs))]
    return [
        {'name': name, 'ensemble': ensemble, 'temperature_K': 600.0, 'duration_fs': duration, **more}
        for name, duration in zip(names, durations_fs, strict=True)
    ]


def run(inputs, plan):
    from aiida.engine import run_get_node
    from aiida.orm import Dict

    from aiida_softclay.workflows.aimd import AimdWorkChain

    return run_get_node(AimdWorkChain, **inputs, plan=Dict(plan))


def series(node, column):
    return node.outputs.series.get_array(column)


def frames_of(node):
    """Return all frames as one block."""
    from aiida_softclay.data.frame_block import FrameBlock
    from aiida_softclay.data.frames_view import aimd_view

    blocks = [block for _, block in aimd_view(node).slabs()]
    names = ('positions', 'cells', 'energies', 'forces', 'virials')
    joined = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in names}
    return FrameBlock(blocks[0].atomic_numbers, **joined)


def wrapped(localhost, label, folder, script):
    """Return a code that runs a script around the driver over EMT."""
    from aiida.orm import InstalledCode

    path = folder / f'{label}.sh'
    path.write_text(script)
    path.chmod(0o755)
    return InstalledCode(
        label=label, computer=localhost, filepath_executable=str(path),
        prepend_text='export OMP_NUM_THREADS=1 SOFTCLAY_CALCULATOR=ase.calculators.emt:EMT', with_mpi=False,
    ).store()  # fmt: skip


def jobs(node):
    from aiida.orm import CalcJobNode

    return [child for child in node.called if isinstance(child, CalcJobNode)]
