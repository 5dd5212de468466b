"""Thermodynamics with provenance: cells of competing phases, tables of their energies, and the numbers from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import spglib
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_softclay.analysis.electrochemical_window import electrochemical_window
from aiida_softclay.analysis.hull_energy import hull_energies
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.analysis.reaction_energy import mixed_composition, reaction_at_ratio, reaction_energies
from aiida_softclay.analysis.screening import ScreenedPair, screen_pair
from aiida_softclay.analysis.thermodynamics import (
    ENTRIES_SCHEMA,
    EntriesError,
    PhaseEntry,
    parse_entries,
    phase_set,
)
from aiida_softclay.calcfunctions.structures import to_structure
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.vasp_steps import VaspSummary
from aiida_softclay.data.vasprun import VasprunError, iter_vasprun
from aiida_softclay.structures.crystals import phase

#: The energy that VASP extrapolates to zero smearing; that of the Materials Project.
ENERGY_KIND = 'e_0_energy'
#: A cell that changed its volume by more may have become another phase, or lacks a dispersion correction.
LARGE_VOLUME_CHANGE = 0.2
#: Distance within which sites are equivalent, Å; positions of the library are given to 1e-4 of a lattice vector.
SYMMETRY_TOLERANCE = 1e-3
PER_ATOM = 'meV/atom'
#: What makes energies of one program differ by more than those of two products do.
ENGINE_TAGS = {
    'encut_eV': 'ENCUT', 'ivdw': 'IVDW', 'metagga': 'METAGGA', 'hybrid': 'LHFCALC', 'ldau': 'LDAU',
}  # fmt: skip


def primitive_cell(atoms: Atoms) -> Atoms:
    """Return the primitive cell, atoms grouped by element."""
    found = spglib.find_primitive(
        (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers), symprec=SYMMETRY_TOLERANCE
    )
    if found is not None and np.linalg.det(found[0]) > 0:
        lattice, positions, numbers = found
        atoms = Atoms(numbers, cell=lattice, scaled_positions=positions, pbc=True)
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    order = sorted(range(len(atoms)), key=lambda index: symbols.index(atoms.symbols[index]))
    return atoms[order]


@calcfunction
def build_phase(parameters: orm.Dict) -> orm.StructureData:
    """Return the primitive cell of a crystal of the library; ``parameters`` holds ``crystal``, its id."""
    entry = phase(parameters['crystal'])
    node = to_structure(primitive_cell(entry.to_atoms()), entry.id)
    node.description = f'{entry.name or entry.id}; {entry.source}; confidence {entry.confidence}'
    return node


def read_phase(name: str, about: Mapping[str, Any], folder: orm.FolderData) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row of a phase from the ``vasprun.xml`` of its last run, and the record of the engine.

    Raises
    ------
    EntriesError
        If the file is missing or broken, or its last step did not converge.
    """
    summary = VaspSummary(ENERGY_KIND)
    last = None
    steps_read = 0
    try:
        with folder.base.repository.open('vasprun.xml', mode='rb') as handle:
            for block in iter_vasprun(handle, summary, frames_per_block=1):
                last, steps_read = block, summary.n_steps
    except (FileNotFoundError, VasprunError) as error:
        raise EntriesError(f'{name}: vasprun.xml cannot be read: {error}') from error
    if last is None or steps_read != summary.n_steps or summary.truncated:
        raise EntriesError(f'{name}: the last step of its vasprun.xml is cut or did not converge')
    counts = {symbol: last.symbols.count(symbol) for symbol in dict.fromkeys(last.symbols)}
    volume = float(abs(np.linalg.det(last.cells[0])))
    engine = ', '.join([
        engine_text(summary.engine), *(f'{tag} {summary.engine[key]}' for key, tag in ENGINE_TAGS.items()
                                       if key in summary.engine),
    ])  # fmt: skip
    entry = PhaseEntry(name, counts, float(last.energies[0]), engine, source=str(about['source']))
    row = {**entry.as_dict(), 'volume_A3': volume, 'volume_change': volume / float(about['volume_A3']) - 1}
    row['library'] = bool(about['library'])
    return row, summary.engine


