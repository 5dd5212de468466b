"""The experiments with the real LAMMPS on argon, whose elasticity and diffusion are known."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.units import GPa

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.report.figures import plot_curves
from aiida_softclay.workflows.conductivity import ConductivityWorkChain
from aiida_softclay.workflows.constant_strain import ConstantStrainWorkChain
from aiida_softclay.workflows.protocol import ProtocolError
from aiida_softclay.workflows.stress_pulse import StressPulseWorkChain

EPSILON, SIGMA, CUTOFF = 0.010340, 3.4, 8.5
ARGON = {'pair_lines': [f'pair_style lj/cut {CUTOFF}', f'pair_coeff 1 1 {EPSILON} {SIGMA}']}
EXPERIMENTS = (StressPulseWorkChain, ConstantStrainWorkChain, ConductivityWorkChain)


def argon(a=5.25, repeat=4):
    return orm.StructureData(ase=bulk('Ar', 'fcc', a=a, cubic=True) * (repeat, repeat, repeat))


def numbers_of(node):
    results = node.outputs.results.get_dict()
    check_results(results)
    assert results['context']['engine'].startswith('LAMMPS')
    assert results['context']['n_atoms'] == 256
    return {row['name']: row for row in results['numbers']}


def static_shear_modulus():
    """C44 of the crystal at rest by finite differences of the stress, at zero pressure, with ASE's Lennard-Jones."""

    def stress(a, gamma=0.0):
        atoms = bulk('Ar', 'fcc', a=a, cubic=True)
        cell = atoms.cell[:].copy()
        cell[2, 1] = gamma * cell[2, 2]
        atoms.set_cell(cell, scale_atoms=True)
        atoms.calc = LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, smooth=False)
        return atoms.get_stress() / GPa

    lattice = np.linspace(5.15, 5.35, 41)
    pressures = [stress(a)[0] for a in lattice]
    a0 = np.interp(0.0, pressures, lattice)
    return (stress(a0, 0.005)[3] - stress(a0, -0.005)[3]) / 0.01


