"""Numbers of structure analysis fit the schema in which all results are kept."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_softclay.analysis.bond_lifetime import bond_lifetime
from aiida_softclay.analysis.census import census_over_time
from aiida_softclay.analysis.chains import chain_statistics
from aiida_softclay.analysis.quantity import check_results, results_dict
from aiida_softclay.analysis.structure_quantities import census_quantities, chain_quantities, lifetime_quantity
from aiida_softclay.analysis.trajectory import ArrayTrajectory


def test_numbers_of_two_dimers_and_a_loner():
    """Al–O–Al, Al–Cl–Al and a single AlCl, at rest."""
    positions = [[0, 0, 0], [1.7, 0, 0], [3.4, 0, 0], [0, 8, 0], [1.9, 8, 0], [3.8, 8, 0], [8, 8, 8], [10, 8, 8]]
    symbols = np.array(['Al', 'O', 'Al', 'Al', 'Cl', 'Al', 'Al', 'Cl'])
    trajectory = ArrayTrajectory(np.array([positions] * 5, dtype=float), np.eye(3) * 16.0, symbols)
    bonds = {('Al', 'O'): 2.2, ('Al', 'Cl'): 2.6}
    chains = chain_statistics(trajectory, 'Al', bonds)
    census = census_over_time(chains.coordination.values())
    quantities = [
        *chain_quantities(chains), *census_quantities(census, bonds),
        lifetime_quantity(bond_lifetime(trajectory, ('Al', 'Cl'), 2.6)),
    ]  # fmt: skip
    results = results_dict(quantities)
    check_results(results)
    values = {number['name']: number['value'] for number in results['numbers']}
    assert values == {
        'chains.Al.isolated': pytest.approx(0.2), 'chains.Al.mean_length': pytest.approx(5 / 3),
        'chains.Al.share.1': pytest.approx(0.2), 'chains.Al.share.2': pytest.approx(0.8),
        'chains.Al.bridge.O': pytest.approx(0.5), 'chains.Al.bridge.Cl': pytest.approx(0.5),
        'polyhedra.AlCl': pytest.approx(0.6), 'polyhedra.AlO': pytest.approx(0.4), 'bond_lifetime.Al-Cl': None,
    }  # fmt: skip
    # Three bonds seen for four steps of 1 ps, none broken: three events were expected at a lifetime of 4 ps.
    assert 'above 4 ps' in results['numbers'][-1]['warnings'][0]
    assert all(number['frames_used'] == 5 for number in results['numbers'][:-1])
