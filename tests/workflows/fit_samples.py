"""Frames with the labels of a Lennard-Jones crystal, and a code to fit them with, for the tests of the fits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import uuid4

import numpy as np
from aiida import orm
from ase.build import bulk
from ase.calculators.lj import LennardJones

from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile

#: A network so small that a step takes a millisecond.
TINY_MODEL = {
    'descriptor': {'rcut': 4.0, 'rcut_smth': 1.0, 'neuron': [4, 8], 'axis_neuron': 4, 'precision': 'float64'},
    'fitting_net': {'neuron': [8, 8], 'precision': 'float64'},
}


def lennard_jones_block(n_frames, first_seed=0):
    """Rattled and strained rock salt."""
    rng = np.random.default_rng(first_seed)
    crystal = bulk('LiCl', 'rocksalt', a=5.1, cubic=True)
    images = []
    for index in range(n_frames):
        atoms = crystal.copy()
        atoms.set_cell(atoms.cell * (1 + 0.02 * rng.normal()), scale_atoms=True)
        atoms.rattle(0.1, seed=100 * first_seed + index)
        atoms.calc = LennardJones(epsilon=0.05, sigma=2.4, rc=6.0, smooth=True)
        images.append(atoms)
    return FrameBlock.from_symbols(
        crystal.get_chemical_symbols(),
        positions=np.array([atoms.positions for atoms in images]),
        cells=np.array([atoms.cell.array for atoms in images]),
        energies=np.array([atoms.get_potential_energy() for atoms in images]),
        forces=np.array([atoms.get_forces() for atoms in images]),
        virials=np.array([-atoms.get_stress(voigt=False) * atoms.get_volume() for atoms in images]),
    )


def frames_of(label, n_frames, stage='', energy_kind='e_fr_energy', program='ASE Lennard-Jones'):
    """Frames of one structure and stage, not stored; other labels give other configurations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'frames.h5'
        with FramesFile(path, 'w') as file:
            file.describe(energy_kind, {'program': program})
            file.append(lennard_jones_block(n_frames, len(label)), {'label': label, 'stage': stage})
        return FramesData.from_file(path)


def dp_code_in(folder, program, label='dp-fit'):
    """A code on a computer of its own, since the fixtures of the other tests last for one test only.

    Several files have one, and no two computers of a profile may share a label.
    """
    computer = orm.Computer(
        label=f'{label}-{uuid4()}', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
        workdir=str(folder / 'work'),
    ).store()  # fmt: skip
    computer.set_minimum_job_poll_interval(0.2)
    computer.configure(safe_interval=0.0)
    return orm.InstalledCode(
        label=label, computer=computer, filepath_executable=program, default_calc_job_plugin='softclay.dp.train'
    ).store()
