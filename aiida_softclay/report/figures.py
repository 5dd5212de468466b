"""The curves behind the numbers of a study, on one page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.analysis_figures import analysis_panels
from aiida_softclay.report.glass_figures import glass_panels
from aiida_softclay.report.validation_figures import COLOURS, validation_panels

#: A node and what draws it on axes.
Panel = tuple[orm.Data, Callable[[Any, Any], None]]


def _pair_distributions(axes: Any, curve: orm.ArrayData) -> None:
    radii = curve.get_array('radii')
    for colour, pair in zip(COLOURS, curve.base.attributes.get('pairs')[:2], strict=False):
        name = pair.replace('-', '_')
        for state, style in (('before', ':'), ('after', '-')):
            axes.plot(radii, curve.get_array(f'g_{name}_{state}'), style, color=colour, label=f'{pair} {state}', lw=1.2)
    axes.set(xlabel='r (Å)', ylabel='g(r)', title='Pair distribution, start and end of the melt', xlim=(0.8, None))
    axes.legend(fontsize=7)


def _stress_pulse(axes: Any, curve: orm.ArrayData) -> None:
    time = curve.get_array('time')
    axes.plot(time, curve.get_array('strain'), color=COLOURS[5], lw=0.5)
    axes.plot(time, curve.get_array('strain_averaged'), color=COLOURS[0], lw=1.4, label='shear strain')
    axes.set(xlabel='time (ps)', ylabel='shear strain', title='Stress pulse')
    twin = axes.twinx()
    twin.plot(time, 1000 * curve.get_array('stress_applied'), color=COLOURS[1], lw=1.0, ls='--')
    twin.set_ylabel('applied stress (MPa), dashed')


def _constant_strain(axes: Any, curve: orm.ArrayData) -> None:
    strain = curve.get_array('strain')
    axes.plot(strain, curve.get_array('stress'), color=COLOURS[5], lw=0.5)
    axes.plot(strain, curve.get_array('stress_averaged'), color=COLOURS[0], lw=1.4)
    axes.set(xlabel='shear strain', ylabel='shear stress (GPa)', title='Constant strain rate')


def _conductivity(axes: Any, curve: orm.ArrayData) -> None:
    lag = curve.get_array('lag_time')
    names = [name for name in sorted(curve.get_arraynames()) if name.startswith('msd_') and 'error' not in name]
    for colour, name in zip(COLOURS, names, strict=False):
        values, error = curve.get_array(name), curve.get_array(name.replace('msd_', 'msd_error_'))
        axes.plot(lag, values, color=colour, lw=1.3, label=name.removeprefix('msd_'))
        axes.fill_between(lag, values - error, values + error, color=colour, alpha=0.2, lw=0)
    shown = lag <= 0.5 * lag[-1]
    highest = max(float(np.nanmax(curve.get_array(name)[shown])) for name in names)
    axes.set(xlabel='lag time (ps)', ylabel='MSD (Å²)', title='Mean squared displacement')
    axes.set(xlim=(0, lag[shown][-1]), ylim=(0, 1.1 * highest))
    axes.legend(fontsize=7)


_PANELS: dict[str, Callable[[Any, orm.ArrayData], None]] = {
    'pair_distributions': _pair_distributions,
    'stress_pulse': _stress_pulse,
    'constant_strain': _constant_strain,
    'conductivity': _conductivity,
}


def panels_of(process: orm.ProcessNode) -> dict[str, Panel]:
    """Return what there is to draw of a study, experiment, analysis, glass or validation, by the name of the panel."""
    found: dict[str, Panel] = {name: (curve, _PANELS[name]) for name, curve in curves_of(process).items()}
    return found | analysis_panels(process) | glass_panels(process) | validation_panels(process)


def curves_of(process: orm.ProcessNode) -> dict[str, orm.ArrayData]:
    """Return the curves of a study, or of one experiment, by the name of their panel."""
    found: dict[str, orm.ArrayData] = {}
    outputs = process.outputs
    if 'pair_distributions' in outputs:
        found['pair_distributions'] = outputs.pair_distributions
    if 'curves' in outputs:
        found |= {name: outputs.curves[name] for name in _PANELS if name in outputs.curves}
    if 'curve' in outputs:
        entry_point = (process.process_type or '').rpartition('softclay.')[2]
        if entry_point in _PANELS:
            found[entry_point] = outputs.curve
    return found


def plot_curves(process: orm.ProcessNode, path: Path) -> list[str]:
    """Plot the curves of a process.

    Parameters
    ----------
    process : aiida.orm.ProcessNode
        A study, one of the experiments, an amorphous model, or a validation.
    path : pathlib.Path
        Where to write; the suffix (``.png``, ``.svg``, ``.pdf``) decides the format.

    Returns
    -------
    list of str
        Names of the panels that were drawn.

    Raises
    ------
    ValueError
        If the process has no curves, or the suffix is none that matplotlib writes.
    """
    import matplotlib as mpl

    mpl.use('Agg')
    from matplotlib import pyplot as plt

    if path.suffix.lower() not in {'.png', '.svg', '.pdf'}:
        raise ValueError(f'{path.name}: the picture is written as .png, .svg or .pdf')
    panels = panels_of(process)
    if not panels:
        raise ValueError(f'{process.process_label} <{process.pk}> has no curves to plot')
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.3 * rows), squeeze=False)
    for axes, (curve, draw) in zip(grid.flat, panels.values(), strict=False):
        draw(axes, curve)
        axes.title.set_fontsize(9)
        axes.annotate(
            f'node {curve.pk}', (1.0, 1.01), xycoords='axes fraction', ha='right', fontsize=5, color='#606060'
        )
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    results = process.outputs.results if 'results' in process.outputs else None
    context = results.get_dict().get('context', {}) if results is not None else {}
    stated = [str(context[key]) for key in ('mixture', 'protocol', 'engine') if context.get(key)]
    atoms = context.get('model_atoms') or context.get('n_atoms')
    if atoms:
        stated.append(f'{atoms} atoms')
    figure.suptitle(', '.join(stated), fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=160)
    plt.close(figure)
    return list(panels)
