"""Radial distribution, coordination and anion exchange as calcfunctions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.coordination import (
    AnionExchange,
    Coordination,
    Estimate,
    anion_exchange,
    change,
    coordination_numbers,
    exchange_pairs,
)
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.rdf import BondCutoff, RadialDistribution, bond_cutoffs, radial_distribution
from aiida_softclay.analysis.trajectory import ArrayTrajectory, Trajectory, n_frames_of, select_frames, times_ps_of
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.structures.composition import Mixture

#: Keys of the parameters of :func:`analyse_anion_exchange` that may be left out, with their defaults.
EXCHANGE_DEFAULTS: dict[str, Any] = {
    'partner': None,
    'r_max': 8.0,
    'bin_width': 0.05,
    'n_frames': 10,
    'before_ps': None,
    'after_ps': None,
    'context': {},
}

ERROR_ANALYSIS = 510

#: Relative deviation of the mean temperature from its target that is reported.
TEMPERATURE_TOLERANCE = 0.05


def analysis_failed(error: Exception) -> ExitCode:
    """Return the exit code of data that cannot be analysed, with the sentence that says why."""
    return ExitCode(ERROR_ANALYSIS, f'the analysis failed: {error}')


def exchange_parameters(mixture: str, **overrides: Any) -> dict[str, Any]:
    """Return the parameters of :func:`analyse_anion_exchange` for a mixture of two salts.

    The central cation is that of the higher charge (Ga in 2LiCl–GaF3), the old anion its own, the new anion and the
    partner cation those of the other salt.

    Raises
    ------
    ValueError
        If the mixture is not of two salts with one cation and one anion each, and different anions.
    """
    phases = Mixture.parse(mixture).phases
    ions = []
    for phase in phases:
        charges = {element: phase.oxidation_states[element] for element in phase.composition}
        cations = [element for element, charge in charges.items() if charge > 0]
        anions = [element for element, charge in charges.items() if charge < 0]
        if len(cations) != 1 or len(anions) != 1:
            raise ValueError(f'{phase.id} is not a salt of one cation and one anion: name the ions yourself')
        ions.append((charges[cations[0]], cations[0], anions[0]))
    if len(ions) != 2 or ions[0][2] == ions[1][2]:
        raise ValueError(f'{mixture} is not a mixture of two salts with different anions: there is nothing to exchange')
    partner, central = sorted(ions, key=lambda ion: ion[0])
    parameters = {'central': central[1], 'old_anion': central[2], 'new_anion': partner[2], 'partner': partner[1]}
    return {**parameters, **overrides}


@contextlib.contextmanager
def open_frames(node: orm.StructureData | MdTrajectoryData) -> Iterator[Trajectory]:
    """Open a trajectory, or a structure as a trajectory of one frame."""
    # In a job a trajectory is a file with the face of the node.
    if isinstance(node, orm.StructureData):
        atoms = node.get_ase()
        yield ArrayTrajectory(atoms.positions[None], atoms.cell[:], atoms.numbers)
    else:
        with node.open_trajectory() as trajectory:
            yield trajectory


class _Window:
    """Some frames of a trajectory as a trajectory of their own."""

    def __init__(self, trajectory: Trajectory, indices: list[int]) -> None:
        self.positions = np.concatenate([np.asarray(trajectory.positions[i : i + 1]) for i in indices])
        self.cells = np.array([trajectory.cells[i] for i in indices])
        self.atomic_numbers = np.asarray(trajectory.atomic_numbers)
        self.steps = np.array([trajectory.steps[i] for i in indices])
        self.timestep_ps = trajectory.timestep_ps


def _windows(trajectory: Trajectory, options: dict[str, Any]) -> tuple[_Window, _Window]:
    """Return the first and the last part of a run."""
    times = times_ps_of(trajectory) - times_ps_of(trajectory)[0]
    duration = float(times[-1])
    before = 0.02 * duration if options['before_ps'] is None else float(options['before_ps'])
    after = 0.2 * duration if options['after_ps'] is None else float(options['after_ps'])
    if before < 0 or after < 0 or before + after >= duration:
        raise ValueError(
            f'the first {before:g} ps and the last {after:g} ps do not fit in a run of {duration:g} ps: '
            'before_ps and after_ps must leave room between them'
        )
    first = int(np.searchsorted(times, before + 1e-9, side='right'))
    last = int(np.searchsorted(times, duration - after - 1e-9, side='left'))
    limit = options['n_frames']
    return _Window(trajectory, select_frames(first, limit)), _Window(
        trajectory, select_frames(len(times), limit, min(last, len(times) - 1))
    )


@calcfunction
def analyse_anion_exchange(
    trajectory: MdTrajectoryData | orm.StructureData, parameters: orm.Dict, reference: orm.Data | None = None
) -> dict[str, orm.Data] | ExitCode:
    """Compare the neighbours of the ions before and after a melt.

    Parameters
    ----------
    trajectory : MdTrajectoryData or StructureData
        The melt, whose first part is *before* and whose last part is *after*; all of it is *after* if there is a
        ``reference``.
    parameters : Dict
        ``central``, ``old_anion``, ``new_anion`` (Ga, F, Cl), optionally ``partner`` (Li), and the keys of
        :data:`EXCHANGE_DEFAULTS`: range and bins of g(r) in Å, frames per state, ``before_ps`` and ``after_ps``
        (lengths of the first and last part; 2 % and 20 % of the run by default).
    reference : MdTrajectoryData or StructureData, optional
        The state before.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: radii, g and running coordination of each pair
        before and after).
    """
    options = {**EXCHANGE_DEFAULTS, **parameters.get_dict()}
    try:
        missing = [key for key in ('central', 'old_anion', 'new_anion') if key not in options]
        if missing:
            raise ValueError(f'the parameters lack {", ".join(missing)}')
        with open_frames(trajectory) as after:
            if reference is not None:
                with open_frames(reference) as before:
                    chosen = options['n_frames']
                    states = (
                        _Window(before, select_frames(n_frames_of(before), chosen)),
                        _Window(after, select_frames(n_frames_of(after), chosen)),
                    )
            elif n_frames_of(after) < 2:
                raise ValueError('there is one frame only: give the state before as reference')
            else:
                states = _windows(after, options)
        context = {**_about(trajectory), **options['context']}
        return _compare(states, options, context)
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _about(node: Any) -> dict[str, Any]:
    if isinstance(node, orm.StructureData):
        return {'n_atoms': len(node.sites), 'formula': node.get_formula()}
    return {
        'n_atoms': node.n_atoms, 'formula': node.formula, 'stage': node.stage, 'engine': engine_text(node.engine),
        'duration_ps': (node.last_step - node.first_step) * node.timestep_ps,
    }  # fmt: skip


def temperature_notes(temperature: float, target: float | None) -> list[str]:
    """Return a sentence if the mean temperature (K) of a run is not the one that was asked for."""
    if target is None or abs(temperature / target - 1) <= TEMPERATURE_TOLERANCE:
        return []
    return [f'the mean temperature of the run is {temperature:.0f} K instead of {target:g} K: it was not equilibrated']


def _compare(states: tuple[Any, Any], options: dict[str, Any], context: dict[str, Any]) -> dict[str, orm.Data]:
    names = ('before', 'after')
    pairs = exchange_pairs(options['central'], options['old_anion'], options['new_anion'], options['partner'])
    distributions = [
        radial_distribution(
            state, pairs, r_max=float(options['r_max']), bin_width=float(options['bin_width']), n_frames=None
        )
        for state in states
    ]
    cutoffs = bond_cutoffs(distributions)
    lengths = {pair: found.cutoff for pair, found in cutoffs.items()}
    tables = [coordination_numbers(state, lengths, n_frames=None) for state in states]
    exchanges = [anion_exchange(table[pairs[0]], table[pairs[1]]) for table in tables]
    frames = {name: n_frames_of(state) for name, state in zip(names, states, strict=True)}
    context = {
        **context,
        'frames': frames,
        'steps': {name: [int(s.steps[0]), int(s.steps[-1])] for name, s in zip(names, states, strict=True)},
        'cutoffs': {
            '-'.join(pair): {'cutoff_A': found.cutoff, 'method': found.method} for pair, found in cutoffs.items()
        },
        'census': {
            name: {_complex(exchange, key): share for key, share in exchange.census.items()}
            for name, exchange in zip(names, exchanges, strict=True)
        },
    }
    quantities = [*_exchange_numbers(exchanges, cutoffs, frames), *_coordination_numbers(tables, cutoffs, frames)]
    return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _curve(distributions, names)}


def _complex(exchange: AnionExchange, key: tuple[int, int]) -> str:
    return f'{exchange.central}{exchange.old_anion}{key[0]}{exchange.new_anion}{key[1]}'


def _cutoff_warnings(cutoffs: dict[tuple[str, str], BondCutoff], pairs: list[tuple[str, str]]) -> list[str]:
    return [
        f'cutoff of {"–".join(pair)} is {cutoffs[pair].cutoff:.2f} Å by {cutoffs[pair].method}'
        for pair in pairs
        if cutoffs[pair].method.startswith('fallback')
    ]


def _number(name: str, estimate: Estimate, definition: str, frames: int, warnings: list[str]) -> Quantity:
    return Quantity(
        name=name, value=estimate.value, error=estimate.error, unit='1', definition=definition,
        n_samples=estimate.n_samples, error_method=estimate.method, frames_used=frames, warnings=warnings,
    )  # fmt: skip


def _exchange_numbers(
    exchanges: list[AnionExchange], cutoffs: dict[tuple[str, str], BondCutoff], frames: dict[str, int]
) -> Iterator[Quantity]:
    before, after = exchanges
    central, old, new = after.central, after.old_anion, after.new_anion
    warnings = _cutoff_warnings(cutoffs, [(central, old), (central, new)])
    extent = (
        f'share of the {central}–anion bonds that are {central}–{new}: n({central}–{new}) / '
        f'[n({central}–{old}) + n({central}–{new})]'
    )
    unit = (
        f'share of {central} with exactly four {new} and no {old} neighbours ({central}{new}3-like, gupta2023 Fig. 3b)'
    )
    for name, state in (('before', before), ('after', after)):
        yield _number(f'anion_exchange.{name}', state.extent, f'{extent}, {name}', frames[name], warnings)
    yield _number(
        'anion_exchange.change', change(before.extent, after.extent), f'change of the {extent}', sum(frames.values()),
        warnings,
    )  # fmt: skip
    for name, state in (('before', before), ('after', after)):
        yield _number(f'molecular_units.{name}', state.molecular_share, f'{unit}, {name}', frames[name], warnings)


def _coordination_numbers(
    tables: list[dict[tuple[str, str], Coordination]],
    cutoffs: dict[tuple[str, str], BondCutoff],
    frames: dict[str, int],
) -> Iterator[Quantity]:
    for pair in tables[0]:
        central, other = pair
        before, after = (table[pair].mean for table in tables)
        warnings = _cutoff_warnings(cutoffs, [pair])
        text = f'mean number of {other} within {cutoffs[pair].cutoff:.2f} Å of {central}'
        name = f'coordination.{central}-{other}'
        yield _number(f'{name}.before', before, f'{text}, before', frames['before'], warnings)
        yield _number(f'{name}.after', after, f'{text}, after', frames['after'], warnings)
        yield _number(f'{name}.change', change(before, after), f'change of the {text}', sum(frames.values()), warnings)


def _curve(distributions: list[RadialDistribution], names: tuple[str, str]) -> orm.ArrayData:
    """Return g(r) and running coordination of all pairs in one node."""
    columns = {'radii': (distributions[0].radii, 'Å')}
    for name, distribution in zip(names, distributions, strict=True):
        for row, pair in enumerate(distribution.pairs):
            label = f'{pair[0]}_{pair[1]}_{name}'
            for kind, values in (
                ('g', distribution.g[row]),
                ('g_error', distribution.g_error[row]),
                ('coordination', distribution.coordination[row]),
            ):
                columns[f'{kind}_{label}'] = (values, '1')
    curve = columns_node(columns)
    curve.base.attributes.set('pairs', ['-'.join(pair) for pair in distributions[0].pairs])
    return curve