@pytest.mark.engine
def test_modulus_of_argon_is_its_elastic_constant(lmp_code, tmp_path):
    """At 2 K the shear modulus on the cube axes is C44 of the static crystal, but for a few per cent of softening."""
    builder = ConstantStrainWorkChain.get_builder_from_protocol(
        lmp_code, argon(), classical=ARGON,
        overrides={
            'temperature_K': 2.0, 'rate_per_ps': 0.01, 'maximum_strain': 0.04, 'elastic_window': [0.0, 0.02],
            'equilibrate_ps': 2.0, 'timestep_ps': 0.002,
        },
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    numbers = numbers_of(node)
    modulus = numbers['shear_modulus']
    assert modulus['value'] == pytest.approx(static_shear_modulus(), rel=0.05)
    assert 0 < modulus['error'] < 0.1 * modulus['value']
    assert node.outputs.curve.get_array('strain')[-1] == pytest.approx(0.04, rel=0.01)
    assert set(node.outputs.thermo) == {'equilibrate', 'deform'}
    assert node.outputs.trajectories.deform.n_atoms == 256
    assert node.outputs.results['context']['protocol'] == 'demo'
    # A cold crystal deforms affinely: what is left is its thermal motion, some hundredths of an Å.
    plasticity = node.outputs.further.plasticity.get_dict()
    check_results(plasticity)
    assert 0 < next(row['value'] for row in plasticity['numbers'] if row['name'] == 'd2min') < 0.1
    assert node.outputs.further_curves.plasticity_atoms.get_array('d2min').shape[1] == 256
    panels = plot_curves(node, tmp_path / 'strain.png')
    assert panels[:5] == ['constant_strain', 'plasticity', 'zones', 'layers', 'd2min']
    assert panels[5:] == ['snapshot_1', 'snapshot_2', 'snapshot_3']


@pytest.mark.engine
def test_stress_pulse_on_an_elastic_crystal_leaves_no_strain(lmp_code):
    builder = StressPulseWorkChain.get_builder_from_protocol(
        lmp_code, argon(), classical=ARGON,
        overrides={
            'temperature_K': 2.0, 'magnitude_mpa': 30.0, 'equilibrate_ps': 6.0, 'load_ps': 10.0, 'release_ps': 10.0,
            'timestep_ps': 0.004,
        },
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    numbers = numbers_of(node)
    loaded, residual = numbers['strain_under_load.cycle_1'], numbers['residual_strain.cycle_1']
    assert loaded['value'] == pytest.approx(0.030 / static_shear_modulus(), rel=0.1)
    assert abs(residual['value']) < 0.05 * loaded['value'] + 3 * residual['error']
    assert residual['conditions']['verdict'] in ('elastic', 'undetermined')
    assert node.outputs.results['context']['verdict'] == residual['conditions']['verdict']
    ratio = numbers['residual_over_noise.cycle_1']
    noise = numbers['thermal_strain_noise']['value']
    assert ratio['value'] == pytest.approx(abs(residual['value']) / noise)
    assert node.outputs.results['context']['seed'] == 1
    assert numbers['energy_change.cycle_1']['unit'] == 'meV/atom'
    # 2 K of classical harmonic motion are 0.26 meV/atom of potential energy.
    assert abs(numbers['energy_change.cycle_1']['value']) < 0.3
    stress = node.outputs.thermo.load_1.get_array('stress_yz_GPa')
    assert stress[len(stress) // 2 :].mean() == pytest.approx(0.030, abs=0.006)


@pytest.mark.engine
def test_diffusion_of_liquid_argon(lmp_code):
    """Rahman, Phys. Rev. 136, A405 (1964): D = 2.43e-5 cm²/s at 94.4 K and 1.374 g/cm³; less in a small cell."""
    a = (4 * 39.948 / 0.602214 / 1.374) ** (1 / 3)
    crystal = argon(a)
    # Started at 800 K, so that the crystal melts before the thermostat has cooled it.
    velocities = orm.ArrayData()
    thermal = np.sqrt(8.314462 * 800 / 39.948e-3) * 0.01  # Å/ps
    drawn = np.random.default_rng(0).normal(scale=thermal, size=(256, 3))
    velocities.set_array('velocities', drawn - drawn.mean(axis=0))
    builder = ConductivityWorkChain.get_builder_from_protocol(
        lmp_code, crystal, classical=ARGON, velocities=velocities,
        overrides={
            'temperature_K': 94.4, 'timestep_ps': 0.004, 'equilibrate_ps': 10.0, 'duration_ps': 40.0, 'tdamp_ps': 0.5,
            'charges': {'Ar': 0}, 'thermo_every': 20, 'dump_every': 25,
        },
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    diffusivity = numbers_of(node)['diffusivity.Ar']
    assert diffusivity['value'] == pytest.approx(2.2e-5, rel=0.2)
    assert 0 < diffusivity['error'] < 0.15 * diffusivity['value']
    assert diffusivity['conditions']['temperature_K'] == pytest.approx(94.4, rel=0.03)
    assert diffusivity['conditions']['msd_exponent'] == pytest.approx(1, abs=0.15)
    assert node.outputs.curve.get_array('msd_Ar')[0] == 0
    assert 'further' not in node.outputs, 'atoms without charge carry no current'


@pytest.mark.parametrize('process', EXPERIMENTS)
def test_protocols_make_plans(process):
    for protocol in process.get_available_protocols():
        plan = process.build_plan(process.get_protocol_inputs(protocol))
        if protocol == 'demo':
            assert plan.total_steps <= 7000
        assert plan.stored_bytes(10_000) < 2e9
    with pytest.raises(ProtocolError, match='unknown override'):
        process.get_protocol_inputs(overrides={'temperature': 300})


@pytest.mark.parametrize(
    ('process', 'overrides', 'sentence'),
    [
        (StressPulseWorkChain, {'temperature_K': -300.0}, 'is not a temperature'),
        (StressPulseWorkChain, {'component': 'zy'}, 'unknown component `zy`'),
        (StressPulseWorkChain, {'cycles': 0}, 'one cycle of stress at least'),
        (StressPulseWorkChain, {'magnitude_mpa': 0.0}, 'magnitude_mpa is 0'),
        (StressPulseWorkChain, {'magnitude_mpa': 5e6}, '100 GPa'),
        (StressPulseWorkChain, {'load_ps': -400.0}, 'stage 2 .load_1.: duration_ps: .*greater than 0'),
        (StressPulseWorkChain, {'release_ps': 0.0}, 'stage 3 .release_1.: duration_ps: .*greater than 0'),
        (StressPulseWorkChain, {'average_half_width_ps': -5.0}, 'must not be negative'),
        (StressPulseWorkChain, {'confidence': 95.0}, 'must lie between 0 and 1'),
        (ConstantStrainWorkChain, {'timestep_ps': 1.0}, 'probably in fs'),
        (ConstantStrainWorkChain, {'timestep_ps': 0.0}, 'is not a time step'),
        (ConstantStrainWorkChain, {'equilibrate_ps': -1.0}, 'equilibrate.: duration_ps: .*greater than 0'),
        (ConstantStrainWorkChain, {'component': 'zy'}, 'unknown component `zy`'),
        (ConstantStrainWorkChain, {'maximum_strain': -0.2}, 'the maximum strain positive'),
        (ConstantStrainWorkChain, {'rate_per_ps': 0.9, 'thermo_every': 60}, 'a flip of the box would not be seen'),
        (ConstantStrainWorkChain, {'rate_per_ps': 0.9, 'thermo_every': 20}, 'rows of output at this rate'),
        (ConstantStrainWorkChain, {'dump_every': 200}, 'leave it null, which fits the rate'),
        (ConstantStrainWorkChain, {'snapshot_strain': 0.0}, 'snapshot_strain = 0 must be positive'),
        (ConstantStrainWorkChain, {'yield_offset': -0.002}, 'must be positive'),
        (ConstantStrainWorkChain, {'rate_per_ps': 0.0}, 'must not be zero'),
        (ConstantStrainWorkChain, {'elastic_window': [0.0, 0.5]}, 'within 0'),
        (ConductivityWorkChain, {'window_share': [0.5, 0.2]}, 'in order'),
        (ConductivityWorkChain, {'dump_every': 2000}, 'too few lags'),
    ],
)
def test_bad_parameters_get_a_sentence(process, overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        process.build_plan(process.get_protocol_inputs(overrides=overrides))


@pytest.mark.parametrize('rate', [1e-4, 1e-3, -1e-3, 1e-2])
def test_snapshots_follow_the_strain_rate(rate):
    """Five frames in each hundredth of strain, as the paper protocol has at its rate."""
    parameters = ConstantStrainWorkChain.get_protocol_inputs('paper', {'rate_per_ps': rate})
    plan = ConstantStrainWorkChain.build_plan(parameters)
    assert plan.stage_frames('deform') == 101
    assert plan.stage_dump_every(plan.stage('deform')) * abs(rate) * plan.timestep_ps == pytest.approx(0.002)


def test_shears_that_would_flip_the_box_are_refused(lmp_code):
    """In a flat cell the same strain tilts further over its length."""
    atoms = bulk('Ar', 'fcc', a=5.25, cubic=True)
    for repeats, component, refused in (((2, 2, 4), 'yz', True), ((2, 4, 4), 'yz', False), ((2, 4, 4), 'xz', True)):
        builder = ConstantStrainWorkChain.get_builder_from_protocol(
            lmp_code, orm.StructureData(ase=atoms * repeats), classical=ARGON,
            overrides={'maximum_strain': 0.8, 'component': component},
        )  # fmt: skip
        problem = ConstantStrainWorkChain.spec().inputs.validate(builder._inputs(prune=True))
        assert (problem is not None) == refused
        if refused:
            assert 'tilts this cell to 1.6 times its length' in problem.message


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'species': ['Li']}, 'species Li is not in the structure'),
        ({'charges': {}}, 'no oxidation state is known for Ar'),
        ({'charges': {'Ar': 1}}, 'do not sum to zero'),
        ({'temperature_K': -1.0}, 'is not a temperature'),
        ({'temperature': 1.0}, 'unknown parameter temperature'),
    ],
)
def test_bad_inputs_are_refused_before_anything_runs(lmp_code, changes, sentence):
    builder = ConductivityWorkChain.get_builder_from_protocol(
        lmp_code, argon(repeat=2), classical=ARGON, overrides={'charges': {'Ar': 0}}
    )
    parameters = {**builder.parameters.get_dict(), **changes}
    inputs = builder._inputs(prune=True)
    inputs['parameters'] = orm.Dict(parameters)
    with pytest.raises(ValueError, match=sentence):
        run_get_node(ConductivityWorkChain, **inputs)


def test_an_experiment_needs_a_potential(lmp_code):
    builder = StressPulseWorkChain.get_builder_from_protocol(lmp_code, argon(repeat=2), classical=ARGON)
    inputs = builder._inputs(prune=True)
    inputs.pop('classical')
    with pytest.raises(ValueError, match='give either a potential'):
        run_get_node(StressPulseWorkChain, **inputs)
