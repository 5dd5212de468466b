"""Panels of further analyses and of analysis jobs: collective transport, plasticity, structure over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from aiida import orm

from aiida_softclay.report.validation_figures import COLOURS

Draw = Callable[[Any, Any], None]
#: Bounds of the classes of largest and smallest D²min, as fractions of the maximum (gupta2023, Fig. 2).
LARGEST, SMALLEST = 0.9, 0.1


def _conductivity_parts(axes: Any, results: orm.Dict) -> None:
    """Draw σ in its self and distinct parts with errors (yang2024, eqs. 2 to 7)."""
    rows = {row['name']: row for row in results['numbers'] if row['name'].startswith('conductivity.')}
    names = [name for name in rows if rows[name]['value'] is not None]
    labels = [name.removeprefix('conductivity.').replace('.', ' ') for name in names]
    labels = ['Nernst–Einstein' if label == 'nernst_einstein' else label for label in labels]
    values = [rows[name]['value'] for name in names]
    # A number without an error gets no bar for one: a bar of no length would say that it is exact.
    errors = [np.nan if rows[name]['error'] is None else rows[name]['error'] for name in names]
    colour = {'self': COLOURS[0], 'distinct': COLOURS[1]}
    colours = [colour.get(label.split()[0], COLOURS[2]) for label in labels]
    axes.barh(range(len(names)), values, xerr=errors, color=colours, error_kw={'lw': 0.8, 'capsize': 2})
    axes.set_yticks(range(len(names)), labels, fontsize=6)
    axes.axvline(0, color='black', lw=0.6)
    axes.invert_yaxis()
    axes.set(xlabel='conductivity (mS/cm)', title='Self and distinct conductivities')


def _collective(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the products of the collective displacements of each species with itself."""
    lag = curve.get_array('lag_time')
    names = [name for name in curve.get_arraynames() if name.startswith('collective_')]
    own = [name for name in names if len(set(name.split('_')[1:])) == 1]
    for colour, name in zip(COLOURS, own, strict=False):
        axes.plot(lag, curve.get_array(name), color=colour, lw=1.2, label=name.split('_')[1])
    axes.set(xlabel='lag time (ps)', ylabel='⟨(Σ Δr)²⟩ (Å²)', title='Collective displacements')
    axes.legend(fontsize=7)


