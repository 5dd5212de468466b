"""The analyses of trajectories by name, and what each takes: for jobs that run one where the data are.

The calcfunctions are named here and imported when one is looked up.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiida import orm

from aiida_softclay.data.trajectory import MdTrajectoryData

#: Name of an analysis to the calcfunction that does it.
ANALYSES = {
    'anion_motion': 'aiida_softclay.calcfunctions.ion_motion:analyse_anion_motion',
    'anion_exchange': 'aiida_softclay.calcfunctions.structure_analysis:analyse_anion_exchange',
    'bond_lifetimes': 'aiida_softclay.calcfunctions.structure_series:analyse_bond_lifetimes',
    'boundary_mobility': 'aiida_softclay.calcfunctions.ion_motion:analyse_boundary_mobility',
    'census': 'aiida_softclay.calcfunctions.structure_series:analyse_census',
    'chains': 'aiida_softclay.calcfunctions.structure_series:analyse_chains',
    'conductivity': 'aiida_softclay.calcfunctions.transport:analyse_conductivity',
    'conformation': 'aiida_softclay.calcfunctions.conformation:analyse_conformation',
    'density_map': 'aiida_softclay.calcfunctions.density:analyse_density_map',
    'hops': 'aiida_softclay.calcfunctions.ion_motion:analyse_hops',
    'ionic_conductivity': 'aiida_softclay.calcfunctions.onsager:analyse_ionic_conductivity',
    'mobility_classes': 'aiida_softclay.calcfunctions.ion_motion:analyse_mobility_classes',
    'pair_distributions': 'aiida_softclay.calcfunctions.structure_series:analyse_pair_distributions',
    'phase_fit': 'aiida_softclay.calcfunctions.phase_fit:fit_measured_phases',
    'plasticity': 'aiida_softclay.calcfunctions.plasticity:analyse_plasticity',
    'scattering': 'aiida_softclay.calcfunctions.scattering:analyse_scattering',
}
PARAMETERS = 'parameters'


@dataclass(frozen=True)
class Analysis:
    """What an analysis takes.

    Attributes
    ----------
    name : str
        Key of :data:`ANALYSES`.
    function : callable
        The body of the calcfunction: nodes, stored or not, to nodes.
    trajectories, arrays : dict
        Names of its trajectories and of its time series, to whether each has to be given.
    """

    name: str
    function: Callable[..., Any]
    trajectories: dict[str, bool]
    arrays: dict[str, bool]

    def problem(self, trajectories: set[str], arrays: set[str]) -> str | None:
        """Return what is wrong with the names of the inputs given, or ``None``."""
        for what, taken, given in (('trajectory', self.trajectories, trajectories), ('array', self.arrays, arrays)):
            if missing := sorted(name for name, needed in taken.items() if needed and name not in given):
                return f'the analysis {self.name} lacks the {what} {", ".join(missing)}'
            if unknown := sorted(given - set(taken)):
                known = ', '.join(taken) or 'none'
                return f'the analysis {self.name} does not know the {what} {", ".join(unknown)}: it takes {known}'
        return None


def calcfunction_of(name: str) -> Callable[..., Any]:
    """Return the calcfunction of an analysis.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in ANALYSES:
        raise ValueError(f'there is no analysis {name!r}: choose from {", ".join(ANALYSES)}')
    module, _, attribute = ANALYSES[name].partition(':')
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def find_analysis(name: str) -> Analysis:
    """Return an analysis by its name.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    body = inspect.unwrap(calcfunction_of(name))
    hints = typing.get_type_hints(body)
    found: dict[type, dict[str, bool]] = {MdTrajectoryData: {}, orm.ArrayData: {}}
    for parameter in inspect.signature(body).parameters.values():
        kinds = [kind for kind in (hints[parameter.name], *typing.get_args(hints[parameter.name])) if kind in found]
        if kinds:
            found[kinds[0]][parameter.name] = parameter.default is inspect.Parameter.empty
    return Analysis(name, body, found[MdTrajectoryData], found[orm.ArrayData])
