"""Labels of configurations with the real driver over EMT, and everything that is refused before a job is sent."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

FAMILY = 'label'
#: Without the dispersion of the protocol, which the driver would add to EMT.
INCAR = {'encut': 300, 'ismear': 0, 'nsw': 0, 'ibrion': -1, 'ivdw': 0}


def alloys(n: int, seed: int = 1) -> list[Atoms]:
    """Return distorted copies of a crystal of alternating species, each in a cell of its own."""
    atoms = bulk('Cu', 'fcc', a=3.9, cubic=True) * (2, 1, 1)
    atoms.symbols = ['Cu', 'Al', 'Cu', 'Cu', 'Al', 'Cu', 'Al', 'Cu']
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        copy = atoms.copy()
        copy.set_cell(copy.cell.array @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), scale_atoms=True)
        # Unwrapped positions, as those of a trajectory.
        copy.positions += rng.normal(0, 0.05, (8, 3)) + rng.integers(-2, 3, (8, 3)) @ copy.cell.array
        made.append(copy)
    return made


def trajectory(configurations: list[Atoms], tmp_path, name='c'):
    from aiida_softclay.data.trajectory import MdTrajectoryData
    from aiida_softclay.data.trajectory_file import TrajectoryFile

    path = tmp_path / f'{name}.h5'
    with TrajectoryFile(path, 'w', configurations[0].numbers, 0.001) as target:
        for step, atoms in enumerate(configurations):
            target.append(atoms.positions, atoms.cell.array, 10 * step)
    return MdTrajectoryData.from_file(path)


@pytest.fixture
def family(aiida_profile):
    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family(FAMILY, ['Cu', 'Al'])
    return FAMILY


def expected(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Return ASE's own energy (eV), forces (eV/Å) and virial (eV)."""
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_potential_energy(), copy.get_forces(), -copy.get_volume() * copy.get_stress(voigt=False)


def assert_labels_are_those_of_emt(frames, configurations):
    """Single precision is what is stored: positions of 20 Å to 1e-6 Å, forces to 1e-5 eV/Å."""
    with frames.open_frames() as opened:
        (view,) = opened.blocks()
        block = view.read()
        sources = opened.sources
    assert block.n_frames == len(configurations)
    for row, atoms in enumerate(configurations):
        energy, forces, virial = expected(atoms)
        assert block.symbols == atoms.get_chemical_symbols()
        assert block.energies[row] == pytest.approx(energy, abs=2e-5)
        np.testing.assert_allclose(block.forces[row], forces, atol=2e-5)
        np.testing.assert_allclose(block.virials[row], virial, atol=2e-4)
    return sources


