"""Pair distributions, chains, polyhedra, bond lifetimes and scattering as nodes: crystals give what textbooks say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ExitCode
from ase.build import bulk

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.scattering import analyse_scattering
from aiida_softclay.calcfunctions.structure_series import (
    analyse_bond_lifetimes,
    analyse_census,
    analyse_chains,
    analyse_pair_distributions,
)
from aiida_softclay.calculations.analyses import find_analysis
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.structures.crystals import crystal

pytestmark = pytest.mark.usefixtures('aiida_profile')
LABELS = ('neutron', 'x_ray')
ENGINE = {'program': 'LAMMPS', 'version': '22 Jul 2025', 'potential': 'DeePMD model.pb', 'potential_uuid': 'x'}


def trajectory_node(folder, positions, cell, numbers, name='trajectory'):
    """Return frames 0.1 ps apart as a node."""
    path = folder / f'{name}.h5'
    with TrajectoryFile(path, 'w', numbers, 0.001, engine=ENGINE, stage='hold') as target:
        for index, frame in enumerate(positions):
            target.append(frame, np.asarray(cell), index * 100)
    return MdTrajectoryData.from_file(path)


def shaken(folder, atoms, sigma, n_frames=6, seed=0):
    """Return a crystal whose atoms are displaced at random in every frame."""
    noise = np.random.default_rng(seed).normal(scale=sigma, size=(n_frames, len(atoms), 3)) if sigma else 0.0
    positions = np.broadcast_to(atoms.positions, (n_frames, len(atoms), 3)) + noise
    return trajectory_node(folder, positions, atoms.cell[:], atoms.numbers)


def checked(outputs):
    """Return the numbers by name, of outputs whose schema and units are complete."""
    results = outputs['results'].get_dict()
    check_results(results)
    context = results['context']
    assert context['engine'].startswith('LAMMPS')
    assert context['stage'] == 'hold'
    assert context['formula']
    curve = outputs['curve']
    assert set(curve.base.attributes.get('units')) == set(curve.get_arraynames())
    return {row['name']: row for row in results['numbers']}


def rock_salt(formula, a, repeat=3):
    return bulk(formula, 'rocksalt', a=a, cubic=True) * (repeat, repeat, repeat)


def test_rock_salt_has_six_neighbours_of_the_other_kind(tmp_path):
    node = shaken(tmp_path, rock_salt('LiCl', 5.14), 0.1)
    outputs = analyse_pair_distributions(node, orm.Dict({'r_max': 7.0, 'context': {'scale': 'demo'}}))
    numbers = checked(outputs)
    for name in ('coordination.Li-Cl', 'coordination.Cl-Li'):
        assert numbers[name]['value'] == pytest.approx(6, abs=1e-12)
        assert numbers[name]['frames_used'] == 6
    assert numbers['first_peak.Li-Cl']['value'] == pytest.approx(2.57, abs=0.1)
    # Between the first shell at a/2 and the second at √3 a/2.
    assert 2.57 + 0.3 < numbers['first_minimum.Li-Cl']['value'] < 4.45 - 0.3
    context = outputs['results']['context']
    assert context['scale'] == 'demo'
    assert context['cutoffs']['Li-Cl']['method'] == 'first minimum of g(r)'
    assert context['cutoffs']['Li-Cl']['cutoff_A'] == numbers['first_minimum.Li-Cl']['value']
    # Cations do not bond to each other: the number says that its cutoff is not one that g(r) shows.
    assert 'fallback' in numbers['coordination.Li-Li']['warnings'][0]
    assert numbers['first_minimum.Li-Li']['value'] is None
    # Twelve like ions at a/√2 and six at a: the running coordination counts them all.
    curve = outputs['curve']
    assert curve.get_array('upper_edges') - curve.get_array('radii') == pytest.approx(0.025)
    running = np.interp(5.14 * 1.1, curve.get_array('upper_edges'), curve.get_array('coordination_Li_Li'))
    assert running == pytest.approx(18, abs=1e-9)
    assert np.nanmax(curve.get_array('g_error_Li_Cl')) > 0
    assert set(curve.base.attributes.get('pairs')) == {'Li-Li', 'Li-Cl', 'Cl-Cl'}


def test_named_pairs_and_given_cutoffs(tmp_path):
    node = shaken(tmp_path, rock_salt('LiCl', 5.14), 0.05)
    parameters = {'pairs': ['Cl-Cl'], 'cutoffs': {'Cl-Cl': 4.4}, 'r_max': 6.0, 'start_ps': 0.3}
    outputs = analyse_pair_distributions(node, orm.Dict(parameters))
    numbers = checked(outputs)
    assert set(numbers) == {'coordination.Cl-Cl', 'first_peak.Cl-Cl', 'first_minimum.Cl-Cl'}
    assert numbers['coordination.Cl-Cl']['value'] == pytest.approx(12)
    assert numbers['coordination.Cl-Cl']['frames_used'] == 3
    assert outputs['results']['context']['cutoffs']['Cl-Cl']['method'] == 'given'
    # A bond is the same one from both of its ends: 6 + 8 of the other kind within 4.8 Å.
    both = checked(analyse_pair_distributions(node, orm.Dict({'cutoffs': {'Cl-Li': 4.8}})))
    assert both['coordination.Li-Cl']['value'] == both['coordination.Cl-Li']['value'] == pytest.approx(14)


def test_tetrahedra_of_lithium_tetrachloroaluminate_are_isolated(tmp_path):
    node = shaken(tmp_path, crystal('LiAlCl4') * (2, 2, 1), 0.03)
    outputs = analyse_chains(node, orm.Dict({'bonds': {'Cl': None}}))
    numbers = checked(outputs)
    assert numbers['chains.Al.isolated']['value'] == 1
    assert numbers['chains.Al.mean_length']['value'] == 1
    assert numbers['coordination.Al-Cl']['value'] == 4
    assert outputs['results']['context']['cutoffs']['Al-Cl']['method'] == 'first minimum of g(r)'
    curve = outputs['curve']
    assert curve.get_array('time') == pytest.approx(np.arange(6) * 0.1)
    assert curve.get_array('isolated') == pytest.approx(np.ones(6))
    assert curve.get_array('number').tolist() == [16]
    census = checked(analyse_census(node, orm.Dict({'centre': 'Al', 'bonds': {'Cl': 2.8}})))
    assert census['polyhedra.AlCl4']['value'] == 1


def dimer_that_breaks(n_frames=40, broken_from=20):
    """Al–O–Al whose second Al leaves at a frame, and one Al alone, each with a Cl of its own."""
    positions = np.tile(
        np.array([[0, 0, 0], [1.7, 0, 0], [3.4, 0, 0], [8, 8, 8], [0, 2.2, 0], [3.4, 2.2, 0], [8, 10.2, 8]], float),
        (n_frames, 1, 1),
    )
    positions[broken_from:, [2, 5], 2] += 5.0
    return positions, np.eye(3) * 16.0, np.array([13, 8, 13, 13, 17, 17, 17])


def test_a_chain_that_breaks_is_seen_in_time(tmp_path):
    node = trajectory_node(tmp_path, *dimer_that_breaks())
    outputs = analyse_chains(node, orm.Dict({'bonds': {'O': 2.2, 'Cl': 2.6}}))
    numbers = checked(outputs)
    # One of three for half of the run, all three for the other half.
    assert numbers['chains.Al.isolated']['value'] == pytest.approx(2 / 3)
    isolated = outputs['curve'].get_array('isolated')
    assert isolated == pytest.approx(np.where(np.arange(40) < 20, 1 / 3, 1))
    assert outputs['curve'].get_array('length').tolist() == [1, 2]


def test_census_follows_the_exchange_of_anions(tmp_path):
    """Of the bonds of two Ga to four anions each, none goes to Cl at first, one to three in the end."""
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / math.sqrt(3)
    far, n_frames = 12.0, 21
    frames = []
    for index in range(n_frames):
        exchanged = min(index // 5, 3)
        # F in the places of the first Ga that have not been given up; the Cl wait far away.
        near = [1.8 * corner for corner in tetrahedron]
        waiting = [np.array([far, far, 2.0 * place]) for place in range(3)]
        fluorine = [*waiting[:exchanged], *near[exchanged:]]
        chlorine = [
            *(2.2 * corner for corner in tetrahedron[:exchanged]),
            *(place + np.array([0, 0, 8]) for place in waiting[exchanged:]),
        ]
        second = [np.array([0, 0, far]) + 1.8 * corner for corner in tetrahedron]
        frames.append(np.array([[0, 0, 0], [0, 0, far], *fluorine, *second, *chlorine]))
    symbols = np.array([31] * 2 + [9] * 8 + [17] * 3)
    node = trajectory_node(tmp_path, frames, np.eye(3) * 24.0, symbols)
    outputs = analyse_census(node, orm.Dict({'centre': 'Ga', 'bonds': {'F': 2.4, 'Cl': 2.8}}))
    numbers = checked(outputs)
    expected = np.minimum(np.arange(n_frames) // 5, 3)
    curve = outputs['curve']
    assert curve.get_array('anion_share_Cl') == pytest.approx(expected / 8)
    assert curve.get_array('share_GaFCl3') == pytest.approx(np.where(expected == 3, 0.5, 0))
    assert numbers['anion_share.Ga-Cl']['value'] == pytest.approx(expected.mean() / 8)
    assert numbers['anion_share.Ga-Cl']['error'] > 0
    assert numbers['anion_share.Ga-Cl.first']['value'] == 0
    assert numbers['anion_share.Ga-Cl.last']['value'] == pytest.approx(3 / 8)
    assert numbers['anion_share.Ga-F']['value'] == pytest.approx(1 - expected.mean() / 8)
    assert numbers['polyhedra.GaF4']['value'] == pytest.approx((1 + 5 / 21) / 2)
    assert numbers['coordination.Ga-Cl']['value'] == pytest.approx(expected.mean() / 2)
    window = checked(analyse_census(node, orm.Dict({'centre': 'Ga', 'bonds': {'F': 2.4, 'Cl': 2.8}, 'start_ps': 1.5})))
    assert window['anion_share.Ga-Cl']['value'] == pytest.approx(3 / 8)


def test_no_bond_of_a_frozen_crystal_breaks(tmp_path):
    node = shaken(tmp_path, crystal('LiAlCl4'), 0.0, n_frames=13)
    outputs = analyse_bond_lifetimes(node, orm.Dict({'bonds': {'Al-Cl': 2.8}}))
    numbers = checked(outputs)
    lifetime = numbers['bond_lifetime.Al-Cl']
    assert lifetime['value'] is None
    assert 'no bond broke' in lifetime['warnings'][0]
    assert lifetime['conditions']['n_bonds'] == 16
    # Sixteen bonds seen for 12 intervals of 0.1 ps: three events were expected at a lifetime of 6.4 ps.
    assert numbers['bond_lifetime_lower_bound.Al-Cl']['value'] == pytest.approx(16 * 1.2 / 3)
    assert outputs['curve'].get_array('survival_Al_Cl') == pytest.approx(np.ones(7))
    assert outputs['curve'].get_array('lag_time') == pytest.approx(np.arange(7) * 0.1)


def test_lifetime_of_bonds_that_break_at_random(tmp_path):
    """Bonds that break with a probability p in every interval live for −Δt / ln(1 − p)."""
    rng = np.random.default_rng(5)
    n_pairs, n_frames, rate = 60, 40, 0.05
    place = np.stack(np.meshgrid(*[np.arange(4) * 9.0] * 3), axis=-1).reshape(-1, 3)[:n_pairs]
    end = rng.geometric(rate, size=n_pairs)
    apart = np.where(np.arange(n_frames)[:, None] < end, 2.2, 4.4)
    positions = np.concatenate([np.broadcast_to(place, (n_frames, n_pairs, 3))] * 2, axis=1).copy()
    positions[:, n_pairs:, 0] += apart
    node = trajectory_node(tmp_path, positions, np.eye(3) * 36.0, np.repeat([13, 17], n_pairs))
    parameters = {'bonds': {'Al-Cl': 2.8}, 'release_cutoffs': {'Al-Cl': 3.2}}
    lifetime = checked(analyse_bond_lifetimes(node, orm.Dict(parameters)))['bond_lifetime.Al-Cl']
    assert lifetime['value'] == pytest.approx(-0.1 / math.log(1 - rate), abs=4 * lifetime['error'])
    assert lifetime['conditions']['n_broken'] == int((end < n_frames).sum())
    assert lifetime['conditions']['release_cutoff_A'] == 3.2


def test_reflections_of_rock_salt(tmp_path):
    """Neutrons see Li (−1.90 fm) against Cl (9.58 fm) in 111; X-rays see K⁺ and Cl⁻ alike, and 200 as the first."""
    lithium = shaken(tmp_path, rock_salt('LiCl', 5.14, 4), 0.1, n_frames=4)
    outputs = analyse_scattering(lithium, orm.Dict({'q_range': [1.0, 12.0]}))
    peak = checked(outputs)['structure_factor.neutron.highest_peak_position']
    assert peak['value'] == pytest.approx(2 * math.pi * math.sqrt(3) / 5.14, abs=peak['error'])
    assert any('half the smallest height' in text for text in peak['warnings'])
    # 111 weighs ((b_Cl − b_Li) / (b_Cl + b_Li))² = 2.2 for neutrons and less than 1 for X-rays, which Li adds to.
    curve = outputs['curve']
    heights = [np.interp(peak['value'], curve.get_array('q'), curve.get_array(f'S_{name}')) for name in LABELS]
    assert heights[0] > 2 * heights[1] > 2
    # The product of b_Li and b_Cl is negative: the bonds are a hole in the G(r) of neutrons.
    bond = [np.interp(2.57, curve.get_array('r'), curve.get_array(f'G_{name}')) for name in LABELS]
    assert bond[0] < -5 < 0 < bond[1]
    potassium = shaken(tmp_path, rock_salt('KCl', 6.29), 0.1, n_frames=4, seed=1)
    outputs = analyse_scattering(potassium, orm.Dict({'q_range': [1.0, 12.0], 'radiation': ['x-ray']}))
    numbers = checked(outputs)
    peak = numbers['structure_factor.x-ray.highest_peak_position']
    assert peak['value'] == pytest.approx(4 * math.pi / 6.29, abs=peak['error'])
    height = numbers['structure_factor.x-ray.highest_peak']
    assert height['value'] > 1
    assert height['error'] > 0
    curve = outputs['curve']
    q, total = curve.get_array('q'), curve.get_array('S_x_ray')
    assert total[q > 8].mean() == pytest.approx(1, abs=0.02)
    # G(r) → −4 π ρ r below the shortest distance.
    r, reduced = curve.get_array('r'), curve.get_array('G_x_ray')
    short = r < 2.0
    assert reduced[short] == pytest.approx(-4 * math.pi * (8 / 6.29**3) * r[short], abs=1e-4)


def test_residual_of_a_measured_curve(tmp_path):
    """A measurement that is four fifths of the calculated curve: R_w 1/4 as it is, 0 with the scale 0.8."""
    node = shaken(tmp_path, rock_salt('LiCl', 5.14), 0.1)
    parameters = {'radiation': ['x-ray'], 'bin_width': 0.05, 'q_range': [1.0, 10.0], 'q_step': 0.1,
                  'fit_range': [1.5, 7.0], 'q_max': 20.0, 'q_damp': 0.05}  # fmt: skip
    curve = analyse_scattering(node, orm.Dict(parameters))['curve']
    measured = orm.ArrayData({'r': curve.get_array('r'), 'G': 0.8 * curve.get_array('G_x_ray')})
    numbers = checked(analyse_scattering(node, orm.Dict(parameters), measured))
    assert numbers['pair_distribution.x-ray.weighted_residual']['value'] == pytest.approx(0.25)
    assert numbers['pair_distribution.x-ray.weighted_residual_scaled']['value'] == pytest.approx(0, abs=1e-9)
    assert numbers['pair_distribution.x-ray.scale']['value'] == pytest.approx(0.8)
    assert numbers['pair_distribution.x-ray.scale']['window'] == pytest.approx([1.525, 6.975])
    # The resolution of the instrument damps G(r) by exp(-(r q_damp)² / 2); the end of the measurement rounds its peaks.
    sharp = analyse_scattering(node, orm.Dict({**parameters, 'q_damp': 0.0}))['curve'].get_array('G_x_ray')
    damping = np.exp(-0.5 * (0.05 * curve.get_array('r')) ** 2)
    assert curve.get_array('G_x_ray') == pytest.approx(sharp * damping)
    round_peaks = analyse_scattering(node, orm.Dict({**parameters, 'q_max': 8.0}))['curve'].get_array('G_x_ray')
    assert round_peaks.max() < 0.9 * curve.get_array('G_x_ray').max()
    # A measurement of neutrons is another curve.
    other = checked(analyse_scattering(node, orm.Dict({**parameters, 'measured_radiation': 'neutron'}), measured))
    assert other['pair_distribution.neutron.weighted_residual_scaled']['value'] > 0.1


BAD_PARAMETERS = [
    ('pair_distributions', {'pairs': ['Li-Br']}, 'asks for Br'),
    ('pair_distributions', {'pairs': ['LiCl']}, 'write it as Li-Cl'),
    ('pair_distributions', {'cutoffs': {'Li-Cl': 'far'}}, 'must be a number in Å'),
    ('pair_distributions', {'cutoffs': {'Li-Cl': -1}}, 'must be positive'),
    ('pair_distributions', {'cutoff': 3}, 'hold cutoff, which is not known here'),
    ('pair_distributions', {'start_ps': 10}, 'no frame is left'),
    ('chains', {}, 'the parameters lack bonds'),
    ('chains', {'bonds': {'Cl': 2.8}}, 'asks for Al'),
    ('chains', {'bonds': ['Cl']}, 'must map each bond'),
    ('census', {'bonds': {'Cl': 3.0}}, 'the parameters lack centre'),
    ('census', {'centre': 'Li', 'bonds': {'Cl': 0.5}}, 'check the cutoffs'),
    ('census', {'centre': 'Li', 'bonds': {'Cl': 3.0}, 'n_frames': 2.5}, 'n_frames must be a whole number'),
    ('bond_lifetimes', {'bonds': {'Li-Cl': 3.0}}, 'four are needed'),
    ('bond_lifetimes', {'bonds': {'Li-Cl': 3}, 'release_cutoffs': {'Li-Li': 4}}, 'none of the bonds'),
    ('scattering', {'radiation': ['light']}, 'is not known'),
    ('scattering', {'radiation': []}, 'radiation is empty'),
    ('scattering', {'radiation': [5]}, 'radiation must name'),
    ('scattering', {'q_range': [0.5, 30.0]}, 'the X-ray form factors hold up to 20'),
    ('scattering', {'q_range': [5.0, 1.0]}, 'the smaller one first'),
    ('scattering', {'r_max': 'half'}, 'r_max must be a number'),
]


@pytest.fixture(scope='module')
def two_frames(aiida_profile, tmp_path_factory):
    """A node that is not stored: bodies of calcfunctions do not ask for it."""
    return shaken(tmp_path_factory.mktemp('bad'), rock_salt('LiCl', 5.14, 1), 0.0, n_frames=2)


@pytest.mark.parametrize(('name', 'parameters', 'sentence'), BAD_PARAMETERS)
def test_what_cannot_be_analysed_is_a_sentence(two_frames, name, parameters, sentence):
    found = find_analysis(name).function(two_frames, orm.Dict(parameters))
    assert isinstance(found, ExitCode)
    assert found.status == 510
    assert sentence in found.message


def test_a_failed_analysis_is_a_failed_process(tmp_path):
    node = shaken(tmp_path, rock_salt('LiCl', 5.14, 1), 0.0, n_frames=2)
    _, process = analyse_chains.run_get_node(node, orm.Dict({'bonds': {'Cl': 2.8}}))
    assert process.exit_status == 510
    assert 'asks for Al' in process.exit_message


def test_measured_curves_that_cannot_be_compared_are_a_sentence(two_frames):
    r = np.linspace(0.1, 0.9, 40)
    for arrays, sentence in (({'r': r}, 'lacks G'), ({'r': r, 'G': r}, 'no measured point lies between')):
        found = find_analysis('scattering').function(two_frames, orm.Dict({}), orm.ArrayData(arrays))
        assert found.status == 510
        assert sentence in found.message


def test_jobs_find_the_inputs_of_each():
    for name in ('pair_distributions', 'chains', 'census', 'bond_lifetimes', 'scattering'):
        assert find_analysis(name).trajectories == {'trajectory': True}
    assert find_analysis('scattering').arrays == {'measured': False}
    assert find_analysis('chains').arrays == {}
