"""Panels of the amorphous model: how it came to rest, what surrounds its cations, and its cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.arrays import array_of
from aiida_softclay.report.cell_panel import show_cell
from aiida_softclay.report.registry import Draw
from aiida_softclay.report.style import COLOURS, GREY, LIGHT, legend, subscripts

#: Most kinds of polyhedra that are drawn by name; the others are one bar.
MOST_SPECIES = len(COLOURS)


def equilibration_stages(process: orm.ProcessNode) -> list[tuple[str, orm.ArrayData]]:
    """Return the time series of the stages at zero stress, in the order they ran."""
    thermo = process.outputs.thermo if 'thermo' in process.outputs else {}
    named = [(name, thermo[name]) for name in thermo if name.startswith('equilibrate')]
    return sorted(named, key=lambda item: int(item[0].removeprefix('equilibrate').strip('_') or 1))


def _equilibration(axes: Any, stages: list[tuple[str, orm.ArrayData]]) -> None:
    """Draw density, and the lengths of the cell over their last value, against the time at zero stress."""
    twin = axes.twinx()
    elapsed = 0.0
    last = np.linalg.norm(array_of(stages[-1][1], 'cell')[-1], axis=1)
    for number, (_, node) in enumerate(stages):
        time = array_of(node, 'time_ps')
        time = time - time[0] + elapsed
        elapsed = float(time[-1])
        axes.plot(time, array_of(node, 'density_g_cm3'), color=COLOURS[0], lw=1.2)
        lengths = np.linalg.norm(array_of(node, 'cell'), axis=2) / last
        for axis, name in enumerate('abc'):
            twin.plot(time, lengths[:, axis], color=COLOURS[axis + 1], lw=0.7, label='' if number else name)
        if number:
            axes.axvline(time[0], color=GREY, lw=0.6, ls=':')
    axes.set(xlabel='time at zero stress (ps)', title='Equilibration')
    axes.set_ylabel('density (g/cm³)', color=COLOURS[0])
    twin.set_ylabel('cell length over its last value')
    twin.spines['right'].set_visible(True)
    legend(twin, loc='lower right', ncols=3)


def _census(axes: Any, checks: orm.Dict) -> None:
    """Draw the shares of the polyhedra around each framework cation before and after, stacked."""
    census = checks['context']['census']
    rows, ticks = 0, []
    for central in census['after']:
        before, after = census['before'].get(central, {}), census['after'][central]
        names = sorted({*before, *after}, key=lambda name: -max(before.get(name, 0.0), after.get(name, 0.0)))
        for state, shares in (('before', before), ('after', after)):
            left = 0.0
            for index, name in enumerate(names[:MOST_SPECIES]):
                width = shares.get(name, 0.0)
                axes.barh(rows, width, left=left, color=COLOURS[index % len(COLOURS)], edgecolor='white', lw=0.4)
                if width > 0.12:
                    axes.text(
                        left + width / 2, rows, subscripts(name), ha='center', va='center', fontsize=5, color='white'
                    )
                left += width
            axes.barh(rows, max(0.0, 1.0 - left), left=left, color=LIGHT, edgecolor='white', lw=0.4)
            ticks.append(f'{central} {state}')
            rows += 1
    axes.set_yticks(range(rows), ticks)
    axes.invert_yaxis()
    axes.set(xlabel='share of the cations (rest grey)', xlim=(0, 1), title='Anions around each cation')


def glass_panels(process: orm.ProcessNode) -> dict[str, tuple[orm.Data, Draw]]:
    """Return what there is to draw of an amorphous model, by the name of the panel."""
    if 'initial_structure' not in process.outputs:
        return {}
    panels: dict[str, tuple[orm.Data, Draw]] = {}
    if 'structure' in process.outputs:
        panels['cell'] = (process.outputs.structure, _cell)
    if stages := equilibration_stages(process):
        panels['equilibration'] = (stages[-1][1], lambda axes, _: _equilibration(axes, stages))
    if 'checks' in process.outputs and _has_census(process.outputs.checks.get_dict()):
        panels['census'] = (process.outputs.checks, _census)
    return panels


def _has_census(checks: Mapping[str, Any]) -> bool:
    return bool(checks.get('context', {}).get('census', {}).get('after'))


def _cell(axes: Any, structure: orm.StructureData) -> None:
    """Show the last snapshot."""
    show_cell(axes, structure.get_ase(), 'The cell at the end')
