"""Other starts and steps of the amorphous model: grains, molecules, substituted crystals, given glasses, series."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from glass_samples import SMALL, born_mayer

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.structures import to_structure
from aiida_softclay.report.figures import plot_curves
from aiida_softclay.structures.materials import parse_material
from aiida_softclay.structures.starts import make_start
from aiida_softclay.workflows.amorphous import AmorphousWorkChain
from aiida_softclay.workflows.amorphous_plan import amorphous_plan, step_names
from aiida_softclay.workflows.amorphous_series import AmorphousSeriesWorkChain
from aiida_softclay.workflows.amorphous_start import start_problem, start_settings
from aiida_softclay.workflows.estimate import estimate_amorphous
from aiida_softclay.workflows.protocol import ProtocolError, recursive_merge
from aiida_softclay.workflows.series_plan import variants_of

QUICK = {
    **SMALL,
    'relax': {'max_steps': 80, 'closing_pressure_GPa': 0.0, 'energy_tolerance': 1e-6},
    'melt': {'duration_ps': 0.3, 'dump_every': 50},
    'hold': {'duration_ps': 0.1, 'dump_every': 50},
    'equilibrate': {'duration_ps': 0.4, 'dump_every': 50},
    'density_range': [0.3, 1.5],
}


def builder_for(code, material, elements, protocol, overrides=None, **kwargs):
    merged = recursive_merge(QUICK, overrides or {})
    return AmorphousWorkChain.get_builder_from_protocol(
        code, material, classical={'pair_lines': born_mayer(elements)}, protocol=protocol, overrides=merged, **kwargs
    )


@pytest.mark.engine
def test_polycrystal_is_relaxed_and_compared_with_its_crystal(lmp_code, tmp_path):
    """Grains stay told apart, are not melted, and lie above the crystal in energy by their boundaries."""
    overrides = {'n_atoms': 256, 'reference_energies': True, 'relax': {'max_steps': 400, 'force_tolerance_eV_A': 0.01}}
    node = run_get_node(builder_for(lmp_code, 'LiCl', ('Li', 'Cl'), 'polycrystal_demo', overrides))[1]
    assert node.is_finished_ok, node.exit_message
    assert set(node.outputs.thermo) == {'relax', 'equilibrate'}
    grains = node.outputs.labels.get_array('grain')
    assert sorted(np.unique(grains, return_counts=True)[1]) == [32] * 8
    assert node.outputs.start_report['material'] == 'LiCl'
    energies = node.outputs.energies.get_dict()
    crystal, glass = energies['references']['LiCl'], energies['glass']
    assert set(energies['references']) == {'LiCl'}
    per_atom = {name: entry['energy_eV'] / entry['n_atoms'] for name, entry in (('crystal', crystal), ('glass', glass))}
    assert 0.005 < per_atom['glass'] - per_atom['crystal'] < 0.5
    # The Madelung energy of rock salt with scaled charges at the relaxed distance, less the repulsion's share.
    assert -4.0 < per_atom['crystal'] < -2.5
    check_results(node.outputs.results.get_dict())
    assert node.outputs.results['context']['steps'] == 'relax, equilibrate'
    check_results(node.outputs.checks.get_dict())
    checks = {row['name']: row['value'] for row in node.outputs.checks['numbers']}
    assert checks['energy_above_salts'] == pytest.approx(per_atom['glass'] - per_atom['crystal'])
    assert checks['coordination.Li-Cl.before'] < 6, 'the boundaries take neighbours from the six of rock salt'
    assert node.outputs.picture.get_content(mode='rb').startswith(b'\x89PNG')
    assert plot_curves(node, tmp_path / 'glass.png') == ['cell', 'equilibration', 'census']


@pytest.mark.engine
def test_molecules_are_held_and_equilibrated(lmp_code):
    """The oligomer glass keeps the molecule of every ion, through steps that never relax the cell at 0 K."""
    node = run_get_node(builder_for(
        lmp_code, 'Li3Al3O2Cl8', ('Li', 'O', 'Al', 'Cl'), 'you2025_demo', {'n_atoms': 128, 'timestep_ps': 0.001}
    ))[1]  # fmt: skip
    assert node.is_finished_ok, node.exit_message
    assert list(node.outputs.start_report['expand']) == [1, 1, 1]
    assert set(node.outputs.thermo) == {'relax_positions', 'melt', 'hold', 'equilibrate'}
    volumes = node.outputs.thermo.hold.get_array('volume_A3')
    assert np.ptp(volumes) < 1e-6 * volumes[0], 'the volume is held'
    assert np.unique(node.outputs.labels.get_array('molecule_id')).tolist() == list(range(-1, 8))
    report = node.outputs.start_report
    assert report['density_g_cm3'] == pytest.approx(1.9, rel=1e-3)
    assert node.outputs.initial_structure.get_formula() == node.outputs.structure.get_formula()
    checks = {row['name']: row['value'] for row in node.outputs.checks['numbers']}
    assert (checks['molecules.count'], checks['molecules.torn_by_packing']) == (8, 0)
    assert checks['molecules.bonds'] == 8 * 12, 'a trimer has 4 Al-O and 8 Al-Cl bonds'
    assert checks['density_ratio.measured'] == pytest.approx(node.outputs.results['numbers'][0]['value'] / 1.9)


@pytest.mark.engine
def test_a_given_cell_is_expanded_and_a_series_of_melts_compared(lmp_code):
    """Two melt temperatures from one given cell, with a quench, end in one table with a row for each."""
    atoms, _ = make_start('substitution', 'LiAlO0.75Cl2.5', {'substitution': {'repeat': [1, 1, 1]}, 'seed': 1})
    variants = variants_of({'melt.temperature_K': [500, 700]})
    assert set(variants) == {'temperature_k_500', 'temperature_k_700'}
    builder = AmorphousSeriesWorkChain.get_builder_from_protocol(
        lmp_code, 'LiAlO0.75Cl2.5', variants, classical={'pair_lines': born_mayer(('Li', 'O', 'Al', 'Cl'))},
        structure=to_structure(atoms, 'a glass'), protocol='qyang2025_model_1_demo',
        overrides=recursive_merge(QUICK, {
            'n_atoms': None, 'expand': [1, 1, 2], 'timestep_ps': 0.001, 'quench': {'rate_K_per_ps': 2000.0},
        }),
    )  # fmt: skip
    node = run_get_node(builder)[1]
    assert node.is_finished_ok, node.exit_message
    names = {row['name'] for row in node.outputs.results['numbers']}
    assert {'temperature_k_500.density', 'temperature_k_700.density'} <= names
    check_results(node.outputs.results.get_dict())
    assert set(node.outputs.structures) == set(variants)
    hot = next(child for child in node.called if child.label.endswith('700'))
    assert len(hot.outputs.initial_structure.sites) == 2 * len(atoms)
    assert hot.outputs.initial_structure.creator.process_label == 'expand_structure'
    quench = hot.outputs.thermo.quench
    assert np.ptp(quench.get_array('time_ps')) == pytest.approx(0.2, rel=0.05), '400 K at 2000 K/ps'
    context = hot.outputs.results['context']
    assert (context['melt_temperature_K'], context['quench_rate_K_per_ps']) == (700, 2000.0)


@pytest.mark.parametrize(
    ('protocol', 'material', 'elements', 'atoms'),
    [
        ('paper', '2LiCl-GaF3', ('Li', 'F', 'Cl', 'Ga'), 10_000),
        ('polycrystal', 'MgCl2', ('Mg', 'Cl'), 10_200),
        ('you2025', 'Li3Al3O2Cl8', ('Li', 'O', 'Al', 'Cl'), 16_384),
        ('you2025', 'Na3Al3O2Cl8', ('Na', 'O', 'Al', 'Cl'), 16_384),
        ('qyang2025_model_1', 'LiAlO0.75Cl2.5', ('Li', 'O', 'Al', 'Cl'), 27 * 84),
        ('qyang2025_model_1', 'NaAlCl4', ('Na', 'Al', 'Cl'), 27 * 96),
    ],
)
def test_protocols_of_the_papers_go_with_their_materials(lmp_code, protocol, material, elements, atoms):
    """Published sizes and temperatures, judged without building anything."""
    builder = AmorphousWorkChain.get_builder_from_protocol(
        lmp_code, material, classical={'pair_lines': born_mayer(elements)}, protocol=protocol
    )
    parameters = builder.parameters.get_dict()
    assert start_problem(builder._inputs(prune=True)) is None
    assert estimate_amorphous(parameters, material).n_atoms == pytest.approx(atoms, rel=0.02)
    plan = amorphous_plan(parameters)
    assert plan.stage_names[-1] == 'equilibrate'
    if 'melt' in parameters['steps']:
        assert plan.stage('melt').temperature_K == (900.0 if 'Ga' in elements else 600.0)
    if 'quench' in parameters['steps']:
        assert plan.stage('quench').duration_ps == pytest.approx(3.0), '600 K to 300 K at 100 K/ps (dai2023)'


def test_model_2_wants_a_given_glass(lmp_code):
    builder = AmorphousWorkChain.get_builder_from_protocol(
        lmp_code, 'LiAlCl4', classical={'pair_lines': born_mayer(('Li', 'Al', 'Cl'))}, protocol='qyang2025_model_2'
    )
    with pytest.raises(ValueError, match='there is no input structure'):
        run_get_node(builder)


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'steps': ['melt', 'relax']}, 'the last step, and no other, is equilibrate'),
        ({'steps': ['boil', 'equilibrate']}, 'there is no step boil'),
        ({'steps': ['relax', 'quench', 'equilibrate']}, 'a quench follows a melt, not relax'),
        ({'steps': []}, 'steps must be a list'),
        ({'steps': ['melt', 'quench', 'equilibrate'], 'quench': {'rate_K_per_ps': -1.0}}, 'quench.rate_K_per_ps is -1'),
        ({'steps': ['melt', 'quench', 'equilibrate'], 'melt': {'temperature_K': 250.0}}, 'no hotter than the glass'),
        ({'steps': ['melt', 'quench', 'equilibrate'], 'quench': {'ensemble': 'nve'}}, 'quench.ensemble is nvt or npt'),
        ({'reference_energies': 'yes'}, 'reference_energies must be true or false'),
    ],
)
def test_bad_steps_get_a_sentence(changes, sentence):
    parameters = AmorphousWorkChain.get_protocol_inputs('demo', changes)
    problem = AmorphousWorkChain.validate_parameters(orm.Dict(parameters), None)
    assert problem is not None
    assert sentence in problem


def test_steps_are_numbered_where_they_repeat():
    assert step_names(['relax', 'melt', 'relax', 'equilibrate']) == ['relax_1', 'melt', 'relax_2', 'equilibrate']
    assert step_names(['relax', 'melt', 'quench', 'melt', 'quench', 'equilibrate'])[-3:] == [
        'melt_2', 'quench_2', 'equilibrate'
    ]  # fmt: skip
    parameters = AmorphousWorkChain.get_protocol_inputs(
        'demo', {'steps': ['relax', 'melt', 'quench', 'equilibrate'], 'quench': {'ensemble': 'npt'}}
    )
    plan = amorphous_plan(parameters)
    assert plan.stage('quench').kind == 'npt'
    assert (plan.stage('quench').temperature_K, plan.stage('quench').temperature_end_K) == (900.0, 300.0)
    assert start_settings(parameters)['expand'] == [1, 1, 1]


def test_series_are_laid_out_and_refused(lmp_code):
    """Every combination is a variant; one that cannot be run is named before anything starts."""
    found = variants_of({'melt.temperature_K': [700, 900.5], 'seed': [1, 2]})
    assert list(found) == [
        'temperature_k_700_seed_1', 'temperature_k_700_seed_2', 'temperature_k_900_5_seed_1',
        'temperature_k_900_5_seed_2',
    ]  # fmt: skip
    assert found['temperature_k_700_seed_2'] == {'melt': {'temperature_K': 700}, 'seed': 2}
    with pytest.raises(ProtocolError, match='a series varies something'):
        variants_of({})
    with pytest.raises(ProtocolError, match='comes twice'):
        variants_of({'seed': [1, 1]})
    for variants, sentence in [
        ({'cold': {'melt': {'temperature_K': -5.0}}}, 'cold: .*kelvin'),
        ({'typo': {'melt': {'temperature': 5.0}}}, 'typo: unknown override `melt.temperature`'),
        ({'Bad label': {}}, 'cannot be the label'),
        ({}, 'there is no variant'),
    ]:
        builder = AmorphousSeriesWorkChain.get_builder_from_protocol(
            lmp_code, '2LiCl-GaF3', variants, classical={'pair_lines': born_mayer(('Li', 'F', 'Cl', 'Ga'))}
        )
        with pytest.raises(ValueError, match=sentence):
            run_get_node(builder)


def test_a_given_structure_of_another_material_is_refused(lmp_code):
    atoms, _ = make_start('substitution', 'LiAlCl4', {'substitution': {'repeat': [1, 1, 1]}})
    assert parse_material('LiAlCl4').units_of(atoms) == len(atoms) // 6
    builder = builder_for(
        lmp_code, 'LiAlO0.75Cl2.5', ('Li', 'O', 'Al', 'Cl'), 'qyang2025_model_2_demo', {'n_atoms': None},
        structure=to_structure(atoms, 'another'),
    )  # fmt: skip
    with pytest.raises(ValueError, match='no whole number of Li4Al4O3Cl10'):
        run_get_node(builder)
