"""Sets of files as VASP leaves them after an MD run, and how to parse them without running anything."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from vasp_writer import TIMING, FreeFlight

from aiida_softclay.calculations.vasp_inputs import thermal_velocities

PLANNED = 10


def free_flight():
    """Return alternating sites, so that VASP's order differs from theirs; some atoms leave the cell."""
    positions = np.random.default_rng(3).uniform(-1, 9, (6, 3))
    atoms = Atoms('LiClLiClLiGa', positions=positions, cell=[[8, 0, 0], [1, 7, 0], [0.3, -0.4, 9]], pbc=True)
    velocities = thermal_velocities(atoms.get_masses(), 600.0, seed=2)
    return FreeFlight(atoms, velocities, planned=PLANNED)


def parse_files(flight, folder, files, sampling=None, **tags):
    """Parse a set of files as the outputs of a run; return the outputs and the process."""
    from aiida import orm
    from aiida.common import LinkType

    from aiida_softclay.parsers.vasp_md import VaspMdParser

    _, computer = orm.Computer.collection.get_or_create(
        label='nowhere', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
        workdir=str(folder),
    )  # fmt: skip
    node = orm.CalcJobNode(computer=computer.store(), process_type='aiida.calculations:softclay.vasp_md')
    node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
    velocities = orm.ArrayData()
    velocities.set_array('velocities', flight.velocities)
    parameters = {'ibrion': 0, 'nsw': PLANNED, 'potim': flight.timestep, 'tebeg': 600.0, 'teend': 600.0}
    inputs = {
        'structure': orm.StructureData(ase=flight.atoms), 'velocities': velocities,
        'parameters': orm.Dict(parameters | tags), 'sampling': orm.Dict(sampling or {}),
    }  # fmt: skip
    for name, data in inputs.items():
        node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, name)
    node.store()
    retrieved = orm.FolderData()
    temporary = folder / 'temporary'
    temporary.mkdir()
    for name, text in files.items():
        if name == 'CONTCAR':
            retrieved.base.repository.put_object_from_bytes(text.encode(), name)
        else:
            (temporary / name).write_text(text)
    retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
    retrieved.store()
    return VaspMdParser.parse_from_node(node, store_provenance=False, retrieved_temporary_folder=str(temporary))


def complete(flight, steps=PLANNED):
    return {
        'vasprun.xml': flight.vasprun(steps), 'OUTCAR': ' beginning\n' + TIMING, 'OSZICAR': flight.oszicar(steps),
        'CONTCAR': flight.contcar(steps), 'vasp_output': ' running on 1 core\n',
    }  # fmt: skip


def cut(text, share=0.97):
    return text[: int(len(text) * share)]
