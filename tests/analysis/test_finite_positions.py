"""One position that is not a number, in the middle of a run: every analysis names its frame and its atom."""

import numpy as np
import pytest

from aiida_softclay.analysis.anion_rotation import anion_motion
from aiida_softclay.analysis.bond_lifetime import bond_lifetime
from aiida_softclay.analysis.chains import chain_statistics
from aiida_softclay.analysis.class_rdf import class_radial_distribution
from aiida_softclay.analysis.collective import collective_displacement
from aiida_softclay.analysis.conformation import find_bridges
from aiida_softclay.analysis.coordination import coordination_numbers
from aiida_softclay.analysis.density_map import density_map
from aiida_softclay.analysis.displacement import mean_squared_displacement
from aiida_softclay.analysis.displacement_classes import mobility_classes, total_displacements
from aiida_softclay.analysis.hops import hop_statistics, nearest_units
from aiida_softclay.analysis.rdf import radial_distribution
from aiida_softclay.analysis.trajectory import ArrayTrajectory

BONDS = {('Al', 'Cl'): 2.8}
FRAME, ATOM = 7, 5
#: Atom 5 is a chlorine, the second one of its species and the third of the bonds.
SYMBOLS = np.array(['Li', 'Al', 'Li', 'Cl', 'Li', 'Cl', 'Al', 'Cl', 'Cl'] * 4)
ANALYSES = {
    'anion_motion': lambda run: anion_motion(run, BONDS, residence_ps=2.0),
    'bond_lifetime': lambda run: bond_lifetime(run, ('Al', 'Cl'), 2.8),
    'chains': lambda run: chain_statistics(run, 'Al', BONDS, n_frames=None),
    'class_rdf': lambda run: class_radial_distribution(
        run, {'first': SYMBOLS == 'Li', 'second': SYMBOLS == 'Al'}, [('first', 'second')], r_max=5.0, n_frames=None
    ),
    'collective': lambda run: collective_displacement(run, ['Li']),
    'conformation': lambda run: find_bridges(run, FRAME, anion='Cl'),
    'coordination': lambda run: coordination_numbers(run, BONDS, n_frames=None),
    'density_map': lambda run: density_map(run, 'Li'),
    'displacements': total_displacements,
    'hops': lambda run: hop_statistics(run, BONDS, residence_ps=2.0),
    'mean_squared_displacement': lambda run: mean_squared_displacement(run, ['Cl']),
    'mobility_classes': lambda run: mobility_classes(run, 'Li'),
    'nearest_units': lambda run: nearest_units(run, 'Cl', 'Al', 2.8),
    'rdf': lambda run: radial_distribution(run, [('Al', 'Cl')], r_max=5.0, n_frames=None),
}


@pytest.fixture
def positions():
    """A gas that is not dense enough for its atoms to matter, over 20 frames."""
    rng = np.random.default_rng(3)
    return rng.uniform(0, 14, size=(SYMBOLS.size, 3)) + 0.05 * rng.normal(size=(20, SYMBOLS.size, 3)).cumsum(axis=0)


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('name', ANALYSES)
def test_frame_and_atom_are_named(positions, name, value):
    positions[FRAME, ATOM, 1] = value
    positions[FRAME + 1 :, ATOM + 2] = value
    positions[-1] = positions[0]
    run = ArrayTrajectory(positions, 14.0 * np.eye(3), SYMBOLS)
    with pytest.raises(ValueError, match=rf'1 positions of frame {FRAME} are not finite .*that of atom {ATOM}\)'):
        ANALYSES[name](run)


def test_frames_outside_of_those_that_are_asked_for_do_not_matter(positions):
    whole = total_displacements(ArrayTrajectory(positions, 14.0 * np.eye(3), SYMBOLS), 2, 6)
    positions[FRAME:] = np.nan
    broken = ArrayTrajectory(positions, 14.0 * np.eye(3), SYMBOLS)
    assert total_displacements(broken, 2, 6) == pytest.approx(whole)
