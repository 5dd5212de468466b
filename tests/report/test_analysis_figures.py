"""Panels of analyses: every one that has a panel is drawn from what its calcfunction gives."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from matplotlib import pyplot as plt

from aiida_softclay.calcfunctions.ion_motion import analyse_mobility_classes
from aiida_softclay.calcfunctions.onsager import analyse_ionic_conductivity
from aiida_softclay.calcfunctions.scattering import analyse_scattering
from aiida_softclay.calcfunctions.structure_series import (
    analyse_bond_lifetimes,
    analyse_census,
    analyse_chains,
    analyse_pair_distributions,
)
from aiida_softclay.calculations.analyses import ANALYSES
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.report.analysis_figures import CURVES, _panels

MOBILITY = {'species': 'Li', 'cutoffs': {'Cl': 3.2}, 'upper': 0.7, 'lower': 0.5}
pytestmark = pytest.mark.usefixtures('aiida_profile')


@pytest.fixture(scope='module')
def trajectory(aiida_profile, tmp_path_factory):
    """Rock salt whose ions drift and rattle."""
    atoms = bulk('LiCl', 'rocksalt', a=5.14, cubic=True).repeat(2)
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('run') / 'trajectory.h5'
    drift = np.cumsum(rng.normal(scale=0.05, size=(120, len(atoms), 3)), axis=0)
    with TrajectoryFile(path, 'w', atoms.numbers, 0.001, engine={'program': 'LAMMPS'}, stage='production') as target:
        for index, frame in enumerate(atoms.positions + drift):
            target.append(frame, atoms.cell[:], index * 100)
    return MdTrajectoryData.from_file(path).store()


def drawn(name, outputs):
    """Return the axes of every panel of an analysis by title, with what the calcfunction gave."""
    arrays = {key: node for key, node in outputs.items() if isinstance(node, orm.ArrayData)}
    found = {}
    for title, (node, draw) in _panels(name, outputs['results'], arrays).items():
        figure, axes = plt.subplots()
        draw(axes, node)
        figure.canvas.draw()
        found[title] = axes
        plt.close(figure)
    return found


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_every_panel_belongs_to_an_analysis():
    assert set(CURVES) - {'collective', 'glass_transition'} <= set(ANALYSES)


def test_pair_distributions_and_scattering(trajectory):
    outputs = analyse_pair_distributions(trajectory, orm.Dict({}))
    panels = drawn('pair_distributions', outputs)
    assert labels(panels['pair_distributions']) == ['Cl Cl', 'Li Cl', 'Li Li']
    assert panels['pair_distributions'].get_xlabel() == 'radii (Å)'
    line = panels['pair_distributions'].lines[1]
    assert np.array_equal(line.get_ydata(), outputs['curve'].get_array('g_Li_Cl'))
    assert len(panels['pair_distributions'].collections) == 3, 'a band for the error of each'
    assert set(drawn('scattering', analyse_scattering(trajectory, orm.Dict({})))) == {
        'structure_factor', 'reduced_pdf'
    }  # fmt: skip


def test_bonds_polyhedra_and_chains(trajectory):
    census = drawn('census', analyse_census(trajectory, orm.Dict({'centre': 'Li', 'bonds': {'Cl': 3.2}})))
    assert any(text.startswith('LiCl') for text in labels(census['polyhedra']))
    chains = drawn('chains', analyse_chains(trajectory, orm.Dict({'centre': 'Li', 'bonds': {'Cl': 3.2}})))
    assert chains['chains'].patches
    lasting = drawn('bond_lifetimes', analyse_bond_lifetimes(trajectory, orm.Dict({'bonds': {'Li-Cl': 3.2}})))
    assert labels(lasting['bonds']) == ['Li Cl']


def test_transport(trajectory):
    thermo = orm.ArrayData({'temperature_K': 600.0 + np.random.default_rng(0).normal(size=50)})
    outputs = analyse_ionic_conductivity(trajectory, thermo, orm.Dict({'charges': {'Li': 1, 'Cl': -1}}))
    panels = drawn('ionic_conductivity', outputs)
    bars = [text.get_text() for text in panels['conductivities'].get_yticklabels()]
    assert {'total', 'Nernst–Einstein', 'self Li', 'distinct Li-Cl'} <= set(bars)
    assert panels['conductivities'].get_xlabel() == 'conductivity (mS/cm)'
    assert labels(panels['collective']) == ['Li', 'Cl']
    classes = drawn('mobility_classes', analyse_mobility_classes(trajectory, orm.Dict(MOBILITY)))
    assert set(classes) == {'displacements', 'classes'}
    assert classes['displacements'].lines
