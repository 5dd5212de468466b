"""The amorphous model with the real LAMMPS and a Born-Mayer potential that takes seconds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from aiida.engine import run_get_node
from aiida.manage.caching import disable_caching
from glass_samples import SMALL, born_mayer

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calcfunctions.structures import to_structure
from aiida_softclay.structures.checks import composition_units
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import crystal
from aiida_softclay.workflows.amorphous import AmorphousWorkChain
from aiida_softclay.workflows.protocol import ProtocolError

CLASSICAL = {'pair_lines': born_mayer(('Li', 'F', 'Cl', 'Ga'))}
STAGES = ('relax_1', 'melt', 'relax_2', 'equilibrate')


def builder_for(code, mixture='2LiCl-GaF3', overrides=None, **kwargs):
    return AmorphousWorkChain.get_builder_from_protocol(
        code, mixture, classical=CLASSICAL, overrides={**SMALL, **(overrides or {})}, **kwargs
    )


@pytest.mark.engine
def test_glass_from_two_salts(lmp_code):
    """The whole procedure keeps every atom, closes the gaps and gives numbers in the schema."""
    node = run_get_node(builder_for(lmp_code))[1]
    assert node.is_finished_ok, node.exit_message
    mixture = Mixture.parse('2LiCl-GaF3')
    assert composition_units(node.outputs.structure.get_ase(), mixture) == 40
    assert set(node.outputs.thermo) == set(STAGES) == set(node.outputs.trajectories)
    assert node.outputs.trajectories.melt.n_atoms == 320
    results = node.outputs.results.get_dict()
    check_results(results)
    numbers = {row['name']: row for row in results['numbers']}
    report = node.outputs.start_report.get_dict()
    volumes = node.outputs.thermo.relax_1.get_array('volume_A3')
    assert volumes[0] == pytest.approx(report['cell_length_A'] ** 3, rel=1e-4)
    assert volumes[-1] < 0.97 * volumes[0], 'relaxing under a closing pressure takes the gaps out'
    assert numbers['density']['error'] > 0
    assert 0.7 < numbers['density_ratio']['value'] < 1.0, 'a glass is lighter than its crystals'
    assert numbers['n_atoms']['value'] == 320
    assert numbers['formula_units']['value'] == 40
    assert numbers['minimum_distance']['value'] > 1.3
    # Mass over volume from two independent columns.
    mass = node.outputs.structure.get_ase().get_masses().sum()
    assert numbers['density']['value'] == pytest.approx(mass * 1.66054 / numbers['volume']['value'], rel=5e-3)
    temperature = node.outputs.thermo.melt.get_array('temperature_K')
    # The salts react and heat the melt at first; the thermostat takes that out within some tenths of a picosecond.
    assert temperature[-10:].mean() == pytest.approx(900, rel=0.15)
    assert results['context']['engine'].startswith('LAMMPS')
    slab = node.inputs.parameters['slab']['n_atoms']
    labels = {link.link_label for link in node.base.links.get_outgoing().all()}
    assert {'build_slab', 'build_particle_assembly', 'md', 'summarise_glass'} <= labels
    assert slab == 48


@pytest.mark.engine
def test_drifting_glass_is_extended_and_an_exploded_one_refused(lmp_code):
    """A glass that drifts is run on under a new stage name; one outside the allowed density fails with a sentence."""
    builder = builder_for(
        lmp_code,
        overrides={
            'n_atoms': 64, 'max_extensions': 1, 'density_range': [2.0, 3.0],
            'melt': {'duration_ps': 0.1, 'dump_every': 50}, 'equilibrate': {'duration_ps': 0.3, 'dump_every': 50},
            'drift_tolerance': {'density_relative': 1e-9, 'energy_eV_per_atom': 1e-9}, 'discard_fraction': 0.0,
            'thermo_every': 2, 'relax': {'max_steps': 60, 'closing_pressure_GPa': 2.0},
        },
        interface=to_structure(crystal_interface(), 'slab'),
    )  # fmt: skip
    node = run_get_node(builder)[1]
    assert node.exit_status == AmorphousWorkChain.exit_codes.ERROR_DENSITY.status
    assert 'times the density of the unmixed crystals' in node.exit_message
    assert set(node.outputs.thermo) == {*STAGES, 'equilibrate_2'}
    assert 'structure' in node.outputs
    assert 'results' not in node.outputs
    first = node.outputs.thermo.equilibrate.get_array('cell')[-1]
    second = node.outputs.thermo.equilibrate_2.get_array('cell')[0]
    assert np.allclose(first, second, atol=1e-3), 'the extension starts from the last cell'


@pytest.mark.engine
def test_a_glass_that_never_comes_to_rest_is_refused_with_its_numbers(lmp_code):
    builder = builder_for(
        lmp_code,
        overrides={
            'n_atoms': 64, 'density_range': [0.0, 9.0], 'require_equilibrium': True, 'discard_fraction': 0.0,
            'melt': {'duration_ps': 0.1, 'dump_every': 50}, 'equilibrate': {'duration_ps': 0.3, 'dump_every': 50},
            'drift_tolerance': {'density_relative': 1e-9, 'energy_eV_per_atom': 1e-9}, 'thermo_every': 2,
            'relax': {'max_steps': 60, 'closing_pressure_GPa': 2.0},
        },
        interface=to_structure(crystal_interface(), 'slab'),
    )  # fmt: skip
    node = run_get_node(builder)[1]
    assert node.exit_status == AmorphousWorkChain.exit_codes.ERROR_NOT_EQUILIBRATED.status
    assert 'after 0 extensions these still drift: ' in node.exit_message
    assert any('still drifts' in sentence for sentence in node.outputs.results['numbers'][0]['warnings'])
    assert 'structure' in node.outputs


@pytest.mark.engine
def test_a_glass_whose_ions_sit_on_each_other_is_refused(lmp_code):
    """Ions closer than they can be end the run with the pair named; here the bound is set above what the ions keep."""
    builder = builder_for(
        lmp_code,
        overrides={
            'n_atoms': 64, 'density_range': [0.0, 9.0], 'contact_fraction': 1.0,
            'melt': {'duration_ps': 0.1, 'dump_every': 50}, 'equilibrate': {'duration_ps': 0.1, 'dump_every': 50},
            'relax': {'max_steps': 60, 'closing_pressure_GPa': 2.0}, 'steps': ['relax', 'melt', 'equilibrate'],
        },
        interface=to_structure(crystal_interface(), 'slab'),
    )  # fmt: skip
    node = run_get_node(builder)[1]
    assert node.exit_status == AmorphousWorkChain.exit_codes.ERROR_CONTACTS.status
    assert 'pairs are too close; the worst are' in node.exit_message
    assert 'fit it again' in node.exit_message
    assert 'structure' in node.outputs
    assert 'results' not in node.outputs


def crystal_interface():
    from aiida_softclay.structures.slabs import interface_slab

    return interface_slab(Mixture.parse('2LiCl-GaF3'), n_atoms=40).atoms


@pytest.mark.parametrize(
    ('mixture', 'overrides', 'sentence'),
    [
        ('2KCl-GaF3', {}, 'the salt KCl is not known'),
        ('LiCl2-GaF3', {}, 'is not neutral'),
        ('2LiCl-GaF3', {'n_atoms': 30}, 'are too few'),
        ('21/17LiCl-GaF3', {}, 'are too few'),
        ('MgCl2-GaF3', {}, 'Mg'),
        ('LiCl', {}, 'take the start polycrystal'),
        ('2LiCl-GaF3', {'melt': {'temperature_K': -3.0}}, 'kelvin'),
        ('2LiCl-GaF3', {'timestep_ps': 1.0}, 'probably in fs'),
        ('2LiCl-GaF3', {'density_range': [2, 1]}, 'density_range'),
        ('2LiCl-GaF3', {'discard_fraction': 1.0}, 'discard_fraction'),
        ('2LiCl-GaF3', {'contact_fraction': 1.5}, 'contact_fraction'),
    ],
)
def test_bad_input_is_refused_at_submission(lmp_code, mixture, overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        run_get_node(builder_for(lmp_code, mixture, overrides))


def test_unknown_override_is_named(lmp_code):
    with pytest.raises(ProtocolError, match=r'unknown override `melt.temperature`'):
        builder_for(lmp_code, overrides={'melt': {'temperature': 3}})


def test_foreign_interface_is_refused(lmp_code):
    builder = builder_for(lmp_code, interface=to_structure(crystal('LiCl'), 'LiCl'))
    with pytest.raises(ValueError, match='the interface is made of Cl, Li, but'):
        run_get_node(builder)


def test_unbuildable_slab_ends_with_a_sentence(lmp_code):
    with disable_caching():
        node = run_get_node(builder_for(lmp_code, overrides={'slab': {'n_atoms': 48, 'min_length': 30.0}}))[1]
    assert node.exit_status == AmorphousWorkChain.exit_codes.ERROR_BUILD.status
    assert 'raise max_atoms or lower min_length' in node.exit_message


@pytest.mark.parametrize('protocol', ['demo', 'balanced', 'paper'])
def test_protocols_make_plans(protocol):
    parameters = AmorphousWorkChain.get_protocol_inputs(protocol)
    plan = AmorphousWorkChain.build_plan(parameters)
    assert plan.stage_names == list(STAGES)
    assert plan.stage('melt').temperature_K == 900.0
    assert plan.stage('equilibrate').temperature_K == 300.0
    if protocol == 'demo':
        assert plan.total_steps <= 6000
    if protocol == 'paper':
        assert math.isclose(plan.stage('melt').duration_ps, 50.0)
        assert math.isclose(plan.stage('equilibrate').duration_ps, 2000.0)
