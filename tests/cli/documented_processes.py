"""Processes that the demo study has none of, as they are when they have ended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.links import LinkType

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FramesFile

sys.path.insert(0, str(Path(__file__).parents[1] / 'data'))
from frame_samples import make_block, vasprun_text

SALT = ('Li', 'Li', 'Ga', 'F', 'F', 'F', 'Cl', 'Cl')
#: Of the melt-quench, whose page looks at the frame 10 000.
MANY_FRAMES = 10_010


def salt_images(seed: int, count: int = 6) -> list[Any]:
    """Return displaced cells of a salt with labels made of random numbers."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = Atoms(SALT, scaled_positions=rng.uniform(size=(8, 3)), cell=[6, 6.5, 7], pbc=True)
        labels = {'energy': rng.normal(-40, 0.1), 'forces': rng.normal(size=(8, 3)), 'stress': rng.normal(size=6) / 100}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    return found


def end(*nodes: orm.ProcessNode) -> None:
    """Let processes have finished."""
    for node in nodes:
        node.set_process_label((node.process_type or 'analyse').rpartition('.')[2])
        node.set_process_state('finished')
        node.set_exit_status(0)
        node.seal()


def make_vasp_run(cluster: orm.Computer, number: int) -> orm.WorkChainNode:
    """Return a workchain of aiida-vasp that called a job which left a vasprun.xml."""
    chain = orm.WorkChainNode(process_type='aiida.workflows:vasp.vasp').store()
    job = orm.CalcJobNode(computer=cluster, process_type='aiida.calculations:vasp.vasp', label=f'md {number}')
    job.base.links.add_incoming(chain, LinkType.CALL_CALC, 'call')
    job.store()
    retrieved = orm.FolderData()
    retrieved.base.repository.put_object_from_bytes(vasprun_text(salt_images(number)).encode(), 'vasprun.xml')
    retrieved.base.links.add_incoming(job, LinkType.CREATE, 'retrieved')
    retrieved.store()
    end(job, chain)
    return chain


def make_melt_quench(cluster: orm.Computer, folder: Path) -> orm.WorkChainNode:
    """Return a melt-quench that sampled one structure, LiCl, in one job."""
    chain = orm.WorkChainNode(process_type='aiida.workflows:softclay.melt_quench').store()
    aimd = orm.WorkChainNode(process_type='aiida.workflows:softclay.aimd', label='LiCl')
    aimd.base.links.add_incoming(chain, LinkType.CALL_WORK, 'LiCl')
    aimd.store()
    job = orm.CalcJobNode(computer=cluster, process_type='aiida.calculations:softclay.vasp_md')
    job.base.links.add_incoming(aimd, LinkType.CALL_CALC, 'hold')
    job.store()
    with FramesFile(folder / 'many.h5', 'w') as file:
        file.append(make_block(('Li', 'Cl'), MANY_FRAMES, seed=5), {'label': 'LiCl', 'stage': 'hold'})
    made = {
        'frames': FramesData.from_file(folder / 'many.h5'),
        'statistics': orm.Dict(
            {'first_step': 0, 'frame_stride': 1, 'steps_recorded': MANY_FRAMES, 'steps_left_out': []}
        ),
    }
    for name, node in made.items():
        node.base.links.add_incoming(job, LinkType.CREATE, name)
        node.store()
    made['frames'].base.links.add_incoming(aimd, LinkType.RETURN, 'frames__run_000')
    made['frames'].base.links.add_incoming(chain, LinkType.RETURN, 'frames__LiCl_000')
    end(job, aimd, chain)
    return chain


def make_learning(nodes: dict[str, Any]) -> orm.WorkChainNode:
    """Return a concurrent learning of one generation, whose record has what its engine test checks."""
    chain = orm.WorkChainNode(process_type='aiida.workflows:softclay.concurrent_learning').store()
    group = orm.Group('concurrent/generation_000').store()
    record = {
        'decision': 'learning', 'shares': {'accurate': 0.5, 'candidate': 0.4, 'failed': 0.1}, 'n_labelled': 1,
        'levels': {'lower_eV_A': 0.1, 'upper_eV_A': 0.3}, 'group': group.label,
        'selected': {'melt': [{'run': 'melt_T300', 'frame': 2, 'step': 20, 'deviation': 0.2}]},
    }  # fmt: skip
    helper = orm.CalcFunctionNode().store()
    generation = orm.Dict(record)
    generation.base.links.add_incoming(helper, LinkType.CREATE, 'record')
    outputs = {
        'generations__generation_000': generation.store(), 'frames__initial': nodes['frames_0'],
        'frames__generation_000_melt': nodes['frames_1'],
    }  # fmt: skip
    for name, node in outputs.items():
        node.base.links.add_incoming(chain, LinkType.RETURN, name)
    end(helper, chain)
    return chain


def make_validation() -> orm.WorkChainNode:
    """Return a proof of a potential that found one difference, with a warning."""
    chain = orm.WorkChainNode(process_type='aiida.workflows:softclay.validate_potential').store()
    row = Quantity(
        'bulk_modulus.LiCl.difference', 1.5, 0.4, 'GPa', 'potential minus engine', 7, error_method='fit',
        warnings=['made for a test'],
    )  # fmt: skip
    helper = orm.CalcFunctionNode().store()
    results = orm.Dict(results_dict([row]))
    results.base.links.add_incoming(helper, LinkType.CREATE, 'result')
    results.store().base.links.add_incoming(chain, LinkType.RETURN, 'results')
    end(helper, chain)
    return chain
