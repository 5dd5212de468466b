"""The profile in which the documented commands run: the finished demo study, codes of a cluster, frames, potentials."""

from __future__ import annotations

import json
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from aiida import orm

from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.data.committee import Committee
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData

sys.path.insert(0, str(Path(__file__).parents[1] / 'data'))
from documented_processes import SALT, make_learning, make_melt_quench, make_validation, make_vasp_run, salt_images
from frame_samples import graph, make_block, vasprun_text, write_frames
from outcar_samples import outcar_text

STUDY = 'c1ca64cf-ebc6-4760-96e3-c1ebc37b86a8'
ARCHIVE = Path(__file__).parents[2] / 'docs' / 'data' / 'demo-study.zip'
PLUGINS = {
    'vasp': 'softclay.vasp_md', 'dp': 'softclay.dp.train', 'lmp': 'softclay.lammps', 'analyse': 'softclay.analysis',
}  # fmt: skip
ELEMENTS = ('Li', 'Na', 'Mg', 'Al', 'Ga', 'Nb', 'O', 'F', 'Cl', 'Br', 'I', 'K', 'In', 'Sb')
#: eV per formula unit, made up: anions are exchanged.
ENERGIES = {
    **dict.fromkeys(('Li', 'Na', 'Mg', 'Ga', 'F2', 'Cl2', 'Br2'), 0.0), 'LiCl': -4.0, 'GaF3': -12.0, 'Li3GaF6': -32.4,
    'GaCl3': -5.0, 'LiF': -6.6, 'LiGaCl4': -9.3, 'NaCl': -4.1, 'NaF': -6.0, 'Na3GaF6': -32.0, 'LiBr': -3.6,
    'GaBr3': -4.0, 'MgCl2': -6.0, 'MgF2': -11.5,
}  # fmt: skip
ENTRIES = [{'formula': name, 'energy_eV': energy, 'engine': 'made up'} for name, energy in ENERGIES.items()]


def fill(folder: Path) -> dict[str, Any]:
    """Fill an empty profile, and return what the placeholders of the documentation stand for: name to key or path."""
    from aiida.tools.archive import import_archive

    with zipfile.ZipFile(ARCHIVE) as opened:
        (folder / 'archive.aiida').write_bytes(opened.read('demo-study/archive.aiida'))
    import_archive(folder / 'archive.aiida')
    study = orm.load_node(STUDY)
    stages = {link.link_label: link.node for link in study.base.links.get_outgoing(node_class=orm.WorkChainNode).all()}
    run = next(child for child in stages['conductivity'].called if child.process_label == 'MdWorkChain')
    for code in orm.QueryBuilder().append(orm.InstalledCode).all(flat=True):
        # Those of the machine that computed the study are not offered beside those of the cluster.
        code.is_hidden = True
    cluster = make_cluster(folder / 'work')
    upload_placeholder_family('softclay-vasp', ELEMENTS)
    nodes: dict[str, Any] = {
        'study': study, 'structure': stages['amorphous'].outputs.structure, 'slab': run.inputs.structure,
        'potential': stages['fit_potential'].outputs.potential, 'fit': stages['fit_potential'],
        'pulse': stages['stress_pulse'], 'conductivity': stages['conductivity'],
        'trajectory': run.outputs.trajectories.production, 'thermo': run.outputs.thermo.production,
        'centres': run.outputs.collective.production, 'md': run,
        'results': stages['conductivity'].outputs.results,
        'remote': orm.RemoteData(computer=cluster, remote_path='/scratch/run').store(),
        'checkpoint': orm.RemoteData(computer=cluster, remote_path='/scratch/training').store(),
        'table': orm.Dict({'entries': ENTRIES}).store(), **make_potentials(), **make_frames(folder),
        'vasp_run': make_vasp_run(cluster, 1), 'vasp_job': make_vasp_run(cluster, 2).called[0],
        'melt_quench': make_melt_quench(cluster, folder), 'validation': make_validation(),
        'framework': orm.StructureData(ase=framework()).store(),
    }  # fmt: skip
    nodes['learning'] = make_learning(nodes)
    return {name: node.pk for name, node in nodes.items()} | {'uuid': nodes['conductivity'].uuid}