@calcfunction
def collect_entries(parameters: orm.Dict, **retrieved: orm.FolderData) -> orm.Dict:
    """Return the table of all phases.

    ``parameters``: ``phases`` (id to ``source``, the uuid of the run, ``volume_A3`` of the cell before it was relaxed,
    and whether it is of the ``library``), ``settings`` (what they were computed with) and ``missing`` (id of a phase
    without an energy to the reason). ``retrieved`` are the folders by id.

    Raises
    ------
    EntriesError
        If a run cannot be read, or the engines differ.
    """
    given = parameters.get_dict()
    rows, engine = [], {}
    for name in sorted(retrieved):
        row, engine = read_phase(name, given['phases'][name], retrieved[name])
        rows.append(row)
    parse_entries(rows)
    # What differs from element to element says nothing about all of them.
    shared = {key: value for key, value in engine.items() if key != 'potentials'}
    return orm.Dict({
        'schema': ENTRIES_SCHEMA, 'entries': rows, 'engine': shared, 'energy_kind': ENERGY_KIND,
        'settings': given.get('settings', {}), 'missing': given.get('missing', {}),
    })  # fmt: skip


def _warnings(content: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the numbers must know about the table."""
    sentences = [f'{name} is not in the table: {reason}.' for name, reason in (content.get('missing') or {}).items()]
    return sentences + [
        f'{row["id"]} changed its volume by {row["volume_change"]:+.0%} when relaxed: look at its structure.'
        for row in content['entries']
        if abs(row.get('volume_change') or 0.0) > LARGE_VOLUME_CHANGE
    ]


def _quantity(name: str, value: float | None, error: float | None, unit: str, definition: str, **rest: Any) -> Quantity:
    """Return a number of a table, whose errors are those of its entries."""
    scale = 1000.0 if unit == PER_ATOM else 1.0
    return Quantity(
        name, None if value is None else scale * value, None if error is None else scale * error, unit, definition,
        error_method='' if error is None else 'errors of the entries, taken as independent', **rest,
    )  # fmt: skip


def summarise_thermodynamics(content: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of a table of phases in the schema of all results.

    Parameters
    ----------
    content : mapping
        The table, see :func:`~aiida_softclay.analysis.thermodynamics.parse_entries`.
    parameters : mapping
        ``salts`` (two ids or formulas); and optionally ``moles`` (of each salt, for the reaction and the window at
        that ratio; otherwise those of the largest driving force), ``ion`` (element of the mobile ion; no window
        without it), ``charge``, ``hull`` (ids or formulas, all if not given), ``molecular_solids`` (further formulas).

    Raises
    ------
    EntriesError
        If the table or the parameters cannot be used.
    """
    entries = parse_entries(content)
    first, second = parameters['salts']
    profile = reaction_energies(entries, first, second)
    best, about = profile.best, profile.phase_set
    warnings = _warnings(content)
    if best.error is None:
        warnings.append('The table gives no errors; the error of the engine itself is never part of them.')
    count = {'n_samples': len(about.ids), 'conditions': {'phase_set': about.statement}, 'warnings': warnings}
    against = f'Phases considered: {", ".join(about.ids)}.'
    quantities = [
        _quantity(
            'reaction_energy', best.energy, best.error, PER_ATOM,
            'Most negative E_hull(x A + (1 - x) B) - x E(A) - (1 - x) E(B) over all ratios x, per atom of the '
            f'reactants (Richards et al., Chem. Mater. 28, 266 (2016)): {best.equation}. {against}', **count,
        ),
    ]  # fmt: skip
    moles = dict(parameters.get('moles') or best.moles)
    # Pure salts take their window as one to one.
    if len(moles) < 2:
        moles = dict.fromkeys(profile.salts, 1.0)
    mixture = ' + '.join(f'{amount:.4g} {name}' for name, amount in moles.items())
    context: dict[str, Any] = {}
    if parameters.get('moles'):
        mixed = reaction_at_ratio(entries, moles)
        context['reaction_at_ratio'] = mixed.as_dict()
        quantities.append(_quantity(
            'reaction_energy_at_ratio', mixed.energy, mixed.error, PER_ATOM,
            f'Energy of the best products of {mixture} minus that of the salts, per atom: {mixed.equation}. {against}',
            **count,
        ))  # fmt: skip
    if parameters.get('ion'):
        numbers, context['window'] = _window_quantities(entries, moles, mixture, parameters, count)
        quantities += numbers
    hull = hull_energies(entries, parameters.get('hull'))
    for row in hull:
        quantities.append(_quantity(
            f'energy_above_hull.{row.id}', row.above_hull, row.error, PER_ATOM,
            f'Energy of {row.formula} above the convex hull of the table, per atom; its error is that of the '
            f'distance to the other phases. {against}', **count,
        ))  # fmt: skip
    context['hull'] = [
        {'id': row.id, 'formula': row.formula, 'stable': row.stable, 'distance_eV_atom': row.distance,
         'decomposition': dict(row.decomposition)}
        for row in hull
    ]  # fmt: skip
    solids = parameters.get('molecular_solids') or ()
    asked = list((parameters.get('moles') or {}).values())
    x = asked[0] / asked[1] if len(asked) == 2 else None
    screened = screen_pair(entries, *(moles if x is not None else (first, second)), x, solids)
    return results_dict(
        quantities, engine=entries[0].engine, phase_set=phase_set(entries).as_dict(), salts=list(profile.salts),
        missing_phases=dict(content.get('missing') or {}), best_reaction=best.as_dict(),
        reactions=[reaction.as_dict() for reaction in profile.reactions],
        screening=screened.as_dict(), **context,
    )  # fmt: skip


def _window_quantities(
    entries: Sequence[PhaseEntry],
    moles: Mapping[str, float],
    mixture: str,
    parameters: Mapping[str, Any],
    count: Mapping[str, Any],
) -> tuple[list[Quantity], dict[str, Any]]:
    """Return both ends of the window of a mixture and its equilibria; a sentence where there is none."""
    ion = str(parameters['ion'])
    try:
        window = electrochemical_window(entries, mixed_composition(entries, moles), ion, parameters.get('charge'))
    except EntriesError as error:
        return [], {'mixture': mixture, 'reason': f'no window: {error}'}
    quantities = []
    for name, value, error, what in (
        ('reduction_potential', window.reduction, window.reduction_error, 'takes up'),
        ('oxidation_potential', window.oxidation, window.oxidation_error, 'gives off'),
    ):
        finite = value if np.isfinite(value) else None
        warnings = list(count['warnings'])
        if finite is None:
            warnings.append(f'{mixture} has no {ion} to give: no upper end.')
        quantities.append(_quantity(
            name, finite, error if finite is not None else None, 'V',
            f'Potential against {ion} metal beyond which the equilibrium phases of {mixture} {what} {ion}, from the '
            f'grand-potential phase diagram open to {ion} (Ong et al., Chem. Mater. 20, 1798 (2008); yang2024).',
            **{**count, 'warnings': warnings},
        ))  # fmt: skip
    return quantities, {'mixture': mixture, **window.as_dict(), 'phase_set': window.phase_set.statement}


@calcfunction
def assess_thermodynamics(entries: orm.Dict, parameters: orm.Dict) -> orm.Dict:
    """Return the results of a table of phases, see :func:`summarise_thermodynamics`."""
    return orm.Dict(summarise_thermodynamics(entries.get_dict(), parameters.get_dict()))


@calcfunction
def screen_salts(entries: orm.Dict, parameters: orm.Dict) -> orm.Dict:
    """Return pairs of salts against the criteria of gupta2023.

    ``parameters``: ``pairs`` (list of two ids or formulas each) and optionally ``molecular_solids``. The energies of
    reaction follow the results schema; ``pairs`` beside them is the table of criteria.
    """
    table = parse_entries(entries.get_dict())
    given = parameters.get_dict()
    solids = given.get('molecular_solids') or ()
    screened = [screen_pair(table, *pair, more_molecular_solids=solids) for pair in given['pairs']]
    about = phase_set(table)
    notes = _warnings(entries.get_dict())
    energies = [_pair_energy(pair, about.statement, len(about.ids), notes) for pair in screened]
    # A pair that is asked for twice has one energy.
    results = results_dict(
        {energy.name: energy for energy in energies}.values(), engine=table[0].engine, phase_set=about.as_dict()
    )
    return orm.Dict({**results, 'pairs': [pair.as_dict() for pair in screened], 'phase_set': about.as_dict()})


def _pair_energy(pair: ScreenedPair, statement: str, n_phases: int, warnings: list[str]) -> Quantity:
    """Return the driving force of a pair of salts; without a value where the table lacks one of them."""
    name, reaction = f'reaction_energy.{pair.first}-{pair.second}', pair.reaction
    notes = list(warnings) + ([pair.contradicts] if pair.contradicts else [])
    if reaction is None:
        notes.append(f'The table lacks {pair.first} or {pair.second}: there is no energy of their reaction.')
    equation = '' if reaction is None else f': {reaction.equation}'
    return _quantity(
        name, None if reaction is None else reaction.energy, None if reaction is None else reaction.error, PER_ATOM,
        'Most negative energy of reaction of the two salts over all ratios, per atom of the reactants (Richards et '
        f'al., Chem. Mater. 28, 266 (2016)){equation}', n_samples=n_phases, conditions={'phase_set': statement},
        warnings=notes,
    )  # fmt: skip
