"""Phases relaxed by the real driver over EMT, their table, and what is refused before a job is sent."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

FAMILY = 'thermodynamics'
#: Without the dispersion of the protocol, which the driver would add to EMT.
OVERRIDES = {'incar': {'ivdw': 0, 'encut': 300}, 'relaxation': {'ediffg': -0.005, 'nsw': 200}}


@pytest.fixture
def family(aiida_profile):
    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family(FAMILY, ['Ag', 'Al', 'Li', 'Ga', 'F', 'Cl'])
    return FAMILY


def alloy() -> Atoms:
    """Return Ag3Al ordered as Cu3Au, in a cell too small, its atoms of one kind not next to each other."""
    atoms = bulk('Ag', 'fcc', a=3.9, cubic=True)
    atoms.symbols = ['Ag', 'Al', 'Ag', 'Ag']
    return atoms


def relaxed_energy(atoms: Atoms) -> float:
    """Return the energy per atom of a cubic cell at its best volume by ASE alone, eV."""
    from scipy.optimize import minimize_scalar

    def energy(scale):
        copy = atoms.copy()
        copy.set_cell(atoms.cell * scale, scale_atoms=True)
        copy.calc = EMT()
        return copy.get_potential_energy() / len(copy)

    return float(minimize_scalar(energy, bounds=(0.9, 1.1), method='bounded', options={'xatol': 1e-6}).fun)


@pytest.mark.engine
def test_reaction_energy_is_that_of_the_model(family, vasp_emt_code):
    """Al from the library, Ag and Ag3Al given: E(Ag3Al) - 3/4 E(Ag) - 1/4 E(Al) by ASE is the reaction energy."""
    from aiida.engine import run_get_node
    from aiida.orm import StructureData

    from aiida_softclay.analysis.quantity import check_results
    from aiida_softclay.workflows.reaction_energy import ReactionEnergyWorkChain

    given = {'Ag': bulk('Ag', 'fcc', a=4.2), 'Ag3Al': alloy()}
    builder = ReactionEnergyWorkChain.get_builder_from_protocol(
        vasp_emt_code, ['Al', 'Ag'], family, overrides=OVERRIDES, max_concurrent_jobs=3,
        structures={name: StructureData(ase=atoms) for name, atoms in given.items()},
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    results = node.outputs.results.get_dict()
    check_results(results)
    cells = {'Al': bulk('Al', 'fcc', a=4.0), **given}
    energies = {name: relaxed_energy(atoms) for name, atoms in cells.items()}
    rows = {row['id']: row for row in node.outputs.entries['entries']}
    for name, energy in energies.items():
        assert rows[name]['energy_eV'] / rows[name]['n_atoms'] == pytest.approx(energy, abs=2e-4)
    formation = energies['Ag3Al'] - 0.75 * energies['Ag'] - 0.25 * energies['Al']
    numbers = {number['name']: number for number in results['numbers']}
    assert results['context']['best_reaction']['equation'] == 'Al + 3 Ag -> AlAg3'
    assert numbers['reaction_energy']['value'] == pytest.approx(1000 * formation, abs=0.3)
    assert numbers['energy_above_hull.Ag3Al']['value'] == 0
    assert results['context']['engine'].startswith('EMT')
    assert 'AlAg3 (Ag3Al)' in numbers['reaction_energy']['conditions']['phase_set']
    assert set(node.outputs.structures) == {'Al', 'Ag', 'Ag3Al'}
    assert rows['Ag3Al']['volume_change'] > 0.05


def chain(kind, number, final=True, status=0, structure=True):
    """Return a workchain in the middle, one run of the phase X just ended, with what it has decided so far."""
    from aiida.common import AttributeDict

    from aiida_softclay.workflows.reaction_energy import ReactionEnergyWorkChain as Process

    outputs = AttributeDict({'structure': 'relaxed'} if structure else {})
    run = SimpleNamespace(exit_status=status, exit_message='why', pk=7, outputs=outputs)
    parameters = {'final_single_point': final, 'max_iterations': 2}
    self = SimpleNamespace(
        ctx=SimpleNamespace(
            runs={'b': ['X', kind, number]}, cells={'X': 'given'}, last={}, missing={}, pending_branches=[],
            parameters=parameters,
        ),
        branch=lambda _: run, report=lambda _: None,
    )  # fmt: skip
    for method in ('_gives_energy', '_queue'):
        setattr(self, method, getattr(Process, method).__get__(self))
    Process._inspect(self, 'b')
    return self.ctx


def test_what_follows_a_run():
    """A relaxation goes on from where it stopped, then comes the single point, then the table; else it is named."""
    assert chain('relax', 1).pending_branches == ['energy_X_1']
    assert chain('relax', 1, final=False).last == {'X': 'b'}
    unfinished = chain('relax', 1, status=703)
    assert (unfinished.pending_branches, unfinished.cells) == (['relax_X_2'], {'X': 'relaxed'})
    for failed in (
        chain('relax', 2, status=703), chain('relax', 1, status=300, structure=False), chain('energy', 1, status=300)
    ):  # fmt: skip
        assert failed.missing == {'X': '<7> why'}
        assert not failed.pending_branches
        assert not failed.last


@pytest.mark.parametrize(
    ('salts', 'overrides', 'words'),
    [
        (['LiCl', 'LiCl'], {}, 'one composition'),
        (['LiCl', 'Ga2F5'], {}, 'no structure of Ga2F5'),
        (['LiCl', 'Gx'], {}, 'not a'),
        (['LiCl'], {}, 'names two salts'),
        (['LiCl', 'NaF'], {}, 'has no potential for Na'),
        (['LiCl', 'GaF3'], {'phases': {'confidence': 'best'}}, 'choose from high, medium, low'),
        (['LiCl', 'GaF3'], {'phases': {'leave_out': ['GaF3']}}, 'no structure of GaF3'),
        (['LiCl', 'GaF3'], {'incar': {'encuts': 500}}, 'encuts, which VASP does not know'),
    ],
)
def test_refusals(family, vasp_emt_code, salts, overrides, words):
    from aiida_softclay.workflows.reaction_energy import ReactionEnergyWorkChain

    builder = ReactionEnergyWorkChain.get_builder_from_protocol(vasp_emt_code, salts, family, overrides=overrides)
    error = ReactionEnergyWorkChain.spec().inputs.validate(builder._inputs(prune=True))
    assert error is not None
    assert words in error.message


def test_parameters_must_be_whole(family, vasp_emt_code):
    from aiida_softclay.workflows.reaction_energy import parameters_problem

    assert 'lack final_single_point, incar' in parameters_problem({'salts': ['LiCl', 'GaF3']})


def test_phases_of_the_system_and_of_the_mixture(family, vasp_emt_code):
    from aiida_softclay.workflows.protocol import ProtocolError
    from aiida_softclay.workflows.reaction_energy import ReactionEnergyWorkChain, library_phases

    builder = ReactionEnergyWorkChain.get_builder_from_protocol(vasp_emt_code, '2LiCl-GaF3', family, ion='Li')
    parameters = builder.parameters.get_dict()
    assert (parameters['salts'], parameters['moles']) == (['LiCl', 'GaF3'], {'LiCl': 2.0, 'GaF3': 1.0})
    taken, left_out = library_phases(parameters)
    assert {'LiCl', 'GaF3', 'Li3GaF6', 'GaCl3', 'LiF', 'Li', 'Ga', 'F2', 'Cl2'} <= set(taken)
    assert not left_out
    parameters['phases'] = {'confidence': 'high', 'leave_out': ['LiF'], 'max_atoms': 5}
    taken, left_out = library_phases(parameters)
    assert left_out['LiF'] == 'left out as asked'
    assert 'lower confidence' in left_out['Li3GaF6']
    assert 'more than 5 atoms' in left_out['Ga2Cl4']
    assert 'LiCl' in taken
    with pytest.raises(ProtocolError, match='unknown protocol'):
        ReactionEnergyWorkChain.get_builder_from_protocol(vasp_emt_code, '2LiCl-GaF3', family, protocol='none')
