"""Pair distributions, chains, polyhedra and bond lifetimes of a run as calcfunctions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.bond_lifetime import BondLifetime, bond_lifetime
from aiida_softclay.analysis.census import CensusOverTime, census_over_time
from aiida_softclay.analysis.chains import LINK_CUTOFF, ChainStatistics, chain_statistics
from aiida_softclay.analysis.coordination import Coordination, Estimate, coordination_numbers
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.rdf import BondCutoff, RadialDistribution, bond_cutoffs, radial_distribution
from aiida_softclay.analysis.statistics import block_average
from aiida_softclay.analysis.structure_quantities import census_quantities, chain_quantities, lifetime_quantity
from aiida_softclay.analysis.trajectory import Trajectory, check_pairs, select_frames, species_of, times_ps_of
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.series_options import (
    Pair,
    bonds_given,
    cutoff_context,
    cutoff_warnings,
    cutoffs_of,
    lengths_given,
    pair_of,
    read_options,
    run_context,
    start_frame,
    with_given,
)
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed
from aiida_softclay.data.trajectory import MdTrajectoryData

#: Keys of the parameters that may be left out, with their defaults. Lengths in Å; ``pairs`` and the keys of ``cutoffs``
#: are written ``Li-Cl``; a cutoff that is not given is the first minimum of g(r).
PAIR_DEFAULTS: dict[str, Any] = {
    'pairs': [], 'cutoffs': {}, 'r_max': 8.0, 'bin_width': 0.05, 'n_frames': 20, 'start_ps': 0.0, 'context': {},
}  # fmt: skip
#: The largest distance of two linked atoms is that of qyang2025.
CHAIN_DEFAULTS: dict[str, Any] = {
    'centre': 'Al', 'link_cutoff': LINK_CUTOFF, 'n_frames': 100, 'start_ps': 0.0, 'context': {},
}  # fmt: skip
CENSUS_DEFAULTS: dict[str, Any] = {'n_frames': 100, 'start_ps': 0.0, 'context': {}}
#: ``release_cutoffs``: beyond which distance a bond is broken, the cutoff itself where none is given.
LIFETIME_DEFAULTS: dict[str, Any] = {'release_cutoffs': {}, 'n_origins': 10, 'start_ps': 0.0, 'context': {}}


@calcfunction
def analyse_pair_distributions(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return partial radial distribution functions, running coordination and coordination numbers.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Any run.
    parameters : Dict
        Optionally the keys of :data:`PAIR_DEFAULTS`: ``pairs`` (central element and neighbour, ``['Li-Cl']``; all
        combinations by default), ``cutoffs`` (pair to Å), ``r_max`` and ``bin_width`` in Å, ``n_frames``, ``start_ps``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: radii, g with its error and running coordination
        of each pair).
    """
    try:
        options = read_options(parameters, PAIR_DEFAULTS)
        with trajectory.open_trajectory() as frames:
            start = start_frame(frames, options['start_ps'])
            species = species_of(frames)
            named = [pair_of(text) for text in options['pairs']]
            pairs = named or list(combinations_with_replacement(species, 2))
            found = radial_distribution(
                frames, pairs, r_max=options['r_max'], bin_width=options['bin_width'], n_frames=options['n_frames'],
                start=start,
            )  # fmt: skip
            given = lengths_given(options)
            check_pairs(list(given), species)
            # Whichever way round it is written, it is the bond of the pair that was computed.
            given = {pair[::-1] if pair[::-1] in found.pairs else pair: length for pair, length in given.items()}
            cutoffs = with_given(bond_cutoffs([found]), given)
            # One bond, one cutoff, seen from both of its ends.
            lengths = {pair: cutoff.cutoff for pair, cutoff in cutoffs.items()}
            if not named:
                lengths |= {(second, first): length for (first, second), length in lengths.items()}
            coordinations = coordination_numbers(frames, lengths, options['n_frames'], start)
            context = run_context(trajectory, frames, options, start)
        context |= {'frames_used': found.n_frames, 'cutoffs': cutoff_context(cutoffs)}
        quantities = [*_shell_numbers(found, cutoffs), *_coordination_numbers(coordinations, cutoffs, found.n_frames)]
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _pair_curve(found)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


