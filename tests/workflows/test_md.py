"""The molecular dynamics workchain: physics of each stage, and runs that are cut and go on."""

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import units
from ase.build import bulk
from md_samples import ARGON, KILL, SLOW, argon, code_that_fails_once, run_md
from scipy.spatial.transform import Rotation

from aiida_softclay.workflows.md import MdWorkChain

pytestmark = pytest.mark.engine


def test_all_kinds_of_stages(lj_code):
    node = run_md(
        lj_code,
        [
            {'name': 'relax', 'kind': 'minimise', 'relax_cell': 'tri'},
            {'name': 'heat', 'kind': 'nvt', 'duration_ps': 2, 'temperature_K': 10, 'temperature_end_K': 30},
            {'name': 'pulse', 'kind': 'npt', 'duration_ps': 4, 'temperature_K': 30, 'stress_GPa': {'yz': 0.05}},
            {'name': 'shear', 'kind': 'deform', 'component': 'yz', 'rate_per_ps': 0.01, 'duration_ps': 2,
             'temperature_K': 30, 'dump_every': 300},
            {'name': 'free', 'kind': 'nve', 'duration_ps': 1},
        ],
    )  # fmt: skip
    outputs = node.outputs
    assert set(outputs.thermo) == set(outputs.trajectories) == {'relax', 'heat', 'pulse', 'shear', 'free'}

    relax = outputs.thermo.relax
    for component in ('xx', 'yy', 'zz', 'yz', 'xz', 'xy'):
        assert abs(relax.get_array(f'stress_{component}_GPa')[-1]) < 0.005

    heat = outputs.trajectories.heat
    assert (heat.n_frames, heat.first_step, heat.last_step, heat.stride_steps) == (21, 0, 1000, 50)
    # 1000 steps with a stride of 300 from the start of the stage, although the stage starts at step 3000.
    shear = outputs.trajectories.shear
    assert (shear.n_frames, shear.first_step, shear.stride_steps) == (4, 3000, 300)

    # A positive shear stress tilts the cell towards positive strain.
    pulse = outputs.thermo.pulse
    cell = pulse.get_array('cell')
    assert (cell[len(cell) // 2 :, 2, 1] / cell[len(cell) // 2 :, 2, 2]).mean() > 0.005

    series = outputs.thermo.shear
    cell, time_ps = series.get_array('cell'), series.get_array('time_ps')
    tilt = cell[:, 2, 1] - cell[0, 2, 1]
    np.testing.assert_allclose(tilt, 0.01 * cell[0, 2, 2] * (time_ps - time_ps[0]), atol=1e-6)

    free = outputs.thermo.free
    energy = free.get_array('total_energy_eV')
    assert np.ptp(energy) / 108 < 1e-5
    assert free.base.attributes.get('units')['stress_yz_GPa'] == 'GPa'

    statistics = outputs.statistics.get_dict()
    assert statistics['end_reason'] == 'completed'
    assert statistics['stages']['relax']['converged']
    assert [statistics['stages'][name]['steps'] for name in ('heat', 'pulse', 'shear', 'free')] == [
        1000,
        2000,
        1000,
        500,
    ]
    assert statistics['threads'] == 1
    assert outputs.structure.cell[0][1] == 0
    assert outputs.velocities.get_array('velocities').shape == (108, 3)
    # One job, so nothing was merged.
    assert [process.process_label for process in node.called] == ['LammpsMdCalculation']


LONG = [
    {'name': 'start', 'kind': 'nvt', 'duration_ps': 0.1, 'temperature_K': 20},
    {'name': 'long', 'kind': 'npt', 'duration_ps': 3, 'temperature_K': 20,
     'stress_GPa': {'yz': 0.02}},
    {'name': 'last', 'kind': 'nve', 'duration_ps': 0.5},
]  # fmt: skip


def check_long(node):
    """Every step of the plan is there once, and the thermostat went on where it was."""
    outputs = node.outputs
    step = outputs.thermo.long.get_array('step')
    np.testing.assert_array_equal(step, np.arange(50, 1551, 10))
    with outputs.trajectories.long.open_trajectory() as trajectory:
        np.testing.assert_array_equal(trajectory.steps[:], np.arange(50, 1551, 50))
        assert np.abs(np.diff(trajectory.positions[:], axis=0)).max() < 2.0
    assert outputs.trajectories.last.n_frames == 6
    assert outputs.statistics['steps'] == 50 + 1500 + 250
    assert outputs.statistics['stages']['long']['steps'] == 1500


def check_same_after_seam(node, whole):
    """The run that was cut is the run in one piece: positions, thermostat, barostat and reference cell went on."""
    seam = node.outputs.statistics['seams'][0]['step']
    step = node.outputs.thermo.long.get_array('step')
    assert seam < 1450
    near = step <= seam + 100
    for name in ('temperature_K', 'volume_A3', 'stress_yz_GPa', 'conserved_energy_eV'):
        cut, one = (run.outputs.thermo.long.get_array(name)[near] for run in (node, whole))
        np.testing.assert_allclose(cut, one, rtol=1e-9, atol=1e-9)


def test_runs_that_are_cut_go_on_as_if_they_had_not_been(lj_code, tmp_path):
    whole = run_md(lj_code, LONG, argon(5), classical=SLOW)

    # 11 s of wall time leave one second to LAMMPS, which is not enough; the second job has no limit.
    limited = code_that_fails_once(lj_code, tmp_path, 'limited', later="&& sed -i '/^timer timeout/d' input.in")
    node = run_md(limited, LONG, argon(5), options={'max_wallclock_seconds': 11}, classical=SLOW)
    check_long(node)
    assert node.outputs.statistics['end_reasons'] == ['walltime', 'completed']
    check_same_after_seam(node, whole)

    killed = code_that_fails_once(lj_code, tmp_path, 'killed', first=KILL)
    node = run_md(killed, LONG, argon(5), classical=SLOW)
    check_long(node)
    assert node.outputs.statistics['end_reasons'] == ['killed', 'completed']
    seam = node.outputs.statistics['seams'][0]
    assert seam['within']
    assert seam['step'] % 100 == 0
    assert seam['checked']
    assert abs(seam['differences']['potential_energy_eV']) < 1e-8
    check_same_after_seam(node, whole)
    # Restart files stay on the computer.
    for job in node.called_descendants:
        for output in job.base.links.get_outgoing().all_nodes():
            names = output.base.repository.list_object_names()
            assert not any(name.endswith('.restart') for name in names), names


def test_too_few_jobs_keep_what_was_computed(lj_code):
    builder = MdWorkChain.get_builder_from_protocol(
        lj_code, argon(), {'timestep_ps': 0.002, 'stages': [{**LONG[1], 'duration_ps': 400}]}, classical=ARGON,
        options={'max_wallclock_seconds': 11}, max_iterations=1,
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == 402
    assert 'max_iterations' in node.exit_message
    assert node.outputs.trajectories.long.n_frames > 1


def argon_shear_modulus(constant):
    """C44 of the same crystal by another program: stress of ASE's Lennard-Jones under a small strain, GPa."""
    from ase.calculators.lj import LennardJones

    stresses = []
    for strain in (-0.005, 0.005):
        atoms = bulk('Ar', 'fcc', a=constant, cubic=True) * (4, 4, 4)
        cell = atoms.cell.array.copy()
        cell[2, 1] = strain * cell[2, 2]
        atoms.set_cell(cell, scale_atoms=True)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=False)
        stresses.append(atoms.get_stress()[3] / units.GPa)
    return (stresses[1] - stresses[0]) / 0.01


def test_stress_and_strain_of_a_crystal(lj_code):
    """Hooke's law with the right sign and size, at constant stress and at constant rate, near 0 K."""
    node = run_md(
        lj_code,
        [
            {'name': 'relax', 'kind': 'minimise', 'relax_cell': 'tri'},
            {'name': 'settle', 'kind': 'npt', 'duration_ps': 10, 'temperature_K': 3},
            {'name': 'load', 'kind': 'npt', 'duration_ps': 20, 'temperature_K': 3,
             'stress_GPa': {'yz': 0.03, 'xx': 0.02}},
            {'name': 'strain', 'kind': 'deform', 'component': 'yz', 'rate_per_ps': 2e-3, 'duration_ps': 8,
             'temperature_K': 3},
        ],
        argon(4), timestep_ps=0.004, dump_every=1000,
    )  # fmt: skip
    relaxed = node.outputs.thermo.relax.get_array('cell')[-1]
    modulus = argon_shear_modulus(relaxed[0, 0] / 4)
    assert 1.5 < modulus < 3.0

    load = node.outputs.thermo.load
    late = load.get_array('time_ps') > 20
    cell = load.get_array('cell')[late]
    assert load.get_array('stress_yz_GPa')[late].mean() == pytest.approx(0.03, abs=0.005)
    assert load.get_array('stress_xx_GPa')[late].mean() == pytest.approx(0.02, abs=0.005)
    assert load.get_array('stress_zz_GPa')[late].mean() == pytest.approx(0.0, abs=0.005)
    assert (cell[:, 2, 1] / cell[:, 2, 2]).mean() == pytest.approx(0.03 / modulus, rel=0.15)
    assert cell[:, 0, 0].mean() > cell[:, 1, 1].mean()

    strain = node.outputs.thermo.strain
    cell = strain.get_array('cell')
    gamma = cell[:, 2, 1] / cell[0, 2, 2]
    slope = np.polyfit(gamma, strain.get_array('stress_yz_GPa'), 1)[0]
    assert slope == pytest.approx(modulus, rel=0.12)


def test_temperature_and_pressure_of_a_hot_crystal(lj_code):
    node = run_md(
        lj_code,
        [
            {'name': 'warm', 'kind': 'nvt', 'duration_ps': 20, 'temperature_K': 40},
            {'name': 'press', 'kind': 'npt', 'duration_ps': 30, 'temperature_K': 40, 'coupling': 'iso',
             'stress_GPa': {'xx': -0.1, 'yy': -0.1, 'zz': -0.1}},
        ],
        timestep_ps=0.004, dump_every=1000,
    )  # fmt: skip
    warm, press = node.outputs.thermo.warm, node.outputs.thermo.press
    assert warm.get_array('temperature_K')[250:].mean() == pytest.approx(40, rel=0.05)
    # Equipartition: the kinetic energy is total, not per atom, in eV.
    kinetic = warm.get_array('kinetic_energy_eV') / (1.5 * 107 * 8.617333e-5)
    np.testing.assert_allclose(kinetic, warm.get_array('temperature_K'), rtol=1e-4)
    pressure = -np.mean([press.get_array(f'stress_{c}_GPa')[250:].mean() for c in ('xx', 'yy', 'zz')])
    assert pressure == pytest.approx(0.1, abs=0.02)
    conserved = warm.get_array('conserved_energy_eV')
    assert np.ptp(conserved) < 0.01 * np.ptp(warm.get_array('total_energy_eV')) + 1e-3


def test_orientation_and_order_do_not_matter(lj_code):
    """A turned, left- or right-handed triclinic cell with interleaved elements moves the same way."""
    atoms = bulk('Ar', 'fcc', a=5.3) * (4, 4, 5)
    rng = np.random.default_rng(3)
    atoms.set_cell(atoms.cell.array + rng.normal(0, 0.3, (3, 3)), scale_atoms=True)
    atoms.rattle(0.05, seed=2)
    atoms.symbols[rng.permutation(len(atoms))[:30]] = 'Ne'
    mixture = {
        'elements': ['Ne', 'Ar'],
        'lines': ['pair_style lj/cut 8.0', 'pair_coeff Ar Ar 0.0104 3.4', 'pair_coeff Ne Ne 0.003 2.8',
                  'pair_coeff Ar Ne 0.006 3.1'],
    }  # fmt: skip
    velocities = rng.normal(0, 1.0, (len(atoms), 3))
    velocities -= (velocities * atoms.get_masses()[:, None]).sum(0) / atoms.get_masses().sum()
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    results = []
    for rotation in (np.eye(3), turn):
        turned = atoms.copy()
        turned.set_cell(atoms.cell.array @ rotation)
        turned.positions = atoms.positions @ rotation
        builder = MdWorkChain.get_builder_from_protocol(
            lj_code, orm.StructureData(ase=turned),
            {'timestep_ps': 0.002, 'thermo_every': 20,
             'stages': [{'name': 'fly', 'kind': 'nve', 'duration_ps': 0.2}]},
            classical={'pair_lines': mixture}, velocities=orm.ArrayData({'velocities': velocities @ rotation}),
        )  # fmt: skip
        _, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        final = node.outputs.structure.get_ase()
        assert list(final.symbols) == list(atoms.symbols)
        results.append((node.outputs.thermo.fly, final.get_all_distances(mic=True)))
    for name in ('potential_energy_eV', 'kinetic_energy_eV', 'temperature_K'):
        np.testing.assert_allclose(results[0][0].get_array(name), results[1][0].get_array(name), rtol=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5)
    kinetic = 0.5 * (atoms.get_masses()[:, None] * velocities**2).sum() * 1.0364270e-4
    assert results[0][0].get_array('kinetic_energy_eV')[0] == pytest.approx(kinetic, rel=1e-4)


def test_a_deep_potential_moves_atoms(lmp_code):
    """A small model (trained for 100 steps: a smooth energy surface, not lithium chloride) in the real plugin."""
    from aiida_softclay.data.potential import PotentialData

    model = Path(__file__).parent / 'fixtures' / 'md_lithium_chloride.pb'
    potential = PotentialData(file=model, type_map=['Li', 'Cl'])
    plan = {'timestep_ps': 0.001, 'thermo_every': 5, 'dump_every': 10,
            'stages': [{'name': 'fly', 'kind': 'nve', 'duration_ps': 0.05, 'temperature_K': 100}]}  # fmt: skip
    structure = orm.StructureData(ase=bulk('LiCl', 'rocksalt', a=5.13, cubic=True))
    builder = MdWorkChain.get_builder_from_protocol(
        lmp_code, structure, plan, potential=potential,
        options={'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1, 'num_cores_per_mpiproc': 2}},
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    energy = node.outputs.thermo.fly.get_array('total_energy_eV')
    kinetic = node.outputs.thermo.fly.get_array('kinetic_energy_eV')
    assert np.ptp(kinetic) > 0
    assert np.ptp(energy) < 0.1 * np.ptp(kinetic)
    statistics = node.outputs.statistics.get_dict()
    assert statistics['deepmd']['version'].startswith('v')
    assert statistics['deepmd']['intra_op_threads'] == '2'
    assert statistics['threads'] == 2
    assert statistics['requested']['threads'] == 2
    # The small model here is not compressed, and the run says what that costs.
    assert any('not compressed' in note for note in statistics['warnings'])
    assert node.outputs.trajectories.fly.engine['potential_uuid'] == potential.uuid

    with pytest.raises(ValueError, match='the structure has Ar, but the potential knows only Li, Cl'):
        run_get_node(MdWorkChain.get_builder_from_protocol(lmp_code, argon(1), plan, potential=potential))


def test_failures_say_what_happened(lj_code, localhost):
    """Atoms that leave the cell in one step, and a program that is not LAMMPS."""
    velocities = np.zeros((32, 3))
    velocities[0, 0] = 5.0e5
    builder = MdWorkChain.get_builder_from_protocol(
        lj_code, argon(2), {'stages': [{'name': 'burst', 'kind': 'nve', 'duration_ps': 0.1}]}, classical=ARGON,
        velocities=orm.ArrayData({'velocities': velocities}),
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == 501
    assert 'stage burst' in node.exit_message
    assert node.outputs.statistics['end_reason'] == 'lost_atoms'

    other = orm.InstalledCode(label='true', computer=localhost, filepath_executable='/bin/true').store()
    node = run_md(other, [{'name': 'never', 'kind': 'nvt', 'duration_ps': 0.1, 'temperature_K': 10}], expect=401)
    assert 'wrote no log' in node.exit_message
    assert len(node.called) == 3