def make_cluster(work: Path) -> orm.Computer:
    """Return a computer called ``cluster`` with a code of each engine that is never run."""
    cluster = orm.Computer(
        label='cluster', hostname='localhost', transport_type='core.local', scheduler_type='core.slurm',
        workdir=str(work),
    ).store()  # fmt: skip
    cluster.set_default_mpiprocs_per_machine(1)
    cluster.configure(safe_interval=0.0)
    for name, plugin in PLUGINS.items():
        orm.InstalledCode(
            label=name, computer=cluster, filepath_executable=f'/opt/{name}', default_calc_job_plugin=plugin
        ).store()
    return cluster


def make_potentials() -> dict[str, PotentialData]:
    """Return potentials that know more than the demo's, and a committee of the demo's elements."""
    every = PotentialData(BytesIO(graph(' '.join(ELEMENTS))), filename='model.pb').store()
    committee = [
        PotentialData(BytesIO(graph('Li Ga Cl F') + bytes([10, 0] * number)), filename='model.pb', seed=number)
        for number in range(4)
    ]
    Committee.create('LiCl-GaF3-1a2b3c4d', committee)
    return {'every': every, **{f'model_{number}': node for number, node in enumerate(committee)}}


def make_frames(folder: Path) -> dict[str, FramesData]:
    """Return three nodes of labelled frames of a salt."""
    made = {}
    for number in range(3):
        path = write_frames(folder / f'{number}.h5', [(make_block(SALT, 20, seed=number), f'salt_{number}')])
        made[f'frames_{number}'] = FramesData.from_file(path).store()
    return made


def framework() -> Any:
    """Return a small cell of the oxychloride LiAlO0.75Cl2.5."""
    from aiida_softclay.structures.substitution import substituted_crystal

    return substituted_crystal('LiAlO0.75Cl2.5', seed=1).atoms


def lay_out(folder: Path) -> None:
    """Put the files into a folder that pages name and do not show."""
    from ase.io import write

    from aiida_softclay.structures.crystals import crystal

    home = folder / 'home'
    runs = {
        home / 'aimd/LiCl/900K': 1, home / 'aimd/LiCl/1200K': 2, home / 'aimd/GaF3/900K': 3,
        home / 'runs/LiCl/seg_01': 4, home / 'runs/LiCl/seg_04': 5, folder / 'OLD_RUNS/first': 6,
        folder / 'LiCl/900K': 7,
    }  # fmt: skip
    for place, seed in runs.items():
        place.mkdir(parents=True)
        if seed % 2:
            (place / 'vasprun.xml').write_text(vasprun_text(salt_images(seed)))
        else:
            (place / 'OUTCAR').write_text(outcar_text(salt_images(seed)))
    write(folder / 'mine.cif', crystal('LiCl'))
    write(folder / 'other.vasp', crystal('GaF3'))
    write(folder / 'amorphous.cif', crystal('Li3GaF6'))
    write(folder / 'configurations.extxyz', [crystal('LiCl') * (2, 2, 2) for _ in range(3)])
    (folder / 'all-halides.json').write_text(json.dumps({'entries': ENTRIES}))
    (folder / 'plan.yaml').write_text(
        'stages: [{name: hot, kind: nvt, duration_ps: 1.0, temperature_K: 500.0}]\ndump_every: 100\n'
    )
    (folder / 'hops.yaml').write_text('bonds: {Cl: 2.8, F: 2.4}\ncentre: Ga\n')
    (folder / 'run.dump').write_text(dump_text())


def dump_text() -> str:
    """Return a text dump of LAMMPS of two frames."""
    text = ''
    for step in (0, 100):
        rows = ''.join(f'{n} {n % 4 + 1} {n}.0 {step / 1000} 0.0\n' for n in range(1, 9))
        text += f'ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n8\nITEM: BOX BOUNDS pp pp pp\n'
        text += '0 10\n' * 3 + 'ITEM: ATOMS id type xu yu zu\n' + rows
    return text
