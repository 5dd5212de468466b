"""Panels of thermodynamics: reaction energies over mixing ratios, hull, electrochemical window, screening, Tg."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.registry import Panel, Source, panels_for
from aiida_softclay.report.style import (
    COLOURS,
    GREY,
    INK,
    errors_of_rows,
    headroom,
    label,
    legend,
    power_text,
    subscripts,
    unit_in,
    unit_of_rows,
)

#: Colour and sign of a verdict, so that it can be read without colour too.
VERDICTS = {'met': ('#009e73', '+'), 'not met': ('#d55e00', '–'), 'undecided': ('#c8c8c8', '?')}
#: Most phases whose energy above the hull is drawn: those nearest to it.
MOST_PHASES = 14


def equation_text(equation: str) -> str:
    """Return a reaction as it is printed.

    >>> equation_text('3 LiCl + 2 GaF3 -> GaCl3 + Li3GaF6')
    '3 LiCl + 2 GaF₃ → GaCl₃ + Li₃GaF₆'
    """
    return re.sub(r'(?<=[A-Za-z)])\d+', lambda match: subscripts(match.group()), equation).replace('->', '→')


@panels_for('thermodynamics', 'reaction_energy')
def thermodynamics(source: Source) -> Iterator[Panel]:
    """Yield reaction energies (gupta2023, Supplementary Fig. 8), hull energies, window and criteria."""
    if source.results is None:
        return
    context = source.context
    if context.get('reactions'):
        yield 'reaction_energies', source.results, lambda axes, _: _reactions(axes, context)
    if source.rows('energy_above_hull.'):
        yield 'hull', source.results, lambda axes, _: _hull(axes, source.rows('energy_above_hull.'))
    if (context.get('window') or {}).get('stages'):
        yield 'window', source.results, lambda axes, _: _window(axes, context['window'])
    if context.get('screening'):
        yield 'criteria', source.results, lambda axes, _: criteria_grid(axes, [context['screening']])


def _reactions(axes: Any, context: Mapping[str, Any]) -> None:
    """Draw the reaction energy per atom against the share of the atoms that are of the first salt."""
    reactions = context['reactions']
    shares = np.array([row['atomic_fraction'] for row in reactions])
    energies = 1000 * np.array([row['energy_eV_atom'] for row in reactions])
    # What does not react has no error, and a bar of none.
    errors = np.array([np.nan if not row['error_eV_atom'] else 1000 * row['error_eV_atom'] for row in reactions])
    axes.plot(shares, energies, color=COLOURS[0], zorder=2)
    axes.errorbar(shares, energies, yerr=errors, fmt='o', color=COLOURS[0], lw=0.8, zorder=3)
    best = int(np.argmin(energies))
    axes.plot(shares[best], energies[best], '*', ms=9, color=COLOURS[1], zorder=4)
    axes.axhline(0, color=GREY, lw=0.5, zorder=0)
    axes.annotate(
        f'{equation_text(reactions[best]["equation"])}\n{power_text(round(float(energies[best]), 1), 4)} meV/atom',
        (shares[best], energies[best] - np.nan_to_num(errors[best])),
        xytext=(0, -5), textcoords='offset points', ha='center' if 0.3 < shares[best] < 0.7 else 'left', va='top',
        fontsize=6, color=COLOURS[1], annotation_clip=False,
    )  # fmt: skip
    first, second = (subscripts(name) for name in context['salts'])
    axes.set(
        xlabel=f'share of the atoms in {first} (rest {second})', ylabel='reaction energy (meV/atom)', xlim=(0, 1),
        title=f'{first} with {second}',
    )  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.25 * (high - low), high)


def _hull(axes: Any, rows: list[dict[str, Any]]) -> None:
    chosen = sorted(rows, key=lambda row: row['value'])[:MOST_PHASES]
    names = [subscripts(row['name'].partition('.')[2]) for row in chosen]
    axes.errorbar([row['value'] for row in chosen], range(len(chosen)), xerr=errors_of_rows(chosen), fmt='o',
                  color=COLOURS[0], lw=0.8)  # fmt: skip
    axes.set_yticks(range(len(chosen)), names)
    axes.tick_params(axis='y', length=0)
    axes.invert_yaxis()
    axes.axvline(0, color=GREY, lw=0.5, zorder=0)
    axes.set(xlabel=label('energy above the hull', unit_of_rows(chosen)), title='Stability')


def _window(axes: Any, window: Mapping[str, Any]) -> None:
    """Draw the ions taken up at each potential, the window shaded and its ends with their errors."""
    stages = window['stages']
    lowest, last = stages[0]['lower_V'], max(stage['lower_V'] for stage in stages)
    end = last + 0.15 * max(last - lowest, 1.0)
    edges = [stage['lower_V'] for stage in stages] + [end]
    ions = [stage['ions'] for stage in stages]
    axes.stairs(ions, edges, baseline=None, color=COLOURS[0], lw=1.2)
    axes.axhline(0, color=GREY, lw=0.5, zorder=0)
    reduction, oxidation = window['reduction_V'], window['oxidation_V']
    axes.axvspan(reduction, end if oxidation is None else oxidation, color=COLOURS[2], alpha=0.2, lw=0)
    for name, text in (('reduction', 'reduction'), ('oxidation', 'oxidation')):
        value, error = window[f'{name}_V'], window.get(f'{name}_error_V')
        if value is None:
            continue
        shown = f'{value:.2f} V' if error is None else f'{value:.2f} ± {error:.2f} V'
        colour = COLOURS[1] if name == 'oxidation' else COLOURS[3]
        axes.errorbar(value, 0, xerr=error, fmt='|', ms=9, color=colour, lw=1.0, label=f'{text} at {shown}', zorder=4)
    ion = window['ion']
    axes.set(xlabel=f'potential against {ion} (V)', xlim=(edges[0], end), title='Electrochemical window')
    axes.set_ylabel(f'{ion} taken up per formula')
    headroom(axes, 0.2)
    legend(axes, loc='upper right')


@panels_for('screening')
def screening(source: Source) -> Iterator[Panel]:
    """Yield the criteria of several pairs of salts as a grid (gupta2023, Table 1)."""
    if source.results is not None and source.results.get_dict().get('pairs'):
        pairs = source.results.get_dict()['pairs']
        yield 'screening', source.results, lambda axes, _: criteria_grid(axes, pairs)


def criteria_grid(axes: Any, pairs: Sequence[Mapping[str, Any]]) -> None:
    """Draw which criteria each pair of salts meets, with its largest driving force and what was published.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    pairs : sequence of mapping
        Rows as :meth:`aiida_softclay.analysis.screening.ScreenedPair.as_dict` gives them.
    """
    from matplotlib.patches import Patch, Rectangle

    names = [criterion['name'] for criterion in pairs[0]['criteria']]
    for row, pair in enumerate(pairs):
        for column, criterion in enumerate(pair['criteria']):
            colour, sign = VERDICTS[criterion['verdict']]
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor='white', lw=1.5))
            text, ink = sign, 'white'
            if column == 0 and pair['reaction'] is not None:
                text = power_text(round(1000 * pair['reaction']['energy_eV_atom']))
            axes.text(column + 0.5, row + 0.5, text, ha='center', va='center', fontsize=6.5,
                      color=INK if criterion['verdict'] == 'undecided' else ink)  # fmt: skip
        known = (pair.get('published') or {}).get('clay')
        seen = {True: 'clay', False: 'no clay', None: 'not on record'}[known]
        axes.text(len(names) + 0.1, row + 0.5, seen, ha='left', va='center', fontsize=6)
    labels = [f'{subscripts(pair["first"])} + {subscripts(pair["second"])}' for pair in pairs]
    axes.set(xlim=(0, len(names) + 0.9), ylim=(len(pairs), 0), title='Criteria for a clay')
    axes.set_yticks(np.arange(len(pairs)) + 0.5, labels)
    headings = ['driving force\n(meV/atom)' if name == 'driving force' else name for name in names]
    axes.set_xticks([*(np.arange(len(names)) + 0.5), len(names) + 0.45], [*headings, 'experiment'])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    handles = [Patch(color=colour, label=f'{verdict} ({sign})') for verdict, (colour, sign) in VERDICTS.items()]
    axes.legend(handles=handles, loc='upper left', bbox_to_anchor=(0, -0.16), ncols=3, handlelength=1.0)


@panels_for('glass_transition')
def glass_transition(source: Source) -> Iterator[Panel]:
    """Yield specific volume against temperature (gupta2023, Supplementary Fig. 9)."""
    if source.curve is not None:
        yield (
            'glass_transition',
            source.curve,
            lambda axes, curve: volume_against_temperature(axes, curve, source.row('glass_transition_temperature')),
        )


def volume_against_temperature(axes: Any, curve: orm.ArrayData, found: Mapping[str, Any] | None) -> None:
    """Draw specific volume with errors, the two lines, and their crossing with its interval if there is one."""
    temperature, volume = array_of(curve, 'temperature'), array_of(curve, 'specific_volume')
    error, arrays = array_of(curve, 'specific_volume_error'), curve.get_arraynames()
    drifting = array_of(curve, 'drifting') > 0 if 'drifting' in arrays else np.zeros(len(temperature), dtype=bool)
    for chosen, fill, text in ((~drifting, COLOURS[0], 'equilibrated'), (drifting, 'white', 'still drifting')):
        if chosen.any():
            axes.errorbar(temperature[chosen], volume[chosen], yerr=error[chosen], fmt='o', color=COLOURS[0], mfc=fill,
                          lw=0.8, label=text)  # fmt: skip
    about = (found or {}).get('conditions') or {}
    if 'two_lines' in arrays:
        x, y = temperature, array_of(curve, 'two_lines')
        crossing = about.get('specific_volume_cm3_g')
        if found is not None and crossing is not None:
            # Without the crossing a straight piece would cut its corner.
            x, y = np.append(x, found['value']), np.append(y, crossing)
        order = np.argsort(x)
        axes.plot(x[order], y[order], color=COLOURS[1], label='two lines')
    if found is not None:
        from aiida_softclay.report.queries import format_value

        axes.axvline(found['value'], color=INK, lw=0.7, ls='--',
                     label=f'$T_g$ = {format_value(found["value"], found["error"])} K')  # fmt: skip
        if about.get('interval_K'):
            axes.axvspan(*about['interval_K'], color=INK, alpha=0.08, lw=0)
    axes.set(
        xlabel=label('temperature', unit_in(curve, 'temperature', 'K')), title='Glass transition',
        ylabel=label('specific volume', unit_in(curve, 'specific_volume', 'cm^3/g')),
    )  # fmt: skip
    legend(axes, loc='upper left')


@panels_for('cooling_rates')
def cooling_rates(source: Source) -> Iterator[Panel]:
    """Yield the glass transition against the cooling rate."""
    if source.curve is not None:
        yield 'cooling_rates', source.curve, _rates


def _rates(axes: Any, curve: orm.ArrayData) -> None:
    rate, found = array_of(curve, 'rate'), array_of(curve, 'glass_transition')
    axes.errorbar(rate, found, yerr=array_of(curve, 'glass_transition_error'), fmt='o', color=COLOURS[0], lw=0.8,
                  label='simulated')  # fmt: skip
    axes.plot(rate, array_of(curve, 'line'), color=COLOURS[1], label='line in log rate')
    axes.set(xscale='log', xlabel=label('cooling rate', unit_in(curve, 'rate', 'K/ps')), title='Cooling rate')
    axes.set_ylabel(label('glass transition', unit_in(curve, 'glass_transition', 'K')))
    legend(axes, loc='upper left')
