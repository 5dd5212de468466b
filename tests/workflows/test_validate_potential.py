"""Prove a tiny potential with the real driver, dp and lmp; what a table says of it, and what is refused before."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_softclay.analysis.equation_of_state import GPA
from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile
from aiida_softclay.workflows.validate_potential import ValidatePotentialWorkChain
from aiida_softclay.workflows.validation_plan import (
    conductivity_runs,
    expand_structures,
    extension,
    label_problem,
    parameters_problem,
    parity_missing,
    plan_series,
    production_frames,
    seen_in_training,
    seen_problem,
    training_frames_of,
    working_ions,
)

FAMILY = 'validation'
#: Å; EMT has its minimum at a volume 6 % smaller, beyond the first scan.
LATTICE = 3.9
INCAR = {'ivdw': 0, 'encut': 300}
#: Copper and gold stand for a salt: EMT knows them, and charges are only what a conductivity multiplies with.
OVERRIDES = {
    'parity': {'n_configurations': 6, 'n_aimd_frames': 8, 'rattle_A': 0.08},
    'bulk_modulus': {'structures': ['alloy'], 'volume_range': [-0.05, 0.05], 'n_volumes': 7},
    'tension': {
        'structures': ['alloy'], 'strain_range': [-0.01, 0.01], 'n_strains': 5, 'elastic_window': [-0.01, 0.01],
    },
    'conductivity': {
        'runs': [{'structure': 'alloy', 'temperature_K': 600.0}],
        'equilibrate_ps': 0.02, 'duration_ps': 0.12, 'frame_every_fs': 4.0, 'charges': {'Cu': 1, 'Au': -1},
    },
    'label': {'overrides': {'incar': INCAR}},
    'aimd': {'overrides': {'incar': INCAR}},
    'agreement': {'proofs_passed': None, 'rmse_energy_meV_atom': 1e-3, 'rmse_force_meV_A': 1e-3},
}  # fmt: skip


def alloy(repeat=(1, 1, 1), a=LATTICE) -> Atoms:
    """Return layers of copper and gold, the ordered alloy with a square cell, every ion at rest by symmetry."""
    atoms = bulk('Cu', 'fcc', a=a, cubic=True)
    atoms.symbols = ['Cu' if abs(z) < 0.1 else 'Au' for z in atoms.positions[:, 2]]
    return atoms * repeat


def emt_frames(path, label: str, n_frames: int, seed: int) -> FramesData:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n_frames):
        atoms = alloy()
        atoms.set_cell(atoms.cell * (1 + 0.02 * rng.normal()), scale_atoms=True)
        atoms.positions += 0.1 * rng.normal(size=(4, 3))
        atoms.calc = EMT()
        images.append(atoms)
    block = FrameBlock.from_symbols(
        images[0].get_chemical_symbols(),
        positions=np.array([atoms.positions for atoms in images]),
        cells=np.array([atoms.cell.array for atoms in images]),
        energies=np.array([atoms.get_potential_energy() for atoms in images]),
        forces=np.array([atoms.get_forces() for atoms in images]),
        virials=np.array([-atoms.get_stress(voigt=False) * atoms.get_volume() for atoms in images]),
    )
    with FramesFile(path, 'w') as file:
        file.describe('e_fr_energy', {'program': 'ASE EMT'})
        file.append(block, {'label': label, 'stage': 'rattled'})
    return FramesData.from_file(path)


@pytest.fixture(scope='module')
def codes(aiida_profile, dp_program, lmp_program, vasp_program, tmp_path_factory):
    """Codes of this module, since the fixtures of the other tests last for one test only."""
    computer = orm.Computer(
        label='validate', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
        workdir=str(tmp_path_factory.mktemp('validate') / 'work'),
    ).store()  # fmt: skip
    computer.set_minimum_job_poll_interval(0.2)
    computer.configure(safe_interval=0.0)
    upload_placeholder_family(FAMILY, ['Cu', 'Au'])

    def code(label, path, plugin, prepend=''):
        return orm.InstalledCode(
            label=f'{label}-validate', computer=computer, filepath_executable=path, default_calc_job_plugin=plugin,
            prepend_text=f'export OMP_NUM_THREADS=1\n{prepend}', with_mpi=False,
        ).store()  # fmt: skip

    emt = 'export SOFTCLAY_CALCULATOR=ase.calculators.emt:EMT\n'
    return {
        'vasp': code('vasp', vasp_program, 'softclay.vasp_md', emt),
        'dp': code('dp', dp_program, 'softclay.dp.train'),
        'lmp': code('lmp', lmp_program, 'softclay.lammps'),
    }


@pytest.fixture(scope='module')
def potential(codes, tmp_path_factory):
    """A potential of some neurons, trained for a moment on rattled cells: a bad one, with its provenance."""
    from aiida.engine import run_get_node

    from aiida_softclay.calculations.dp_freeze import DpFreezeCalculation
    from aiida_softclay.calculations.dp_train import DpTrainCalculation

    folder = tmp_path_factory.mktemp('frames')
    parameters = {
        'model': {
            'type_map': ['Cu', 'Au'],
            'descriptor': {
                'type': 'se_e2_a', 'sel': [60, 60], 'rcut': 4.5, 'rcut_smth': 1.5, 'neuron': [4, 8], 'axis_neuron': 4,
                'seed': 1,
            },
            'fitting_net': {'neuron': [8, 8], 'seed': 2},
        },
        'learning_rate': {'type': 'exp', 'start_lr': 1e-2, 'stop_lr': 1e-4, 'decay_steps': 20},
        'loss': {
            'type': 'ener', 'start_pref_e': 0.2, 'limit_pref_e': 1, 'start_pref_f': 10, 'limit_pref_f': 1,
            'start_pref_v': 0, 'limit_pref_v': 0,
        },
        'training': {
            'numb_steps': 1500, 'seed': 3, 'disp_freq': 500, 'save_freq': 1500, 'training_data': {'batch_size': 4},
            'validation_data': {'batch_size': 1, 'numb_btch': 1},
        },
    }  # fmt: skip
    train = DpTrainCalculation.get_builder()
    train.code = codes['dp']
    train.training_frames = emt_frames(folder / 'training.h5', 'sampled', 20, 1)
    train.validation_frames = emt_frames(folder / 'validation.h5', 'sampled', 4, 2)
    train.parameters = orm.Dict(parameters)
    _, trained = run_get_node(train)
    assert trained.is_finished_ok, trained.exit_message
    freeze = DpFreezeCalculation.get_builder()
    freeze.code = codes['dp']
    freeze.parent_folder = trained.outputs.remote_folder
    freeze.checkpoint = orm.Str(trained.outputs.statistics['checkpoint'])
    freeze.parameters = orm.Dict(parameters)
    _, frozen = run_get_node(freeze)
    assert frozen.is_finished_ok, frozen.exit_message
    return frozen.outputs.potential


def structure(atoms: Atoms, label: str) -> orm.StructureData:
    node = orm.StructureData(ase=atoms)
    node.label = label
    return node


def builder_of(codes, potential, **arguments):
    arguments.setdefault('structures', {'alloy': structure(alloy((1, 1, 2)), 'layers'),
                                        'known': structure(alloy(), 'sampled')})  # fmt: skip
    return ValidatePotentialWorkChain.get_builder_from_protocol(
        codes, potential, FAMILY, **{'protocol': 'demo', 'overrides': OVERRIDES, **arguments}
    )


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_table_of_a_bad_potential(codes, potential, tmp_path):
    from aiida.engine import run_get_node
    from ase.eos import EquationOfState

    from aiida_softclay.report.figures import plot_curves

    _, node = run_get_node(builder_of(codes, potential, max_concurrent_jobs=4))
    assert node.exit_status == ValidatePotentialWorkChain.exit_codes.ERROR_GATE_FAILED.status, node.exit_message
    assert 'parity of alloy disagrees' in node.exit_message
    results = node.outputs.results.get_dict()
    check_results(results)
    rows, context = {row['name']: row for row in results['numbers']}, results['context']
    assert 'EMT' in context['engine']
    assert 'DFT' not in context['engine']
    # The cell that was trained on proves nothing, the larger one is not among the training frames.
    assert context['training_on_record']
    assert context['seen_in_training'] == ['known']
    assert not [name for name in rows if 'known' in name]
    assert set(context['proofs']) == {
        'parity of alloy', 'parity of md_alloy_600K', 'bulk_modulus of alloy', 'tension of alloy',
        'conductivity of alloy.600K',
    }  # fmt: skip
    assert context['proofs_passed'] < context['proofs_required'] == 5

    # The engine's bulk modulus is the one that ASE finds with the same calculator; the scan, which began at too large
    # volumes, was extended to where the minimum is.
    volumes, energies = [], []
    for scale in np.linspace(0.9, 1.0, 7):
        atoms = alloy((1, 1, 2), LATTICE)
        atoms.set_cell(atoms.cell * scale ** (1 / 3), scale_atoms=True)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies, eos='birchmurnaghan').fit()
    assert rows['bulk_modulus.alloy.engine']['value'] == pytest.approx(modulus * GPA, rel=0.03)
    curve = node.outputs.curves.equations_of_state
    scanned = curve.get_array('volume_alloy')
    assert scanned.size == 10
    assert scanned.min() < volume < scanned.max()
    index = int(np.argmin(np.abs(scanned - volumes[-1])))
    assert curve.get_array('energy_engine_alloy')[index] == pytest.approx(energies[-1], abs=1e-5)
    if context['proofs']['bulk_modulus of alloy'] != 'failed':
        pair = [rows[f'bulk_modulus.alloy.{side}'] for side in ('engine', 'potential', 'difference')]
        assert pair[2]['value'] == pytest.approx(pair[1]['value'] - pair[0]['value'])
        assert pair[2]['error'] == pytest.approx(np.hypot(pair[0]['error'], pair[1]['error']))

    # The static stress of the engine is that of the calculator: along x, sides fixed, all ions at rest by symmetry.
    strain = node.outputs.curves.stress_strain.get_array('strain_alloy')
    np.testing.assert_allclose(strain, np.linspace(-0.01, 0.01, 5), atol=1e-6)
    atoms = alloy((1, 1, 2), LATTICE)
    atoms.set_cell(atoms.cell[:] @ np.diag([1.01, 1, 1]), scale_atoms=True)
    atoms.calc = EMT()
    assert node.outputs.curves.stress_strain.get_array('stress_engine_alloy')[-1] == pytest.approx(
        atoms.get_stress()[0] * GPA, abs=0.02
    )

    # Both runs of the conductivity are of one length, from one cell.
    for side in ('engine', 'potential'):
        row = rows[f'conductivity.alloy.600K.Cu.{side}']
        assert row['conditions']['volume_A3'] == pytest.approx(alloy((1, 1, 2), LATTICE).get_volume(), rel=1e-4)
        assert row['conditions']['duration_ps'] == pytest.approx(0.12, abs=0.005)
    assert node.outputs.frames.aimd.n_frames == 8
    assert node.outputs.frames.static.n_frames == 6

    picture = tmp_path / 'validation.png'
    panels = plot_curves(node, picture)
    assert panels == ['parity_energy', 'parity_force', 'equations_of_state', 'stress_strain', 'msd_alloy_600K']
    assert picture.stat().st_size > 20_000

    # One start of the engine for each series, one of dp for each set of frames.
    jobs = [child.process_label for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]
    assert jobs.count('VaspLabelCalculation') == 4
    assert jobs.count('DpTestCalculation') == 3
    assert jobs.count('LammpsMdCalculation') == 1


def test_what_cannot_be_proved_is_refused_at_submission(codes, potential):
    def refused(**arguments):
        builder = builder_of(codes, potential, **arguments)
        return builder.process_class.spec().inputs.validate(builder._inputs(prune=True))

    assert refused() is None
    parity = {**OVERRIDES['parity'], 'structures': ['known']}
    assert 'was fitted to frames of known' in refused(overrides={**OVERRIDES, 'parity': parity}).message
    tension = {**OVERRIDES['tension'], 'structures': ['slab']}
    assert 'tension.structures names slab' in refused(overrides={**OVERRIDES, 'tension': tension}).message
    salt = {'alloy': structure(bulk('LiCl', 'rocksalt', a=5.1), 'salt')}
    assert 'contains Cl, Li, which the potential (Cu-Au) does not know' in refused(structures=salt).message
    plain = {**OVERRIDES['conductivity'], 'charges': {'Cu': 1, 'Au': -2}}
    assert 'do not sum to zero' in refused(overrides={**OVERRIDES, 'conductivity': plain}).message
    builder = builder_of({'vasp': codes['vasp'], 'dp': codes['dp']}, potential)
    error = builder.process_class.spec().inputs.validate(builder._inputs(prune=True))
    assert 'codes.lmp is missing' in error.message
    with pytest.raises(ValueError, match='no crystal of Cu-Au'):
        builder_of(codes, potential, structures=None)


def test_training_frames_are_found_and_compared(potential):
    frames = training_frames_of(potential)
    assert frames is not None
    assert frames.base.attributes.get('source_labels') == ['sampled']
    same, larger = structure(alloy(), 'sampled'), structure(alloy((1, 1, 2)), 'sampled')
    other = structure(alloy(), 'new')
    assert seen_in_training(frames, {'a': same, 'b': larger, 'c': other}) == ['a']
    # The label in the workchain counts as well as that of the node.
    assert seen_in_training(frames, {'sampled': other}) == ['sampled']
    assert seen_in_training(None, {'a': same}) == []


def inputs_of(protocol='demo', **overrides):
    return ValidatePotentialWorkChain.get_protocol_inputs(protocol, overrides)


@pytest.mark.parametrize('protocol', ['gupta2023', 'yang2024'])
def test_protocols_of_papers_can_be_laid_out(protocol):
    parameters = inputs_of(protocol)
    entries = expand_structures(parameters['structures'], ['Li', 'Mg', 'Ga', 'F', 'Cl'])
    labels = [entry['label'] for entry in entries]
    assert labels == ['a', 'b', 'c']
    assert parameters_problem(parameters, labels) is None
    runs = conductivity_runs(parameters['conductivity'], labels)
    # yang2024, Table 2.
    assert [(run['structure'], run['temperature_K']) for run in runs.values()] == [
        ('a', 700.0), ('a', 800.0), ('b', 750.0), ('c', 900.0),
    ]  # fmt: skip
    series = plan_series(parameters, labels, [])
    assert {'parity_a', 'parity_b', 'parity_c', 'bulk_modulus_a', 'bulk_modulus_b'} <= set(series)
    assert 'bulk_modulus_c' not in series
    assert ('tension_a' in series) == (protocol == 'gupta2023')


def test_crystals_of_the_elements_are_taken_unknown_ones_first():
    entries = inputs_of('demo')['structures']
    names = [entry['label'] for entry in expand_structures(entries, ['Li', 'Ga', 'F', 'Cl'])]
    assert names[0] == 'LiGaCl4'
    assert len(names) == 2
    known = expand_structures(entries, ['Li', 'Ga', 'F', 'Cl'], [names[0].lower()])
    assert names[0] not in [entry['label'] for entry in known]
    with pytest.raises(ValueError, match='at most 32 atoms'):
        expand_structures(entries, ['Cu', 'Au'])
    with pytest.raises(ValueError, match='lacks parameters'):
        expand_structures([{'label': 'x', 'kind': 'crystal'}], ['Li'])


def test_seen_structures_have_no_parity_but_all_else():
    series = plan_series(inputs_of('demo'), ['a', 'b'], ['b'])
    assert 'parity_a' in series
    assert 'parity_b' not in series
    assert {'bulk_modulus_b', 'tension_b'} <= set(series)
    assert series['parity_a']['configurations']['seed'] != plan_series(
        inputs_of('demo'), ['b', 'a'], []
    )['parity_a']['configurations']['seed']  # fmt: skip


def test_only_structures_that_somebody_chose_are_refused_as_seen():
    parameters = inputs_of('demo')
    assert seen_problem(parameters, ['a', 'b'], ['a']) is None
    assert 'fitted to frames of a, b' in seen_problem(parameters, ['a', 'b'], ['a', 'b'])
    assert seen_problem(parameters, ['a', 'b'], ['a', 'b'], chosen=False) is None
    assert parity_missing(parameters, ['a', 'b'], ['a']) is None
    assert 'none is left' in parity_missing(parameters, ['a', 'b'], ['a', 'b'])
    named = inputs_of('demo', parity={'structures': ['a']})
    assert seen_problem(named, ['a', 'b'], ['a'], chosen=False)
    none = inputs_of('demo', parity={'structures': []})
    assert parity_missing(none, ['a'], ['a']) is None


@pytest.mark.parametrize('side', [-1, 1])
def test_an_extension_goes_on_at_the_same_spacing(side):
    series = plan_series(inputs_of('demo'), ['a'], [])['bulk_modulus_a']
    name, further = extension(series, side, 1)
    assert name == 'bulk_modulus_a_more_1'
    before, after = sorted(series['configurations']['scales']), sorted(further['configurations']['scales'])
    spacing = before[1] - before[0]
    np.testing.assert_allclose(np.diff(after), spacing)
    gap = before[0] - after[-1] if side < 0 else after[0] - before[-1]
    assert gap == pytest.approx(spacing)
    assert further['n_configurations'] == len(after) == 3


@pytest.mark.parametrize(
    ('overrides', 'sentence'),
    [
        ({'bulk_modulus': {'n_volumes': 5}}, 'bulk_modulus.n_volumes is 5: at least 6'),
        ({'bulk_modulus': {'volume_range': [0.05, -0.05]}}, 'bulk_modulus.volume_range'),
        ({'tension': {'component': 'yz'}}, 'tension.component is `yz`'),
        ({'tension': {'elastic_window': [0.0, 0.001]}}, 'five are needed'),
        ({'conductivity': {'runs': [{'structure': 'z', 'temperature_K': 900}]}}, 'conductivity.runs names z'),
        ({'conductivity': {'runs': [{'temperature_K': -5}]}}, 'conductivity: '),
        ({'conductivity': {'duration_ps': 0.02}}, 'too few lags'),
        ({'conductivity': {'runs': [{'temperature_K': 9e2}, {'structure': 'a', 'temperature_K': 900}]}}, 'twice'),
        ({'conductivity': {'timestep_fs': 'fast'}}, 'conductivity: '),
    ],
)
def test_parameters_that_cannot_be_run_are_named(overrides, sentence):
    assert sentence in (parameters_problem(inputs_of('demo', **overrides), ['a']) or '')


def test_empty_validations_and_bad_labels_are_refused():
    nothing = {proof: {'structures': []} for proof in ('parity', 'bulk_modulus', 'tension')}
    assert 'nothing is validated' in parameters_problem(inputs_of(**nothing, conductivity={'runs': []}), ['a'])
    assert 'same label' in parameters_problem(inputs_of(), ['a', 'a'])
    assert parameters_problem(inputs_of(), ['a', 'LiGaCl4']) is None
    for label in ('a__b', '_a', 'a_', '1a', '', 'a b', 'x' * 31):
        assert label_problem(label)


@pytest.mark.parametrize(('equilibrate', 'duration', 'every'), [(0.02, 0.12, 4.0), (0.01, 0.1, 6.0), (0.4, 1.2, 10.0)])
def test_frames_of_the_production_are_counted_as_the_engine_keeps_them(equilibrate, duration, every):
    section = {'timestep_fs': 2.0, 'equilibrate_ps': equilibrate, 'duration_ps': duration, 'frame_every_fs': every}
    first, steps = round(500 * equilibrate), round(500 * duration)
    kept = [step for step in range(first, first + steps) if step % (every / 2) == 0]
    assert production_frames(section) == len(kept)


def test_working_ions_carry_the_charge():
    assert working_ions(['Li', 'Ga', 'F', 'Cl'], {}) == ['Li']
    assert working_ions(['Mg', 'Ga', 'F', 'Cl'], {}) == ['Mg']
    assert working_ions(['Cu', 'Au'], {'Cu': 1, 'Au': -1}) == ['Cu']
    assert working_ions(['Cu', 'Au'], {}) == ['Au', 'Cu']