@calcfunction
def analyse_chains(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return how many tetrahedra are isolated, how long the chains of the others are and what bridges them.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Any run.
    parameters : Dict
        ``bonds`` (bridging element to the bond length in Å, or to null for the first minimum of g(r)), and optionally
        the keys of :data:`CHAIN_DEFAULTS`: ``centre``, ``link_cutoff`` in Å, ``n_frames``, ``start_ps``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: isolated share and mean length over time, share
        and number of chains of each length).
    """
    try:
        options = read_options(parameters, CHAIN_DEFAULTS, ('bonds',))
        link = options['link_cutoff']
        with trajectory.open_trajectory() as frames:
            start = start_frame(frames, options['start_ps'])
            cutoffs = _bonds_of(frames, options, start)
            lengths = {pair: cutoff.cutoff for pair, cutoff in cutoffs.items()}
            found = chain_statistics(frames, options['centre'], lengths, link, options['n_frames'], start)
            times = times_ps_of(frames)[list(found.frames)]
            context = run_context(trajectory, frames, options, start)
        context |= {'frames_used': len(found.frames), 'link_cutoff_A': link, 'cutoffs': cutoff_context(cutoffs)}
        quantities = [
            *_noted(chain_quantities(found, link), cutoffs),
            *_coordination_numbers(found.coordination, cutoffs, len(found.frames)),
        ]
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _chain_curve(found, times)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


@calcfunction
def analyse_census(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return the shares of the coordination polyhedra and how far the anions have exchanged, over time.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Any run.
    parameters : Dict
        ``centre`` (the cation), ``bonds`` (anion to the bond length in Å, or to null for the first minimum of g(r)),
        and optionally the keys of :data:`CENSUS_DEFAULTS`: ``n_frames``, ``start_ps``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: time, share of each polyhedron, share of the bonds
        that goes to each anion with its error over the cations).
    """
    try:
        options = read_options(parameters, CENSUS_DEFAULTS, ('centre', 'bonds'))
        with trajectory.open_trajectory() as frames:
            start = start_frame(frames, options['start_ps'])
            cutoffs = _bonds_of(frames, options, start)
            lengths = {pair: cutoff.cutoff for pair, cutoff in cutoffs.items()}
            coordinations = coordination_numbers(frames, lengths, options['n_frames'], start)
            times = times_ps_of(frames)
            times = times[select_frames(len(times), options['n_frames'], start)]
            context = run_context(trajectory, frames, options, start)
        census = census_over_time(coordinations.values())
        context |= {'frames_used': len(times), 'cutoffs': cutoff_context(cutoffs)}
        quantities = [
            *_noted(census_quantities(census, lengths), cutoffs),
            *_noted(_exchange_numbers(census), cutoffs),
            *_coordination_numbers(coordinations, cutoffs, len(times)),
        ]
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _census_curve(census, times)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


