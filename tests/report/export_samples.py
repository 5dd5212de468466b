"""A small study made node by node: crystal, VASP run with a POTCAR, frames, potential, trajectories, numbers."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.data.frame_block import FrameBlock
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FramesFile
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

#: Stands in the tables of the POTCAR and nowhere else: where it is found, licensed text is.
SECRET = 'SECRETOFTHETABLES'  # noqa: S105
LABELS = {'program': 'softclay-vasp', 'version': '0.1', 'model': 'CHGNet 0.3.0'}
OUTCAR = (
    ' vasp.6.4.2 20Jul23\n POTCAR:    PAW_PBE Li 01Jan2001\n   VRHFIN =Li: s1p0\n   LEXCH  = PE\n'
    '   TITEL  = PAW_PBE Li 01Jan2001\n General timing and accounting informations for this job:\n'
)


def potcar_text(element):
    return (
        f' PAW_PBE {element} 01Jan2001\n   1.00000000000000\n parameters from PSCTR are:\n   VRHFIN ={element}: s1p0\n'
        f'   LEXCH  = PE\n   TITEL  = PAW_PBE {element} 01Jan2001\n END of PSCTR-controll parameters\n local part\n'
        f'  {SECRET} 0.12345678E+02\n End of Dataset\n'
    )


def process(
    kind, label, inputs=(), caller=None, call='CALL', computer=None, files=None, finished=True, entry_point=None
):
    """Store a process with its inputs."""
    node = kind(computer=computer) if computer is not None else kind()
    node.set_process_label(label)
    node.process_type = entry_point
    node.label = label
    for name, content in (files or {}).items():
        node.base.repository.put_object_from_bytes(content, name)
    workflow = isinstance(node, orm.WorkflowNode)
    for name, value in dict(inputs).items():
        node.base.links.add_incoming(value, LinkType.INPUT_WORK if workflow else LinkType.INPUT_CALC, name)
    if caller is not None:
        node.base.links.add_incoming(caller, LinkType.CALL_WORK if workflow else LinkType.CALL_CALC, call)
    node.store()
    if finished:
        node.set_process_state(ProcessState.FINISHED)
        node.set_exit_status(0)
    else:
        node.set_process_state(ProcessState.WAITING)
    return node


def made(node, **outputs):
    """Store what a calculation made."""
    for label, value in outputs.items():
        value.base.links.add_incoming(node, LinkType.CREATE, label)
        value.store()
    node.seal()
    return outputs


def folder_with(files):
    folder = orm.FolderData()
    for name, content in files.items():
        folder.base.repository.put_object_from_bytes(content, name)
    return folder


def trajectory(path, n_frames, n_atoms, stage):
    """Ions on a jagged walk."""
    rng = np.random.default_rng(n_frames)
    positions = rng.uniform(0, 8, (n_atoms, 3))
    engine = {'program': 'LAMMPS', 'version': '22 Jul 2025', 'potential': 'DeePMD model.pb'}
    with TrajectoryFile(
        path, 'w', [3] * (n_atoms // 2) + [17] * (n_atoms // 2), 0.001, engine=engine, stage=stage
    ) as target:
        for index in range(n_frames):
            positions = positions + rng.normal(scale=0.05, size=(n_atoms, 3))
            target.append(positions, np.eye(3) * 8.0, index * 10)
    return MdTrajectoryData.from_file(path)


def frames(path):
    rng = np.random.default_rng(3)
    virials = rng.normal(size=(6, 3, 3))
    block = FrameBlock(
        atomic_numbers=np.array([3, 17]), positions=rng.uniform(0, 4, (6, 2, 3)),
        cells=np.tile(np.eye(3) * 4, (6, 1, 1)), energies=rng.normal(size=6), forces=rng.normal(size=(6, 2, 3)),
        virials=virials + virials.transpose(0, 2, 1),
    )  # fmt: skip
    with FramesFile(path, 'w', energy_kind='e_fr_energy', engine=LABELS) as file:
        file.append(block, {'label': 'melt'})
    return FramesData.from_file(path)


def _field(number, data):
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def _constant(name, tensor):
    value = _field(5, _field(1, b'value') + _field(2, _field(8, tensor)))
    return _field(1, _field(1, name) + _field(2, b'Const') + value)


def potential():
    """A file with the structure of a frozen model for Li and Cl."""
    cutoff = _field(4, struct.pack('<d', 6.0))
    graph = _constant(b'model_attr/tmap', _field(8, b'Li Cl')) + _constant(b'descrpt_attr/rcut', cutoff)
    return PotentialData(
        io.BytesIO(graph), 'model.pb', type_map=['Li', 'Cl'], version='3.2.0', labels=LABELS,
        test_rmse={'force_eV_A': 0.05},
    )  # fmt: skip


def numbers(**conditions):
    quantities = [
        Quantity('diffusivity.Li', 2.1e-6, 3e-7, 'cm^2/s', 'slope of the MSD', 4, conditions=conditions),
        Quantity('density', 2.07, 0.02, 'g/cm^3', 'mass over volume', 5),
    ]
    return orm.Dict(
        results_dict(
            quantities, mixture='LiCl', engine='DeePMD model fitted to CHGNet 0.3.0', n_atoms=10, protocol='demo'
        )
    )


def sample_study(folder, computer, finished=True):
    """Store the study; unless ``finished``, it still waits although its stages have ended."""
    from aiida_vasp.data.potcar import PotcarData

    source = folder / 'licensed' / 'Li' / 'POTCAR'
    source.parent.mkdir(parents=True)
    source.write_text(potcar_text('Li'))
    PotcarData.upload_potcar_family(folder / 'licensed', 'PBE', 'a family of the user', stop_if_existing=False)
    potcar = orm.QueryBuilder().append(PotcarData).first(flat=True)

    study = process(
        orm.WorkChainNode, 'StudyWorkChain', {'mixture': orm.Str('LiCl').store()}, finished=finished,
        entry_point='aiida.workflows:softclay.study',
    )  # fmt: skip
    build = process(
        orm.CalcFunctionNode, 'build_crystal', {'parameters': orm.Dict({'crystal': 'LiCl'}).store()}, study, 'crystal'
    )
    cell = orm.StructureData(cell=np.eye(3) * 5.13)
    for index in range(4):
        cell.append_atom(position=(index * 1.1, 0.0, 0.0), symbols='Li' if index % 2 else 'Cl')
    crystal = made(build, structure=cell, report=orm.Dict({'source': 'a handbook'}))['structure']

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w:xz') as tar:
        content = potcar_text('Li').encode()
        member = tarfile.TarInfo('job/inputs.txt')
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    files = {
        'INCAR': b'NSW = 10\n', 'raw/POTCAR': potcar_text('Li').encode(), 'empty': b'', '.aiida/calcinfo.json': b'{}',
    }  # fmt: skip
    inputs = {'structure': crystal, 'potential__Li': potcar}
    vasp = process(orm.CalcJobNode, 'VaspMdCalculation', inputs, study, 'sampling', computer, files)
    vasp.set_remote_workdir('/scratch/jobs/vasp')
    labelled = made(
        vasp, frames=frames(folder / 'frames.h5'),
        retrieved=folder_with({
            'OUTCAR': OUTCAR.encode(), 'concatenated.txt': b'a line before\n' + potcar_text('Li').encode(),
            'saved.gz': gzip.compress(potcar_text('Li').encode()), 'job.tar.xz': packed.getvalue(), 'POTCAR': b'',
        }),
    )['frames']  # fmt: skip
    train = process(orm.CalcJobNode, 'DpTrainCalculation', {'frames__a': labelled}, study, 'train', computer)
    model = made(train, potential=potential())['potential']
    md = process(
        orm.CalcJobNode, 'LammpsMdCalculation', {'structure': crystal, 'potential': model}, study, 'md', computer
    )
    md.set_remote_workdir('/scratch/jobs/lammps')
    thermo = orm.ArrayData({'time': np.arange(5) * 0.1, 'stress': np.arange(30.0).reshape(5, 6), 'masses': np.ones(2)})
    thermo.base.attributes.set('units', {'time': 'ps', 'stress': 'GPa'})
    runs = made(
        md,
        small=trajectory(folder / 'small.h5', 3, 10, 'heat'),
        big=trajectory(folder / 'big.h5', 150, 200, 'run'),
        thermo=thermo,
    )
    analyse = process(orm.CalcFunctionNode, 'diffusion', {'trajectory': runs['big']}, study, 'diffusion')
    cube = orm.SinglefileData(io.BytesIO(b'density\nof Li\n'), filename='Li.cube')
    results = made(analyse, results=numbers(temperature_K=600.0), cube_Li=cube)['results']
    outputs = {
        'results': results,
        'frames__melt_1': labelled,
        'potential': model,
        'thermo__run': thermo,
        'structure': crystal,
    }
    if finished:
        for label, node in outputs.items():
            node.base.links.add_incoming(study, LinkType.RETURN, label)
        study.seal()
    return study