@pytest.mark.engine
def test_labels_are_those_of_the_model(family, vasp_emt_code, tmp_path):
    """Two names, batches of three, and one configuration with an atom on top of another: named and left out."""
    from aiida.engine import run_get_node

    from aiida_softclay.workflows.label import LabelWorkChain

    first, second = alloys(5), alloys(1, seed=2)
    first[2].positions[1] = first[2].positions[0]
    builder = LabelWorkChain.get_builder_from_protocol(
        vasp_emt_code, {'hot': trajectory(first, tmp_path), 'cold': trajectory(second, tmp_path, 'd')}, family,
        overrides={'batch_size': 3, 'incar': INCAR, 'batch_mode': 'loop'},
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    kept = [atoms for index, atoms in enumerate(first) if index != 2]
    assert assert_labels_are_those_of_emt(node.outputs.frames.hot, kept) == [{'label': 'hot', 'stage': 'label'}]
    assert_labels_are_those_of_emt(node.outputs.frames.cold, second)
    hot = node.outputs.summary.get_dict()['configurations']['hot']
    assert hot['labelled'] == [0, 1, 3, 4]
    (left_out,) = hot['left_out']
    assert (left_out['index'], left_out['state']) == (2, 'failed')
    assert 'not finite' in left_out['reason']
    assert node.outputs.summary['counts'] == {'given': 6, 'labelled': 5, 'left_out': 1, 'not_relaxed': 0}
    assert node.outputs.results['context']['engine']['model'].startswith('EMT')
    assert 'not density-functional' in node.outputs.frames.hot.engine['functional']
    job = next(child for child in node.called if child.process_label == 'VaspLabelCalculation')
    stored = [str(path / name) for path, _, names in job.base.repository.walk() for name in names]
    assert not [name for name in stored if 'POTCAR' in name]


@pytest.mark.engine
def test_relaxation_in_one_process(family, vasp_emt_code, tmp_path):
    """Ions relaxed in the fixed cell: the label is that of the last step, and says where it did not converge."""
    from aiida.engine import run_get_node

    from aiida_softclay.workflows.label import LabelWorkChain

    given = alloys(3)
    relax = {'ibrion': 2, 'ivdw': 0, 'isif': 2, 'ediffg': -0.02, 'encut': 300}
    trajectories = trajectory(given, tmp_path)
    for steps, relaxed, size in ((100, True, 2), (2, False, 3)):
        builder = LabelWorkChain.get_builder_from_protocol(
            vasp_emt_code, trajectories, family, overrides={'incar': {**relax, 'nsw': steps}, 'batch_size': size}
        )
        _, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        with node.outputs.configurations.all.open_trajectory() as opened:
            last = [opened.atoms(index) for index in range(3)]
            assert list(opened.steps[:]) == [0, 10, 20]
        assert_labels_are_those_of_emt(node.outputs.frames.all, last)
        for before, after in zip(given, last, strict=True):
            np.testing.assert_allclose(after.cell, before.cell, atol=1e-9)
            largest = np.linalg.norm(expected(after)[1], axis=1).max()
            assert (largest < 0.021) == relaxed
        entry = node.outputs.summary['configurations']['all']
        assert entry['not_relaxed'] == ([] if relaxed else [0, 1, 2])
        # `auto` knows the stand-in by its name.
        assert {child.inputs.batch_mode.value for child in node.called if 'batch_mode' in child.inputs} == {'folders'}


#: Stands before the driver: the second run of it, of all, kills its job as a node that fails does.
KILLER = """#!{python}
import os, pathlib, signal, sys
counter = pathlib.Path({counter!r})
runs = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(runs))
if runs != 2:
    os.execv({program!r}, [{program!r}])
pid = os.getppid()
while b'_aiidasubmit.sh' in pathlib.Path('/proc', str(pid), 'cmdline').read_bytes():
    parent = int(pathlib.Path('/proc', str(pid), 'stat').read_text().rpartition(')')[2].split()[1])
    os.kill(pid, signal.SIGKILL)
    pid = parent
"""


@pytest.mark.engine
def test_a_killed_job_is_taken_up_by_another(family, localhost, vasp_program, tmp_path):
    """What was done is kept, what was not is computed by a second job, the configuration it died in last."""
    from aiida.engine import run_get_node
    from aiida.orm import InstalledCode

    from aiida_softclay.workflows.label import LabelWorkChain

    script = tmp_path / 'killer'
    script.write_text(KILLER.format(python=sys.executable, counter=str(tmp_path / 'runs'), program=vasp_program))
    script.chmod(0o755)
    code = InstalledCode(
        label='killer', computer=localhost, filepath_executable=str(script), with_mpi=False,
        prepend_text='export OMP_NUM_THREADS=1 SOFTCLAY_CALCULATOR=ase.calculators.emt:EMT\n',
    ).store()  # fmt: skip
    given = alloys(4)
    builder = LabelWorkChain.get_builder_from_protocol(
        code, trajectory(given, tmp_path), family, overrides={'incar': INCAR}
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert_labels_are_those_of_emt(node.outputs.frames.all, given)
    first, second = (child for child in node.called if child.process_label == 'VaspLabelCalculation')
    assert first.exit_status == 400
    assert [record['state'] for record in first.outputs.statistics['configurations']] == [
        'done', 'killed', 'not_started', 'not_started'
    ]  # fmt: skip
    assert second.inputs.indices.get_list() == [2, 3, 1]
    entry = node.outputs.summary['configurations']['all']
    assert (entry['labelled'], entry['jobs']) == ([0, 1, 2, 3], 2)


@pytest.mark.engine
def test_nothing_labelled_is_an_error(family, vasp_emt_code, tmp_path):
    from aiida.engine import run_get_node

    from aiida_softclay.workflows.label import LabelWorkChain

    bad = alloys(1)
    bad[0].positions[1] = bad[0].positions[0]
    builder = LabelWorkChain.get_builder_from_protocol(
        vasp_emt_code, trajectory(bad, tmp_path), family, overrides={'incar': INCAR}
    )
    _, node = run_get_node(builder)
    assert node.exit_status == 310
    assert 'all 0: softclay-vasp error: energy, forces or stress are not finite' in node.exit_message
    assert node.outputs.summary['counts']['left_out'] == 1


@pytest.mark.parametrize(
    ('overrides', 'words'),
    [
        ({'incar': {'ibrion': 0, 'nsw': 10}}, 'IBRION = 0 does not label'),
        ({'incar': {'nsw': 10}}, 'NSW = 10 contradicts IBRION = -1'),
        ({'incar': {'ibrion': 2, 'nsw': 10, 'isif': 3}}, 'ISIF = 3 would change the cell'),
        ({'incar': {'isif': 0}}, 'no full stress'),
        ({'incar': {'encuts': 500}}, 'encuts, which VASP does not know'),
        ({'incar': {'istart': 1}}, 'files of another run'),
        ({'incar': {'kspacing': 0.2}}, 'beside a KPOINTS file'),
        ({'batch_size': 0}, 'must be above 0'),
        ({'kpoints_spacing': -0.1}, 'must be above 0'),
        ({'batch_mode': 'all'}, 'choose from auto, loop, folders'),
        ({'max_left_out_share': 2.0}, 'from 0 to 1'),
    ],
)
def test_what_cannot_be_labelled_is_refused(family, vasp_emt_code, tmp_path, overrides, words):
    from aiida.engine import run_get_node

    from aiida_softclay.workflows.label import LabelWorkChain

    with pytest.raises(ValueError, match=words):
        run_get_node(LabelWorkChain.get_builder_from_protocol(
            vasp_emt_code, trajectory(alloys(1), tmp_path), family, overrides=overrides
        ))  # fmt: skip


def test_elements_without_a_potential_are_refused(family, vasp_emt_code, tmp_path):
    from aiida.engine import run_get_node

    from aiida_softclay.workflows.label import LabelWorkChain

    silver = alloys(1)
    silver[0].symbols[0] = 'Ag'
    with pytest.raises(ValueError, match='has no potential for Ag'):
        run_get_node(LabelWorkChain.get_builder_from_protocol(vasp_emt_code, trajectory(silver, tmp_path), family))


#: The head of a POTCAR as VASP distributes it.
POTCAR_HEAD = """  PAW_PBE Cu 22Jun2005
 parameters from PSCTR are:
   VRHFIN =Cu: d10 p1
   LEXCH  = PE
   TITEL  = PAW_PBE Cu 22Jun2005
   POMASS =   63.546; ZVAL   =   11.000    mass and valenz
   ENMAX  =  295.446; ENMIN  =  221.585 eV
 END of PSCTR-controll parameters
 End of Dataset
"""


def test_cutoffs_below_that_of_a_potential_are_refused(aiida_profile):
    from aiida_vasp.data.potcar import PotcarData

    from aiida_softclay.calculations.vasp_label import potentials_problem

    node, _ = PotcarData.get_or_create_from_contents(POTCAR_HEAD.encode())
    assert 'ENCUT = 250 eV is below the ENMAX = 295.446 eV' in potentials_problem({'ENCUT': 250}, {'Cu': node})
    assert 'has no ENCUT' in potentials_problem({'prec': 'Normal'}, {'Cu': node})
    assert potentials_problem({'encut': 300}, {'Cu': node}) is None


def test_one_mesh_is_dense_enough_for_every_cell():
    """30 k-points for each 1/Å of the reciprocal cell without 2π: three along 10 Å, four along 7.6 Å."""
    from aiida_softclay.workflows.label import kpoints_mesh

    spacing = 2 * np.pi / 30
    cells = np.array([np.diag([10.0, 10.0, 30.0]), np.diag([10.0, 7.6, 29.0])])
    assert kpoints_mesh(cells, spacing) == [3, 4, 2]
    assert kpoints_mesh(cells[:1], spacing) == [3, 3, 1]
    assert kpoints_mesh(cells, None) == [1, 1, 1]
    # A hexagonal cell: the distance of the lattice planes counts, not the length of the vector.
    hexagonal = np.array([[10.0, 0, 0], [-5.0, 8.6602540378, 0], [0, 0, 30.0]])
    assert kpoints_mesh(hexagonal[None], spacing) == [4, 4, 1]


def test_only_plain_files_are_kept():
    from aiida.orm import Dict

    from aiida_softclay.calculations.vasp_label import _validate_settings

    assert _validate_settings(Dict({'keep_files': ['OUTCAR', 'vasprun.xml'], 'label': 'x'}), None) is None
    for name in ('POTCAR', '../x', 'a b', '$(rm)', '*'):
        assert 'plain names' in _validate_settings(Dict({'keep_files': [name]}), None)
    assert 'unknown setting' in _validate_settings(Dict({'labels': 'x'}), None)