@calcfunction
def analyse_bond_lifetimes(trajectory: MdTrajectoryData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return how long bonds last; where none breaks, the time that they last at least.

    Parameters
    ----------
    trajectory : MdTrajectoryData
        Equally spaced frames, all of which are read.
    parameters : Dict
        ``bonds`` (pair such as ``Al-Cl`` to the bond length in Å, or to null for the first minimum of g(r)), and
        optionally the keys of :data:`LIFETIME_DEFAULTS`: ``release_cutoffs`` (pair to Å), ``n_origins``, ``start_ps``.

    Returns
    -------
    dict
        ``results`` (Dict, results schema) and ``curve`` (ArrayData: lag time, survival and persistence of each bond
        with their errors).
    """
    try:
        options = read_options(parameters, LIFETIME_DEFAULTS, ('bonds',))
        given = {pair_of(text): length for text, length in bonds_given(options).items()}
        release = lengths_given(options, 'release_cutoffs')
        if unknown := [pair for pair in release if pair not in given]:
            raise ValueError(f'release_cutoffs names {"-".join(unknown[0])}, which is none of the bonds')
        with trajectory.open_trajectory() as frames:
            start = start_frame(frames, options['start_ps'])
            cutoffs = cutoffs_of(frames, given, start)
            found = [
                bond_lifetime(frames, pair, cutoff.cutoff, release.get(pair), options['n_origins'], start)
                for pair, cutoff in cutoffs.items()
            ]
            context = run_context(trajectory, frames, options, start)
        context |= {'cutoffs': cutoff_context(cutoffs)}
        quantities = [
            row
            for bond in found
            for row in _noted(
                _lifetime_numbers(bond, cutoffs[bond.pair].cutoff, release.get(bond.pair)),
                {bond.pair: cutoffs[bond.pair]},
            )
        ]
        return {'results': orm.Dict(results_dict(quantities, **context)), 'curve': _lifetime_curve(found)}
    except (ValueError, KeyError) as error:
        return analysis_failed(error)


def _bonds_of(frames: Trajectory, options: dict[str, Any], start: int) -> dict[Pair, BondCutoff]:
    centre = str(options['centre'])
    return cutoffs_of(frames, {(centre, anion): length for anion, length in bonds_given(options).items()}, start)


def _noted(quantities: Iterable[Quantity], cutoffs: dict[Pair, BondCutoff]) -> Iterator[Quantity]:
    notes = cutoff_warnings(cutoffs.values())
    for quantity in quantities:
        yield replace(quantity, warnings=[*quantity.warnings, *notes])


def _number(
    name: str, estimate: Estimate, definition: str, frames: int, unit: str = '1', warnings: Sequence[str] = ()
) -> Quantity:
    return Quantity(
        name=name, value=estimate.value, error=estimate.error, unit=unit, definition=definition,
        n_samples=estimate.n_samples, error_method=estimate.method, frames_used=frames, warnings=list(warnings),
    )  # fmt: skip


def _shell_numbers(found: RadialDistribution, cutoffs: dict[Pair, BondCutoff]) -> Iterator[Quantity]:
    """Yield where the first shell of each pair has its peak and its end."""
    half_bin = 0.5 * float(found.edges[1] - found.edges[0])
    for pair in found.pairs:
        name, cutoff = '-'.join(pair), cutoffs[pair]
        shown = {'given': 'the cutoff was given'}.get(cutoff.method, cutoff.method.partition(': ')[2])
        rows = [
            ('first_peak', cutoff.peak, 'highest in the bond peak', 'there is no bond peak above 1'),
            ('first_minimum', math.nan if shown else cutoff.cutoff, 'lowest behind the bond peak', shown),
        ]
        for kind, value, where, reason in rows:
            known = math.isfinite(value)
            estimate = Estimate(value, half_bin if known else math.nan, 1, 'half a bin of g(r)')
            yield _number(
                f'{kind}.{name}', estimate, f'distance at which g(r) of {name} is {where}', found.n_frames, 'Å',
                [] if known else [f'it was not found: {reason}'],
            )  # fmt: skip


def _coordination_numbers(
    coordinations: dict[Pair, Coordination], cutoffs: dict[Pair, BondCutoff], n_frames: int
) -> Iterator[Quantity]:
    for (central, other), table in coordinations.items():
        cutoff = cutoffs.get((central, other)) or cutoffs[other, central]
        yield _number(
            f'coordination.{central}-{other}', table.mean,
            f'mean number of {other} within {cutoff.cutoff:.2f} Å of {central}', n_frames,
            warnings=cutoff_warnings([cutoff]),
        )  # fmt: skip


def _exchange_numbers(census: CensusOverTime) -> Iterator[Quantity]:
    """Yield which share of the bonds goes to each anion: in the mean, in the first and in the last frame."""
    n_frames, n_central = census.kind_of.shape
    among = ' + '.join(f'n({census.central}–{anion})' for anion in census.anions)
    for anion in census.anions:
        name = f'anion_share.{census.central}-{anion}'
        text = (
            f'n({census.central}–{anion}) / [{among}], summed over all {census.central}: the extent of exchange if '
            f'{anion} is the new anion (gupta2023)'
        )
        values, errors = census.extent(anion)
        average, sampling = block_average(values), math.sqrt(float(np.mean(errors**2)))
        mean = Estimate(average.mean, sampling, n_central, f'spread over {census.central}')
        if math.isfinite(average.error) and not sampling > average.error:
            mean = Estimate(average.mean, average.error, average.n_blocks, 'block averages over frames')
        yield _number(name, mean, text, n_frames)
        for row, which in ((0, 'first'), (-1, 'last')):
            estimate = Estimate(float(values[row]), float(errors[row]), n_central, f'spread over {census.central}')
            yield _number(f'{name}.{which}', estimate, f'{text}, in the {which} frame', 1)


def _lifetime_numbers(bond: BondLifetime, cutoff: float, release: float | None) -> Iterator[Quantity]:
    name = '-'.join(bond.pair)
    conditions = {
        'cutoff_A': cutoff, 'release_cutoff_A': cutoff if release is None else release, 'n_broken': bond.n_broken,
        'n_bonds': bond.n_bonds, 'interval_ps': float(bond.times_ps[1]),
    }  # fmt: skip
    yield replace(lifetime_quantity(bond), conditions=conditions)
    if math.isfinite(bond.lower_bound_ps):
        yield Quantity(
            name=f'bond_lifetime_lower_bound.{name}', value=bond.lower_bound_ps, error=None, unit='ps',
            definition=f'lifetime of a {name} bond that is exceeded with 95 % confidence, as none broke: the time that '
            'all bonds were seen together, over 3', n_samples=1, error_method='none: a bound', conditions=conditions,
        )  # fmt: skip


def _pair_curve(found: RadialDistribution) -> orm.ArrayData:
    columns: dict[str, tuple[Any, str]] = {'radii': (found.radii, 'Å'), 'upper_edges': (found.edges[1:], 'Å')}
    for row, (central, other) in enumerate(found.pairs):
        columns[f'g_{central}_{other}'] = (found.g[row], '1')
        columns[f'g_error_{central}_{other}'] = (found.g_error[row], '1')
        columns[f'coordination_{central}_{other}'] = (found.coordination[row], '1')
    node = columns_node(columns)
    node.base.attributes.set('pairs', ['-'.join(pair) for pair in found.pairs])
    return node


def _chain_curve(found: ChainStatistics, times: np.ndarray) -> orm.ArrayData:
    shares = found.shares.values()
    return columns_node(
        {
            'time': (times, 'ps'), 'isolated': (found.isolated_per_frame, '1'),
            'mean_length': (found.mean_length_per_frame, '1'), 'length': (list(found.shares), '1'),
            'share': ([share.value for share in shares], '1'), 'share_error': ([share.error for share in shares], '1'),
            'number': ([found.numbers[length] for length in found.shares], '1'),
        }
    )  # fmt: skip


def _census_curve(census: CensusOverTime, times: np.ndarray) -> orm.ArrayData:
    columns: dict[str, tuple[Any, str]] = {'time': (times, 'ps')}
    for kind, name in enumerate(census.names):
        columns[f'share_{name}'] = (census.shares_per_frame[:, kind], '1')
    for anion in census.anions:
        values, errors = census.extent(anion)
        columns |= {f'anion_share_{anion}': (values, '1'), f'anion_share_error_{anion}': (errors, '1')}
    return columns_node(columns)


def _lifetime_curve(found: list[BondLifetime]) -> orm.ArrayData:
    columns: dict[str, tuple[Any, str]] = {'lag_time': (found[0].times_ps, 'ps')}
    for bond in found:
        label = '_'.join(bond.pair)
        for kind in ('survival', 'persistence'):
            columns[f'{kind}_{label}'] = (getattr(bond, kind), '1')
            columns[f'{kind}_error_{label}'] = (getattr(bond, f'{kind}_error'), '1')
    return columns_node(columns)