def _plastic_strain(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the mean D²min of every element against strain."""
    strain = curve.get_array('strain')
    strain = strain[:, -1] if strain.ndim == 2 else strain
    mean, error = curve.get_array('d2min'), curve.get_array('d2min_error')
    axes.plot(strain, mean, color='black', lw=1.4, label='all')
    axes.fill_between(strain, mean - error, mean + error, color='black', alpha=0.2, lw=0)
    others = [name for name in sorted(curve.get_arraynames()) if name.startswith('d2min_')]
    elements = [name for name in others if name not in ('d2min_error', 'd2min_largest')]
    for colour, name in zip(COLOURS, elements, strict=False):
        axes.plot(strain, curve.get_array(name), color=colour, lw=1.0, label=name.removeprefix('d2min_'))
    axes.set(xlabel='strain', ylabel='mean D²min (Å²)', title='Non-affine displacements')
    axes.legend(fontsize=7)


def _d2min_distribution(axes: Any, atoms: orm.ArrayData) -> None:
    """Draw the distribution of D²min over all atoms and pairs, with the bounds that gupta2023 classes by (Fig. 2)."""
    values = atoms.get_array('d2min').ravel()
    values = values[np.isfinite(values) & (values > 0)]
    axes.set(xlabel='D²min (Å²)', ylabel='density (Å⁻²)', title='Distribution of D²min')
    if not len(values):
        return
    largest = float(values.max())
    bins = np.geomspace(max(float(values.min()), 1e-6 * largest), largest, 60)
    axes.hist(values, bins=bins, density=True, color=COLOURS[0], histtype='stepfilled', alpha=0.7)
    for share, text in ((LARGEST, '90 %'), (SMALLEST, '10 %')):
        axes.axvline(share * largest, color=COLOURS[1], lw=0.9, ls='--')
        axes.text(share * largest, axes.get_ylim()[1], f' {text} of the maximum', rotation=90, va='top', fontsize=5)
    axes.set(xscale='log', yscale='log')


def _columns(title: str, x: str, label: str, prefix: str) -> Draw:
    """Return what draws the arrays of a curve that share a prefix against one of them, with bands for their errors."""

    def draw(axes: Any, curve: orm.ArrayData) -> None:
        arrays = set(curve.get_arraynames())
        abscissa = curve.get_array(x)
        found = [name for name in sorted(arrays - {x}) if name.startswith(prefix) and 'error' not in name]
        found = [name for name in found if curve.get_array(name).shape == abscissa.shape][: 2 * len(COLOURS)]
        for index, name in enumerate(found):
            values = curve.get_array(name)
            style = '-' if index < len(COLOURS) else '--'
            rest = name.removeprefix(prefix).strip('_')
            text = rest.replace('_', ' ') or name
            axes.plot(abscissa, values, style, color=COLOURS[index % len(COLOURS)], lw=1.1, label=text)
            for error in (f'{prefix}error_{rest}', f'{name}_error'):
                if error in arrays:
                    band = curve.get_array(error)
                    colour = COLOURS[index % len(COLOURS)]
                    axes.fill_between(abscissa, values - band, values + band, color=colour, alpha=0.2, lw=0)
        units = curve.base.attributes.get('units', {})
        axes.set(xlabel=f'{x.replace("_", " ")} ({units.get(x, "1")})', ylabel=label, title=title)
        if found:
            axes.legend(fontsize=6)

    return draw


def _chain_lengths(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the share of the central atoms in chains of each length (qyang2025, Fig. 1)."""
    lengths, shares, errors = (curve.get_array(name) for name in ('length', 'share', 'share_error'))
    axes.bar(lengths, shares, yerr=errors, color=COLOURS[0], error_kw={'lw': 0.8, 'capsize': 2})
    axes.set(xlabel='chain length', ylabel='share of the atoms', title='Chains')


def _conformation(axes: Any, curve: orm.ArrayData) -> None:
    """Draw the distributions of bridge angles and dihedrals over bridges and time (you2025)."""
    for colour, (name, label) in zip(
        COLOURS, (('bridge_angle', 'angle of the bridge'), ('dihedral', 'smallest dihedral')), strict=False
    ):
        values = curve.get_array(name).ravel()
        values = values[np.isfinite(values)]
        axes.hist(values, bins=60, density=True, color=colour, alpha=0.6, histtype='stepfilled', label=label)
    for angle, text in ((0.0, 'eclipsed'), (60.0, 'staggered')):
        axes.axvline(angle, color='#606060', lw=0.7, ls=':')
        axes.text(angle, axes.get_ylim()[1], f' {text}', rotation=90, va='top', fontsize=5)
    axes.set(xlabel='angle (degrees)', ylabel='density (1/degree)', title='Conformation')
    axes.legend(fontsize=6)


def _glass_transition(axes: Any, curve: orm.ArrayData) -> None:
    """Draw specific volume against temperature with the two lines, if there are two."""
    temperature, volume = curve.get_array('temperature'), curve.get_array('specific_volume')
    error = curve.get_array('specific_volume_error')
    axes.errorbar(temperature, volume, yerr=error, fmt='o', ms=3, lw=0.8, color=COLOURS[0], capsize=2)
    if 'two_lines' in curve.get_arraynames():
        order = np.argsort(temperature)
        axes.plot(temperature[order], curve.get_array('two_lines')[order], color=COLOURS[1], lw=1.2, label='two lines')
        axes.legend(fontsize=7)
    axes.set(xlabel='temperature (K)', ylabel='specific volume (cm³/g)', title='Glass transition')


def _msd(axes: Any, curve: orm.ArrayData) -> None:
    _columns('Mean squared displacement', 'lag_time', 'MSD (Å²)', 'msd_')(axes, curve)


#: Analysis to what draws its arrays: name of the output to name of the panel and its maker; several panels of one
#: output are told apart by what follows a slash.
CURVES: dict[str, dict[str, tuple[str, Draw]]] = {
    'anion_motion': {'curve': ('anions', _columns('Turning and carried anions', 'lag_time', 'MSD (Å²)', 'msd'))},
    'bond_lifetimes': {
        'curve': ('bonds', _columns('Bonds that last', 'lag_time', 'share of the bonds', 'persistence_'))
    },
    'census': {'curve': ('polyhedra', _columns('Polyhedra', 'time', 'share', 'share_'))},
    'chains': {'curve': ('chains', _chain_lengths)},
    'collective': {'curve': ('collective', _collective)},
    'conductivity': {'curve': ('msd', _msd)},
    'conformation': {'curve': ('conformation', _conformation)},
    'glass_transition': {'curve': ('glass_transition', _glass_transition)},
    'ionic_conductivity': {'curve': ('collective', _collective)},
    'mobility_classes': {
        'curve/displacement': ('displacements', _columns('Displacements', 'displacement', 'density (1/Å)', 'density')),
        'curve': ('classes', _columns('Neighbours of fast and slow ions', 'time', 'number', 'coordination_')),
    },
    'pair_distributions': {
        'curve': ('pair_distributions', _columns('Pair distributions', 'radii', 'g(r)', 'g_')),
        'curve/coordination': ('coordination', _columns('Running coordination', 'radii', 'number', 'coordination_')),
    },
    'plasticity': {'curve': ('plasticity', _plastic_strain), 'atoms': ('d2min', _d2min_distribution)},
    'scattering': {
        'curve': ('structure_factor', _columns('Structure factor', 'q', 'S(q)', 'S_')),
        'curve/G': ('reduced_pdf', _columns('Reduced pair distribution', 'r', 'G(r) (Å⁻²)', 'G_')),
    },
}  # fmt: skip
#: Analyses whose numbers are drawn too.
PARTS = ('collective', 'ionic_conductivity')


def analysis_panels(process: orm.ProcessNode) -> dict[str, tuple[orm.Data, Draw]]:
    """Return what there is to draw of an analysis job, or of the further analyses of an experiment."""
    panels: dict[str, tuple[orm.Data, Draw]] = {}
    entry_point = (process.process_type or '').rpartition('softclay.')[2]
    if entry_point == 'glass_transition' and 'curve' in process.outputs:
        panels |= _panels(entry_point, process.outputs.results, {'curve': process.outputs.curve})
    if 'further_curves' in process.outputs:
        further = process.outputs.further if 'further' in process.outputs else {}
        for name in further:
            arrays = {
                label.removeprefix(f'{name}_'): process.outputs.further_curves[label]
                for label in process.outputs.further_curves
                if label.startswith(f'{name}_')
            }
            panels |= _panels(name, further[name], arrays)
    if isinstance(process, orm.CalcJobNode) and 'analysis' in process.inputs and 'arrays' in process.outputs:
        arrays = {label: process.outputs.arrays[label] for label in process.outputs.arrays}
        panels |= _panels(process.inputs.analysis.value, process.outputs.results, arrays)
    return panels


def _panels(name: str, results: orm.Dict, arrays: Mapping[str, orm.ArrayData]) -> dict[str, tuple[orm.Data, Draw]]:
    found: dict[str, tuple[orm.Data, Draw]] = {}
    if name in PARTS:
        found['conductivities'] = (results, _conductivity_parts)
    for output, (title, draw) in CURVES.get(name, {}).items():
        node = arrays.get(output.partition('/')[0])
        if node is not None:
            found[title] = (node, draw)
    return found
