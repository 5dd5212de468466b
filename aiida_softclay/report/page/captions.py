"""What the pictures of a report show: a definition for each panel, and which chapter it stands in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiida_softclay.data.engine import engine_text
from aiida_softclay.report.queries import format_value
from aiida_softclay.report.style import power_text, unit_text

#: Chapters of the figures, in their order: key to heading.
CHAPTERS = {
    'sampling': 'Ab initio sampling',
    'structure': 'Structure',
    'mechanics': 'Mechanics',
    'transport': 'Transport',
    'transition': 'Glass transition',
    'thermodynamics': 'Thermodynamics',
    'other': 'Further figures',
}
#: Analysis, by the name that its panels are registered under, to its chapter.
CHAPTER_OF = {
    'anion_exchange': 'structure', 'pair_distributions': 'structure', 'census': 'structure', 'chains': 'structure',
    'bond_lifetimes': 'structure', 'scattering': 'structure', 'phase_fit': 'structure', 'conformation': 'structure',
    'glass': 'structure', 'stress_pulse': 'mechanics', 'constant_strain': 'mechanics', 'plasticity': 'mechanics',
    'conductivity': 'transport', 'collective': 'transport', 'ionic_conductivity': 'transport',
    'arrhenius': 'transport', 'mobility_classes': 'transport', 'hops': 'transport', 'anion_motion': 'transport',
    'boundary_mobility': 'transport', 'density_map': 'transport', 'glass_transition': 'transition',
    'cooling_rates': 'transition', 'thermodynamics': 'thermodynamics', 'reaction_energy': 'thermodynamics',
    'screening': 'thermodynamics', 'stress_pulse_series': 'mechanics', 'constant_strain_series': 'mechanics',
    'powder_pattern': 'structure', 'aimd': 'sampling',
}  # fmt: skip
D2MIN = (
    'D²min is what is left of the displacements of the neighbours of an atom between two frames after the affine map '
    'that fits them best (Falk and Langer 1998)'
)
#: Panel to what it shows. A panel that several analyses have under one name is told apart by `analysis.panel`.
DEFINITIONS = {
    'pair_distributions': 'Partial pair distributions g(r): neighbours at a distance r over those of ideal mixing; '
    'bands are one standard error over blocks of frames.',
    'anion_exchange.pair_distributions': 'Pair distributions g(r) of the cation with the anion of its own salt and '
    'with that of the other, at the start (dotted) and at the end (solid) of the melt (as gupta2023, Fig. 1b).',
    'coordination': 'Running coordination: mean number of neighbours of each kind within r.',
    'neighbours': 'Mean number of anions within the first minimum of g(r) at the start and at the end of the melt; '
    'bars are one standard error.',
    'polyhedra': 'Shares of the cations by the anions within their first shell, over time.',
    'exchange': 'Extent of exchange: share of the bonds of the cation that go to each anion, over time.',
    'chains': 'Share of the centres in chains of each length: centres closer than the cutoff that share an anion '
    '(qyang2025); bars are one standard error.',
    'chain_growth': 'Mean length of the chains and share of isolated centres over time.',
    'bonds': 'Share of the bonds that have not been broken for good after a time; lifetimes in the legend.',
    'structure_factor': 'Structure factor S(q) by X-rays and neutrons, from the partial g(r).',
    'reduced_pdf': 'Reduced pair distribution G(r) = 4πρr [g(r) − 1] by X-rays and neutrons.',
    'measured_pdf': 'Measured G(r), the calculated one at its best scale, and their difference shifted down.',
    'phase_fit': 'Measured curve, the sum of two phases in least squares, each of them, and the difference shifted '
    'down.',
    'conformation': 'Distributions of the angle at the bridging anion and of the smallest dihedral about it.',
    'dihedral': 'A dihedral over time, as it is and without its fast vibrations.',
    'equilibration': 'Density, and the lengths of the cell over their last values, during the run at zero stress.',
    'glass.census': 'Shares of the anions around each cation at the start and at the end of the melt.',
    'stress_pulse': 'Engineering shear strain through the pulses of stress (shaded): every sample, and the mean over '
    'a sliding window (as gupta2023, Fig. 1c). The scatter of the samples is the thermal noise.',
    'pulse_energy': 'Change of the potential energy per atom through the pulses (shaded): samples and sliding mean.',
    'constant_strain': 'Stress at a constant rate of strain: samples and sliding mean, the elastic line with its '
    'modulus, and the points of yield with their errors (as gupta2023, Fig. 2a).',
    'plasticity': f'Mean D²min of all atoms and of each element against strain; {D2MIN}. Bands are one standard error.',
    'zones': 'Mean size of the cluster that an atom of the largest D²min stands in, against as many atoms drawn at '
    'random.',
    'layers': 'Mean D²min in layers of the cell, against strain: a shear band is a stripe.',
    'plasticity.classes': 'g(r) about the atoms of largest and of smallest D²min (as gupta2023, Fig. 2f); bands are '
    'one standard error.',
    'd2min': 'Distribution of D²min over atoms and pairs of frames, with the limits of its classes.',
    'snapshot': 'The cell at the end of a step of strain, its atoms coloured by their D²min in this step. All '
    'snapshots of a run have one scale (as gupta2023, Fig. 2).',
    'residual_strain': 'Strain that is left after the last release against the stress of the pulse; full marks are '
    'plastic, empty ones elastic, the grey band is the thermal noise.',
    'rate_dependence': 'Yield stress against the rate of strain; bars are one standard error.',
    'powder_pattern': 'Calculated powder pattern of the crystal: lines with their indices.',
    'msd': 'Mean squared displacement over all time origins, relative to the centre of mass; bands are one standard '
    'error. The diffusivity is a sixth of the slope in the shaded window (yang2024, eq. 1).',
    'conductivities': 'Conductivity in its self and distinct parts: σ = Σ (σˢ + σᵈ) + Σ 2 sign(z z′) σᵈ (yang2024, '
    'eqs. 2 to 7); bars are one standard error.',
    'collective': 'Products of the collective displacements of the species, whose slopes are the parts of the '
    'conductivity.',
    'arrhenius': 'Logarithm against 1/T with the line in weighted least squares, its confidence band, and what is '
    'read off it; bars are one standard error.',
    'displacements': 'Probability density of the displacements over the whole run, with the classes of fast and slow '
    'ions (as yang2024, Fig. 5b).',
    'classes': 'Mean number of neighbours of fast and of slow ions over time (as yang2024, Fig. 5c).',
    'class_neighbours': 'g(r) of fast and slow ions with each element (as yang2024, Fig. 5d).',
    'class_pairs': 'g(r) of fast ions with fast and with slow ones (as yang2024, Fig. 5e).',
    'hops': 'Shares of the hops within a chain, between chains and by isolated units (qyang2025); bars are one '
    'standard error.',
    'hop_sites': 'Shares of the units at the sites of hops, beside those of all units.',
    'anion_shares': 'Anions that turned about their centre without breaking the bond, that left it, and that rested; '
    'bars are one standard error.',
    'anions': 'Mean squared displacement of the anions that keep their centre, in parts: by turning, with the centre, '
    'and mixed.',
    'each_anion': 'Mean squared displacement of each anion by itself (as qyang2025, Fig. 3c).',
    'boundary_msd': 'Mean squared displacement of the ions that stay at grain boundaries and in the bulk; bands are '
    'one standard error.',
    'boundaries': 'Diffusivity at grain boundaries and in the bulk, with the share of the conductivity; bars are one '
    'standard error.',
    'density': 'Probability density of the element, integrated along the view; the line is an isosurface.',
    'glass_transition': 'Specific volume against temperature with its errors; the glass transition is where the two '
    'lines cross.',
    'cooling_rates': 'Glass transition against the cooling rate; bars are its interval.',
    'reaction_energies': 'Reaction energy per atom against the mixing ratio of the two salts.',
    'hull': 'Energy above the convex hull of the known phases.',
    'window': 'Electrochemical window: the voltages against the metal between which the mixture neither gains nor '
    'loses its ion, and what forms outside.',
    'criteria': 'Criteria for a clay of gupta2023: driving force, molecular solid, kinetics, ratio.',
    'screening': 'Criteria for a clay of gupta2023, for each pair of salts.',
    'aimd_temperature': 'Instantaneous temperature at every step; dotted lines are the seams between segments.',
    'aimd_energy': 'Potential energy per atom at every step; dotted lines are the seams between segments.',
    'learning_energy': 'Root mean square error of the energy per atom over the steps of the training; the dashed line '
    'is the gate for the test error.',
    'learning_force': 'Root mean square error of the force components over the steps of the training; the dashed line '
    'is the gate for the test error.',
    'test_energy': 'Energies of the test frames, which the training has not seen: potential against labels, each less '
    'the mean of the labels.',
    'test_force': 'Force components of the test frames, which the training has not seen: potential against labels.',
    'parity_energy': 'Energies of unseen structures: potential against engine, each structure about its own mean.',
    'parity_force': 'Forces in unseen structures: potential against engine.',
    'equations_of_state': 'Energy against volume by engine (solid) and potential (dashed), with the curves of Birch '
    'and Murnaghan.',
    'stress_strain': 'Static tension with relaxed ions, by engine (solid) and potential (dashed).',
    'validation.msd': 'Mean squared displacement of one start by engine (solid) and potential (dashed); bands are one '
    'standard error.',
}  # fmt: skip
#: Panel to the beginning of the names of its numbers, where not all numbers of the analysis belong to it.
NUMBERS_OF = {
    'plasticity': 'd2min', 'd2min': 'd2min', 'snapshot': 'd2min', 'zones': 'shear_zones', 'layers': 'shear_band',
    'classes': 'coordination',
}  # fmt: skip


def definition_of(analysis: str, panel: str, prefix: str = '') -> str:
    """Return what a panel shows; empty if no words are known for it.

    Parameters
    ----------
    analysis : str
        The name that the panel is registered under.
    panel : str
        Its name.
    prefix : str
        What tells it apart from others of the same name.
    """
    name = panel.removeprefix(prefix)
    for key in (f'{analysis}.{name}', name, f'{analysis}.{name.partition("_")[0]}', name.partition('_')[0]):
        if key in DEFINITIONS:
            return DEFINITIONS[key]
    return ''


def window_text(rows: Iterable[Mapping[str, Any]], panel: str = '') -> str:
    """Return the windows of the numbers beside a figure.

    >>> window_text([{'name': 'diffusivity.Li', 'window': [1.0, 3.0], 'window_unit': 'ps'}], 'msd')
    'Window 1 to 3 ps (diffusivity.Li).'
    """
    found: dict[tuple[float, float, str], list[str]] = {}
    beginning = NUMBERS_OF.get(panel, NUMBERS_OF.get(panel.partition('_')[0], ''))
    for row in rows:
        if row.get('window') and row['name'].startswith(beginning):
            low, high = row['window']
            unit = unit_text(row.get('window_unit') or '1')
            found.setdefault((low, high, unit), []).append(row['name'])
    if not found or len(found) > 3:
        return ''
    said = []
    for (low, high, unit), names in found.items():
        listed = ', '.join(names[:3]) + (', …' if len(names) > 3 else '')
        reach = f'{power_text(low)} to {power_text(high)}'
        of_what = f'{reach} {unit}' if unit else f'strains {reach}'
        said.append(f'{of_what} ({listed})')
    return f'Window {"; ".join(said)}.'


def scale_text(context: Mapping[str, Any]) -> str:
    """Return at which scale something was computed: protocol, atoms, temperature, time, engine.

    >>> scale_text({'protocol': 'demo', 'n_atoms': 320, 'temperature_K': 300.0})
    'Protocol demo, 320 atoms, 300 K.'
    """
    said = []
    if context.get('protocol'):
        said.append(f'protocol {context["protocol"]}')
    atoms = context.get('n_atoms') or context.get('model_atoms')
    said += [f'{atoms:,} atoms'.replace(',', ' ')] if isinstance(atoms, int) else []
    temperature = context.get('temperature_K') or context.get('target_temperature_K')
    if isinstance(temperature, int | float):
        said.append(f'{temperature:.4g} K')
    elif isinstance(temperature, Mapping) and isinstance(temperature.get('value'), int | float):
        said.append(f'{format_value(temperature["value"], temperature.get("error"))} K')
    if isinstance(context.get('duration_ps'), int | float):
        said.append(f'{context["duration_ps"]:.4g} ps')
    if engine := engine_text(context.get('engine')):
        said.append(engine)
    text = ', '.join(said)
    return f'{text[:1].upper()}{text[1:]}.' if text else ''
