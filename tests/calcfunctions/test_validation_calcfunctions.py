"""Validation tables of labels whose moduli are known, and the frames they are made from."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk

from aiida_softclay.analysis.equation_of_state import GPA, birch_murnaghan
from aiida_softclay.analysis.quantity import Quantity, check_results, results_dict
from aiida_softclay.calcfunctions.validation import configurations, make_configurations, production_of_aimd
from aiida_softclay.calcfunctions.validation_table import assess_validation
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile
from aiida_softclay.data.label_pairs import label_pairs

SALT = bulk('LiCl', 'rocksalt', a=5.1, cubic=True)
AGREEMENT = {
    'rmse_energy_meV_atom': 2.0, 'rmse_force_meV_A': 100.0, 'bulk_modulus': 0.06, 'tensile_modulus': 0.06,
    'tensile_stress': 0.06, 'conductivity': 0.1, 'n_sigma': 2.0, 'proofs_passed': None,
}  # fmt: skip


def frames_of(path, series, engine=None) -> FramesData:
    """Return labelled frames: label to (cells, energies, stresses in GPa along x); forces are all 0.1 eV/Å."""
    with FramesFile(path, 'w') as file:
        file.describe('e_fr_energy', engine or {'program': 'analytic', 'version': '1'})
        for label, (cells, energies, stresses) in series.items():
            n_frames = len(cells)
            virials = np.zeros((n_frames, 3, 3))
            virials[:, 0, 0] = -np.asarray(stresses) / GPA * np.abs(np.linalg.det(cells))
            block = FrameBlock.from_symbols(
                SALT.get_chemical_symbols(),
                positions=SALT.get_scaled_positions() @ cells, cells=cells, energies=np.asarray(energies),
                forces=np.full((n_frames, 8, 3), 0.1), virials=virials,
            )  # fmt: skip
            file.append(block, {'label': label, 'stage': 'label'})
    return FramesData.from_file(path)


def details_of(frames: FramesData, energies, stresses, force_shift=0.01) -> orm.ArrayData:
    """Return what `dp test` would say of these frames, in their order: total energies and stresses along x."""
    node = orm.ArrayData()
    with frames.open_frames() as file:
        (view,) = file.blocks()
        n_frames, n_atoms = view.n_frames, view.n_atoms
        volumes = np.abs(np.linalg.det(view.cells[:]))
        virials = np.zeros((n_frames, 9))
        virials[:, 0] = -np.asarray(stresses) / GPA * volumes
        arrays = {
            'energy_reference': view.energies[:] / n_atoms,
            'energy_predicted': np.asarray(energies) / n_atoms,
            'system_index': np.zeros(n_frames, dtype=int),
            'force_reference': view.forces[:].reshape(-1, 3).astype(float),
            'force_predicted': view.forces[:].reshape(-1, 3) + force_shift,
            'virial_reference': view.virials[:].reshape(-1, 9) / n_atoms,
            'virial_predicted': virials / n_atoms,
        }
        systems = [f'0000_{view.formula}']
    for name, values in arrays.items():
        node.set_array(name, np.asarray(values))
    node.base.attributes.set('systems', systems)
    return node


def scaled(shares):
    return np.array([SALT.cell[:] * (1 + share) ** (1 / 3) for share in shares])


def strained(strains):
    return np.array([SALT.cell[:] @ np.diag([1 + strain, 1, 1]) for strain in strains])


def conductivity(value: float, error: float | None) -> orm.Dict:
    rows = [
        Quantity(f'{name}.Li', value, error, unit, name, 5, window=(1.0, 3.0), window_unit='ps', frames_used=50)
        for name, unit in (('diffusivity', 'cm^2/s'), ('conductivity', 'mS/cm'))
    ]
    return orm.Dict(results_dict(rows))


@pytest.fixture
def table(aiida_profile, tmp_path):
    """Return a function that makes the table of an engine with B0 20 GPa and E 30 GPa and a potential of given ones."""

    def make(modulus=19.0, tensile=29.0, energy_shift=0.004, conductivities=(26.4, 27.6), **options):
        volume = SALT.get_volume()
        shares, strains = np.linspace(-0.06, 0.06, 9), np.linspace(-0.01, 0.03, 9)
        volumes = volume * (1 + shares)
        series = {
            'parity_salt': (scaled([0, 0.01, 0.02, 0.03]), [-30, -30.1, -30.2, -30.1], [0, 0, 0, 0]),
            'bulk_modulus_salt': (scaled(shares), birch_murnaghan(volumes, -30, volume, 20 / GPA, 4), [0] * 9),
            'tension_salt': (strained(strains), [-30] * 9, 30 * strains - 50 * strains**2),
        }
        frames = frames_of(tmp_path / 'frames.h5', series)
        energies = np.concatenate([
            np.array([-30, -30.1, -30.2, -30.1]) + 8 * energy_shift,
            birch_murnaghan(volumes, -31, 1.01 * volume, modulus / GPA, 4.5), [-30] * 9,
        ])  # fmt: skip
        details = details_of(frames, energies, np.concatenate([[0] * 13, tensile * strains - 50 * strains**2]))
        common = {'structure': 'salt', 'subject': 'salt', 'independent': True}
        parameters = {
            'agreement': {**AGREEMENT, **options.pop('agreement', {})},
            'series': {
                'parity_salt': {'proof': 'parity', 'n_configurations': 4, **common},
                'bulk_modulus_salt': {'proof': 'bulk_modulus', 'n_configurations': 9, 'n_not_relaxed': 2, **common},
                'tension_salt': {
                    'proof': 'tension', 'n_configurations': 10, 'component': 'xx',
                    'reference_cell': SALT.cell[:].tolist(), **common,
                },
            },
            'runs': {'salt_700K': {'structure': 'salt', 'temperature_K': 700.0}},
            'failures': {}, 'elastic_window': [-0.01, 0.03], 'seed': 1, 'context': {'protocol': 'test'},
            **options,
        }  # fmt: skip
        nodes = {'frames_all': frames, 'details_all': details}
        if conductivities:
            nodes['engine_salt_700K'] = conductivity(conductivities[0], 2.0)
            nodes['potential_salt_700K'] = conductivity(conductivities[1], 2.0)
        made, node = assess_validation.run_get_node(orm.Dict(parameters), **nodes)
        assert node.is_finished_ok, node.exit_message
        check_results(made['results'].get_dict())
        return made

    return make


def rows_of(made):
    return {row['name']: row for row in made['results']['numbers']}


def test_table_of_a_good_potential(table):
    made = table(agreement={'rmse_energy_meV_atom': 5.0})
    rows, context = rows_of(made), made['results']['context']
    assert rows['bulk_modulus.salt.engine']['value'] == pytest.approx(20, rel=1e-4)
    assert rows['bulk_modulus.salt.potential']['value'] == pytest.approx(19, rel=1e-3)
    difference = rows['bulk_modulus.salt.difference']
    assert difference['value'] == pytest.approx(-1, rel=1e-2)
    assert difference['conditions']['relative_difference'] == pytest.approx(-0.05, rel=1e-2)
    assert difference['conditions']['verdict'] == 'agrees'
    volume = SALT.get_volume()
    assert rows['equilibrium_volume.salt.difference']['value'] == pytest.approx(0.01 * volume, rel=1e-2)
    assert rows['bulk_modulus_derivative.salt.potential']['value'] == pytest.approx(4.5, rel=1e-2)

    assert rows['tensile_modulus.salt.engine']['value'] == pytest.approx(30, rel=1e-4)
    assert rows['tensile_modulus.salt.difference']['value'] == pytest.approx(-1, rel=1e-2)
    assert '1 of 10 configurations have no label' in rows['tensile_modulus.salt.engine']['warnings']
    assert any('2 of 9 configurations are not relaxed' in note for note in difference['warnings'])
    strains = np.linspace(-0.01, 0.03, 9)
    assert rows['tensile_stress.salt.rmse']['value'] == pytest.approx(np.sqrt(np.mean(strains**2)), rel=1e-4)

    assert rows['parity.salt.rmse_energy']['value'] == pytest.approx(4.0)
    assert rows['parity.salt.bias_energy']['value'] == pytest.approx(4.0)
    assert rows['parity.salt.rmse_force']['value'] == pytest.approx(10.0, rel=1e-4)
    assert rows['conductivity.salt.700K.Li.difference']['value'] == pytest.approx(1.2)
    assert rows['conductivity.salt.700K.Li.difference']['error'] == pytest.approx(np.sqrt(8.0))
    assert context['engine'] == 'analytic 1'
    assert set(context['proofs'].values()) == {'agrees'}
    assert context['proofs_passed'] == context['proofs_required'] == 4
    assert context['gate_passed']
    np.testing.assert_allclose(made['stress_strain'].get_array('strain_salt'), strains, atol=1e-9)
    assert made['equations_of_state'].get_array('energy_potential_salt').shape == (9,)
    assert made['parity'].get_array('force_engine_salt').shape == (4, 8, 3)


def test_a_bad_potential_is_named_property_by_property(table):
    made = table(modulus=12.0, tensile=20.0, conductivities=(26.4, 60.0), agreement={'proofs_passed': 1})
    context = made['results']['context']
    assert context['proofs'] == {
        'parity of salt': 'disagrees',
        'bulk_modulus of salt': 'disagrees',
        'tension of salt': 'disagrees',
        'conductivity of salt.700K': 'disagrees',
    }
    assert (context['proofs_passed'], context['proofs_required'], context['gate_passed']) == (0, 1, False)
    verdict = next(row for row in context['verdicts'] if row['name'] == 'bulk_modulus.salt')
    assert verdict['engine'] == pytest.approx(20, rel=1e-3)
    assert verdict['potential'] == pytest.approx(12, rel=1e-2)


def test_what_could_not_be_computed_fails_with_its_reason(table):
    made = table(conductivities=None, failures={'salt_700K': 'AimdWorkChain <7>: killed'})
    row = rows_of(made)['conductivity.salt.700K.difference']
    assert row['value'] is None
    assert row['warnings'] == ['AimdWorkChain <7>: killed']
    assert made['results']['context']['proofs']['conductivity of salt.700K'] == 'failed'


def test_a_parity_without_unseen_structures_counts_as_failed(table):
    context = table(parity_missing='none is left')['results']['context']
    assert context['proofs']['parity of unseen structures'] == 'failed'
    assert not context['gate_passed']


def test_predictions_of_other_frames_are_refused(aiida_profile, tmp_path):
    frames = frames_of(tmp_path / 'f.h5', {'a': (scaled([0, 0.01, 0.02]), [-3.0, -2.0, -1.0], [0, 0, 0])})
    good = details_of(frames, [-3.0, -2.0, -1.0], [0, 0, 0])
    assert label_pairs(frames, good)['a'].n_frames == 3
    turned = details_of(frames, [-3.0, -2.0, -1.0], [0, 0, 0])
    turned.set_array('energy_reference', good.get_array('energy_reference')[::-1])
    with pytest.raises(ValueError, match='not in the order'):
        label_pairs(frames, turned)
    fewer = details_of(frames, [-3.0, -2.0, -1.0], [0, 0, 0])
    fewer.set_array('force_reference', good.get_array('force_reference')[::2])
    with pytest.raises(ValueError, match='some of the atoms only'):
        label_pairs(frames, fewer)
    other = details_of(frames, [-3.0, -2.0, -1.0], [0, 0, 0])
    other.base.attributes.set('systems', ['0000_LiF'])
    with pytest.raises(ValueError, match='the frames are'):
        label_pairs(frames, other)


def test_series_of_one_structure_are_told_apart(aiida_profile, tmp_path):
    series = {
        'a': (scaled([0, 0.01]), [-3.0, -2.0], [0, 0]), 'b': (scaled([0.1, 0.2, 0.3]), [-1.0, -0.5, 0.0], [1, 2, 3]),
    }  # fmt: skip
    frames = frames_of(tmp_path / 'f.h5', series)
    pairs = label_pairs(frames, details_of(frames, [-3.5, -2.5, -1.5, -1.0, -0.5], [0, 0, 2, 3, 4]))
    assert {label: pair.n_frames for label, pair in pairs.items()} == {'a': 2, 'b': 3}
    np.testing.assert_allclose(pairs['b'].predicted_energies - pairs['b'].energies, -0.5)
    np.testing.assert_allclose(pairs['b'].volumes, SALT.get_volume() * np.array([1.1, 1.2, 1.3]))
    stress = -pairs['b'].predicted_virials[:, 0, 0] / pairs['b'].volumes * GPA
    np.testing.assert_allclose(stress, [2, 3, 4])


def test_configurations_are_what_they_say(aiida_profile):
    volumes = list(configurations(SALT, {'kind': 'volumes', 'scales': [0.9, 1.0, 1.2]}))
    np.testing.assert_allclose([atoms.get_volume() / SALT.get_volume() for atoms in volumes], [0.9, 1.0, 1.2])
    np.testing.assert_allclose(volumes[0].get_scaled_positions(), SALT.get_scaled_positions(), atol=1e-12)
    (strained_cell,) = configurations(SALT, {'kind': 'strains', 'component': 'yy', 'strains': [0.03]})
    np.testing.assert_allclose(strained_cell.cell.lengths(), SALT.cell.lengths() * [1, 1.03, 1])
    rattled = {'kind': 'rattled', 'n': 40, 'amplitude_A': 0.1, 'strain': 0.02, 'seed': 3}
    first, again = (list(configurations(SALT, rattled)) for _ in range(2))
    np.testing.assert_array_equal(first[7].positions, again[7].positions)
    shifts = np.array([
        atoms.positions - SALT.get_scaled_positions() @ atoms.cell[:] for atoms in first
    ])  # fmt: skip
    assert shifts.std() == pytest.approx(0.1, rel=0.1)
    stretches = np.array([np.linalg.inv(SALT.cell[:]) @ atoms.cell[:] - np.eye(3) for atoms in first])
    np.testing.assert_allclose(stretches, stretches.transpose(0, 2, 1), atol=1e-12)
    assert stretches[:, [0, 1, 2], [0, 1, 2]].std() == pytest.approx(0.02, rel=0.3)
    with pytest.raises(ValueError, match='choose from rattled'):
        list(configurations(SALT, {'kind': 'shaken'}))
    node = make_configurations(orm.StructureData(ase=SALT), orm.Dict({'kind': 'volumes', 'scales': [0.9, 1.0]}))
    assert (node.n_frames, node.n_atoms) == (2, 8)


def aimd_frames(path, positions, stages, cell=6.0) -> FramesData:
    with FramesFile(path, 'w') as file:
        file.describe('e_fr_energy', {'program': 'test'})
        for stage in dict.fromkeys(stages):
            rows = [index for index, name in enumerate(stages) if name == stage]
            folded = positions[rows] % cell
            block = FrameBlock.from_symbols(
                ['Li', 'Cl'], positions=folded, cells=np.repeat(np.eye(3)[None] * cell, len(rows), axis=0),
                energies=np.array(rows, dtype=float), forces=np.zeros((len(rows), 2, 3)),
            )  # fmt: skip
            file.append(block, {'label': 'salt', 'stage': stage})
    return FramesData.from_file(path)


def aimd_run(tmp_path, n_expected=30, step=0.8):
    """Return the inputs of `production_of_aimd`: two runs of 20 frames, equilibration in the first ten."""
    time = np.arange(40)
    positions = np.zeros((40, 2, 3))
    positions[:, 0, 0] = step * time
    positions[:, 1, 2] = -0.5 * step * time
    stages = ['equilibrate'] * 10 + ['production'] * 30
    runs = {
        f'run_{index:03d}': aimd_frames(tmp_path / f'{index}.h5', positions[part], stages[part.start : part.stop])
        for index, part in enumerate((slice(0, 20), slice(20, 40)))
    }
    series = orm.ArrayData()
    series.set_array('segment_index', np.repeat([0, 1], [50, 150]))
    series.set_array('temperature_K', np.repeat([300.0, 700.0], [50, 150]))
    options = {
        'stage': 'production', 'segment_index': 1, 'timestep_fs': 2.0, 'frame_stride': 5, 'n_frames': n_expected,
        'n_sample': 6, 'label': 'aimd_salt',
    }  # fmt: skip
    return options, series, runs, positions[10:]


def test_production_of_aimd_is_unwrapped_and_sampled(aiida_profile, tmp_path):
    options, series, runs, positions = aimd_run(tmp_path)
    made, node = production_of_aimd.run_get_node(orm.Dict(options), series, **runs)
    assert node.is_finished_ok, node.exit_message
    with made['trajectory'].open_trajectory() as trajectory:
        assert trajectory.steps[:].tolist() == list(range(0, 150, 5))
        assert trajectory.timestep_ps == pytest.approx(0.002)
        moved = trajectory.positions[:] - trajectory.positions[0]
    np.testing.assert_allclose(moved, positions - positions[0], atol=1e-4)
    assert set(made['thermo'].get_array('temperature_K')) == {700.0}
    with made['sample'].open_frames() as file:
        (view,) = file.blocks()
        assert view.n_frames == 6
        assert file.sources == [{'label': 'aimd_salt', 'stage': 'production'}]
        # Energies count the rows of their run here: both runs are in the sample, in order of time.
        assert view.energies[:].tolist() == [14.0, 19.0, 4.0, 9.0, 14.0, 19.0]


@pytest.mark.parametrize(
    ('changes', 'sentence'), [({'n_expected': 31}, 'the plan gives 31'), ({'step': 2.9}, 'cannot be followed')]
)
def test_paths_that_cannot_be_followed_are_refused(aiida_profile, tmp_path, changes, sentence):
    options, series, runs, _ = aimd_run(tmp_path, **changes)
    _, node = production_of_aimd.run_get_node(orm.Dict(options), series, **runs)
    assert node.exit_status == 510
    assert sentence in node.exit_message
