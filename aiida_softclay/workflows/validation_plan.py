"""What a validation computes: series of configurations and pairs of runs, laid out from its parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from aiida import orm
from ase.formula import Formula

from aiida_softclay.calculations.aimd_plan import AimdPlan
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.workflows.conductivity import ConductivityWorkChain

#: The proofs in the order of the table; the first three need labels of single configurations.
PROOFS = ('parity', 'bulk_modulus', 'tension', 'conductivity')
LABEL = re.compile(r'[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*')
LONGEST_LABEL = 30
#: Sets of frames that are labelled alike and predicted by one start of `dp`.
STATIC, RELAXED, AIMD = 'static', 'relaxed', 'aimd'
ENTRY_KEYS = {'label', 'kind', 'parameters', 'source'}
FEWEST_POINTS = {'n_volumes': 6, 'n_strains': 5, 'n_configurations': 1}


def label_problem(label: str) -> str | None:
    """Return why a label cannot name a structure, or ``None``."""
    if not LABEL.fullmatch(label) or len(label) > LONGEST_LABEL:
        return (
            f'`{label}` cannot name a structure: use at most {LONGEST_LABEL} letters, digits and single underscores, '
            'a letter first'
        )
    return None


def expand_structures(
    entries: Iterable[Mapping[str, Any]], elements: Iterable[str], known: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Return the structures of a protocol, one entry each, for a potential of some elements.

    Parameters
    ----------
    entries : iterable of mapping
        ``label``, ``kind`` and ``parameters`` as for :func:`aiida_softclay.workflows.sampling.build_structure`; or
        ``kind: chemical_system`` with ``min_length`` (Å), ``max_atoms`` and ``n_structures``: the smallest crystals of
        the library made of these elements, those that are not ``known`` first.
    elements : iterable of str
        What the potential knows.
    known : iterable of str
        Names of crystals that the potential was fitted to.

    Raises
    ------
    ValueError
        If an entry is incomplete, or no crystal of the elements is small enough.
    """
    made: list[dict[str, Any]] = []
    for entry in entries:
        if entry.get('kind') == 'chemical_system':
            made += _crystals(entry, list(elements), {name.lower() for name in known})
            continue
        missing, unknown = {'label', 'kind', 'parameters'} - set(entry), set(entry) - ENTRY_KEYS
        if missing or unknown:
            what = f'lacks {", ".join(sorted(missing))}' if missing else f'does not know {", ".join(sorted(unknown))}'
            raise ValueError(f'the structure `{entry.get("label", "?")}` {what}')
        made.append({key: entry[key] for key in ('label', 'kind', 'parameters')})
    return made


def _crystals(entry: Mapping[str, Any], elements: list[str], known: set[str]) -> list[dict[str, Any]]:
    from aiida_softclay.structures.crystals import crystal, list_crystals, phase
    from aiida_softclay.structures.supercells import supercell

    length, most = float(entry['min_length']), int(entry['max_atoms'])
    sizes = {name: len(supercell(crystal(name), length)) for name in list_crystals(elements, salts_only=True)}
    # A crystal of more elements tells more about how they go together.
    fitting = sorted(
        (name for name, size in sizes.items() if size <= most),
        key=lambda name: (name.lower() in known, -len(phase(name).composition), sizes[name]),
    )
    if not fitting:
        raise ValueError(
            f'the library holds no crystal of {"-".join(elements)} with at most {most} atoms at {length:g} Å: give '
            'structures of your own'
        )
    return [
        {'label': name, 'kind': 'crystal', 'parameters': {'crystal': name, 'min_length': length}}
        for name in fitting[: int(entry['n_structures'])]
    ]


def entry_elements(entry: Mapping[str, Any]) -> set[str]:
    """Return the elements of a structure that is still to be built, as far as its entry tells.

    Raises
    ------
    ValueError
        If its crystal or mixture is not known.
    """
    from aiida_softclay.structures.composition import Mixture
    from aiida_softclay.structures.crystals import phase

    parameters = entry['parameters']
    if 'crystal' in parameters:
        return set(phase(parameters['crystal']).composition)
    return set(Mixture.parse(parameters['mixture']).elements) if 'mixture' in parameters else set()


def selected(section: Mapping[str, Any], labels: Iterable[str]) -> list[str]:
    """Return the structures that a proof is asked for: those it names, or all."""
    return list(labels) if section.get('structures') is None else list(section['structures'])


def conductivity_runs(section: Mapping[str, Any], labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the runs of the conductivity proof by their label: ``structure`` and ``temperature_K``."""
    first = next(iter(labels), None)
    runs: dict[str, dict[str, Any]] = {}
    for run in section['runs']:
        structure = run.get('structure') or first
        temperature = float(run['temperature_K'])
        label = f'{structure}_{f"{temperature:g}".replace(".", "p")}K'
        if label in runs:
            raise ValueError(f'conductivity.runs: {structure} at {temperature:g} K is asked for twice')
        runs[label] = {'structure': structure, 'temperature_K': temperature}
    return runs


def frame_stride(section: Mapping[str, Any]) -> int:
    """Return every how many steps a frame is kept, with both engines."""
    return max(1, round(float(section['frame_every_fs']) / float(section['timestep_fs'])))


def aimd_plan(section: Mapping[str, Any], temperature_K: float, seed: int) -> AimdPlan:
    """Return the plan of the engine's run: equilibration and production at one temperature.

    Raises
    ------
    PlanError
        If it cannot be run.
    """
    segment = {'ensemble': 'nvt', 'temperature_K': temperature_K, 'thermostat': section['thermostat']}
    return AimdPlan.from_dict({
        'timestep_fs': section['timestep_fs'],
        'seed': seed,
        'frame_stride': frame_stride(section),
        'segments': [
            {'name': 'equilibrate', 'duration_fs': 1000 * section['equilibrate_ps'], **segment},
            {'name': 'production', 'duration_fs': 1000 * section['duration_ps'], **segment},
        ],
    })  # fmt: skip


def production_frames(section: Mapping[str, Any]) -> int:
    """Return the number of frames of the engine's production: multiples of the stride among its steps."""
    step, stride = float(section['timestep_fs']), frame_stride(section)
    start, length = (round(1000 * float(section[key]) / step) for key in ('equilibrate_ps', 'duration_ps'))
    return -(-(start + length) // stride) - -(-start // stride)


def md_overrides(section: Mapping[str, Any], temperature_K: float, seed: int) -> dict[str, Any]:
    """Return the values of ``softclay.conductivity`` for the potential's run: the same as the engine's."""
    stride = frame_stride(section)
    return {
        'temperature_K': temperature_K,
        'timestep_ps': float(section['timestep_fs']) / 1000,
        'equilibrate_ps': section['equilibrate_ps'],
        'duration_ps': section['duration_ps'],
        'tdamp_ps': section['tdamp_ps'],
        'thermo_every': stride,
        'dump_every': stride,
        'species': section['species'],
        'charges': dict(section['charges']),
        'window_share': list(section['window_share']),
        'hop_length': section['hop_length'],
        'seed': seed,
    }


def working_ions(elements: Iterable[str], charges: Mapping[str, float]) -> list[str]:
    """Return the cations of the lowest charge, which carry the current; all elements if there are none."""
    values = {element: charges.get(element, IONIC_RADII.get(element, (0, 0))[1]) for element in elements}
    cations = {element: charge for element, charge in values.items() if charge > 0}
    return sorted(element for element, charge in cations.items() if charge == min(cations.values())) or sorted(values)


def charges_problem(section: Mapping[str, Any], structure: orm.StructureData) -> str | None:
    """Return why no conductivity can be found for a structure (unknown charges, not neutral, absent species)."""
    return ConductivityWorkChain.check_parameters(
        {'species': section['species'], 'charges': section['charges']}, structure.get_ase().get_chemical_symbols()
    )


def parameters_problem(parameters: Mapping[str, Any], labels: list[str]) -> str | None:
    """Return what is wrong with the parameters of a validation of structures with these labels, or ``None``."""
    missing = [key for key in (*PROOFS, 'label', 'aimd', 'agreement', 'seed', 'relaxation') if key not in parameters]
    if missing:
        return f'the parameters lack {", ".join(missing)}: take them from a protocol (get_builder_from_protocol)'
    for label in labels:
        if problem := label_problem(label):
            return problem
    if len(set(labels)) < len(labels):
        return f'two structures carry the same label: {", ".join(labels)}'
    for proof in ('parity', 'bulk_modulus', 'tension'):
        unknown = sorted(set(selected(parameters[proof], labels)) - set(labels))
        if unknown:
            return f'{proof}.structures names {", ".join(unknown)}: the structures are {", ".join(labels)}'
        for key, fewest in FEWEST_POINTS.items():
            if key in parameters[proof] and int(parameters[proof][key]) < fewest:
                return f'{proof}.{key} is {parameters[proof][key]}: at least {fewest} are needed'
    for proof, key in (('bulk_modulus', 'volume_range'), ('tension', 'strain_range'), ('tension', 'elastic_window')):
        low, high = (float(edge) for edge in parameters[proof][key])
        if not -0.5 < low < high < 1:
            return f'{proof}.{key} is {low:g} to {high:g}: give two shares in order, such as -0.05 and 0.05'
    tension = parameters['tension']
    strains = np.linspace(*tension['strain_range'], int(tension['n_strains']))
    low, high = tension['elastic_window']
    inside = int(((strains >= low - 1e-9) & (strains <= high + 1e-9)).sum())
    if inside < FEWEST_POINTS['n_strains']:
        return f'tension.elastic_window holds {inside} of the strains, five are needed: widen it or raise n_strains'
    if tension['component'] not in ('xx', 'yy', 'zz'):
        return f'tension.component is `{tension["component"]}`: choose from xx, yy, zz'
    section = parameters['conductivity']
    try:
        runs = conductivity_runs(section, labels)
        for run in runs.values():
            if run['structure'] not in labels:
                return f'conductivity.runs names {run["structure"]}: the structures are {", ".join(labels)}'
            aimd_plan(section, run['temperature_K'], 1)
            ConductivityWorkChain.build_plan(
                {**ConductivityWorkChain.get_protocol_inputs('demo'), **md_overrides(section, run['temperature_K'], 1)}
            )
    except (TypeError, ValueError) as error:
        return f'conductivity: {error}'
    if not runs and not any(selected(parameters[proof], labels) for proof in PROOFS[:3]):
        return 'nothing is validated: every proof has an empty list of structures'
    return None


def plan_series(parameters: Mapping[str, Any], labels: list[str], seen: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the series of configurations to label.

    Parameters
    ----------
    parameters : mapping
        Of the workchain.
    labels : list of str
        The structures.
    seen : iterable of str
        Those of them that the potential was fitted to: they prove nothing by parity.

    Returns
    -------
    dict
        Name of the series to ``proof``, ``subject`` (name in the table), ``structure``, ``group``, ``independent``,
        ``n_configurations`` and ``configurations`` (parameters of ``make_configurations``).
    """
    plan: dict[str, dict[str, Any]] = {}

    def add(proof: str, structure: str, group: str, count: int, made: dict[str, Any], **facts: Any) -> None:
        plan[f'{proof}_{structure}'] = {
            'proof': proof, 'subject': structure, 'structure': structure, 'group': group, 'independent': True,
            'n_configurations': count, 'configurations': made, **facts,
        }  # fmt: skip

    parity, volumes, tension = (parameters[proof] for proof in PROOFS[:3])
    for index, structure in enumerate(labels):
        if structure in selected(parity, labels) and structure not in set(seen):
            count = int(parity['n_configurations'])
            made = {
                'kind': 'rattled', 'n': count, 'amplitude_A': float(parity['rattle_A']),
                'strain': float(parity['strain']), 'seed': int(parameters['seed']) + index,
            }  # fmt: skip
            add('parity', structure, STATIC, count, made)
        if structure in selected(volumes, labels):
            low, high = volumes['volume_range']
            scales = [float(1 + share) for share in np.linspace(low, high, int(volumes['n_volumes']))]
            add('bulk_modulus', structure, RELAXED, len(scales), {'kind': 'volumes', 'scales': scales})
        if structure in selected(tension, labels):
            low, high = tension['strain_range']
            strains = [float(strain) for strain in np.linspace(low, high, int(tension['n_strains']))]
            component = tension['component']
            made = {'kind': 'strains', 'component': component, 'strains': strains}
            add('tension', structure, RELAXED, len(strains), made, component=component)
    return plan


def extension(series: Mapping[str, Any], side: int, round_number: int) -> tuple[str, dict[str, Any]]:
    """Return name and content of the series that extends a scan of volumes beyond one end.

    Parameters
    ----------
    series : mapping
        The series with the furthest volumes so far.
    side : int
        -1 for smaller volumes, 1 for larger.
    round_number : int
        Counted from 1, for the name.
    """
    scales = sorted(series['configurations']['scales'])
    spacing = float(np.mean(np.diff(scales)))
    edge = scales[0] if side < 0 else scales[-1]
    count = max(3, len(scales) // 2)
    further = [edge + side * spacing * (step + 1) for step in range(count)]
    name = f'bulk_modulus_{series["structure"]}_more_{round_number}'
    return name, {**series, 'n_configurations': count, 'configurations': {'kind': 'volumes', 'scales': further}}


def training_frames_of(potential: PotentialData) -> FramesData | None:
    """Return the frames that a potential was fitted to, from its provenance, or ``None`` if they are not on record."""
    if not potential.is_stored:
        return None
    creator = potential.creator
    if creator is not None and 'training_frames' in creator.inputs:
        return creator.inputs.training_frames
    query = orm.QueryBuilder()
    query.append(orm.Node, filters={'id': potential.pk}, tag='potential')
    query.append(
        orm.CalcJobNode, with_descendants='potential', tag='training',
        filters={'process_type': {'like': '%softclay.dp.train'}},
    )  # fmt: skip
    query.append(FramesData, with_outgoing='training', edge_filters={'label': 'training_frames'}, project='*')
    return query.first(flat=True)


def seen_in_training(frames: FramesData | None, structures: Mapping[str, orm.StructureData]) -> list[str]:
    """Return the labels of the structures that a potential was fitted to.

    A structure counts as seen if its own label, or that of its node, is the source label of training frames of the same
    reduced composition and, for what is no crystal of the library, of the same number of atoms.

    Parameters
    ----------
    frames : FramesData or None
        What the potential was fitted to.
    structures : mapping of str to StructureData
    """
    if frames is None:
        return []
    from aiida_softclay.structures.crystals import load_phases

    sampled: set[tuple[str, str, int]] = set()
    with frames.open_frames() as file:
        labels = [str(source.get('label', '')) for source in file.sources]
        for view in file.blocks():
            for index in np.unique(view.source_index[:]):
                sampled.add((labels[index].lower(), _reduced(view.formula), view.n_atoms))
    crystals = {name.lower() for name in load_phases()}
    seen = []
    for label, structure in structures.items():
        atoms = structure.get_ase()
        formula, n_atoms = _reduced(atoms.get_chemical_formula()), len(atoms)
        names = {label.lower(), (structure.label or label).lower()}
        if any(
            name in names and composition == formula and (size == n_atoms or name in crystals)
            for name, composition, size in sampled
        ):
            seen.append(label)
    return seen


def _reduced(formula: str) -> str:
    return str(Formula(formula).reduce()[0].format('hill'))


def seen_problem(parameters: Mapping[str, Any], labels: list[str], seen: list[str], chosen: bool = True) -> str | None:
    """Return a sentence if parity is asked for structures that the potential was fitted to, or ``None``.

    Parameters
    ----------
    parameters : mapping
        Of the workchain.
    labels, seen : list of str
        The structures, and those of them that the potential was fitted to.
    chosen : bool
        Whether somebody chose the structures; the protocol's own are only left out, see :func:`parity_missing`.
    """
    named = parameters['parity'].get('structures')
    wanted = [label for label in selected(parameters['parity'], labels) if label in seen]
    if not wanted or (named is None and (len(wanted) < len(labels) or not chosen)):
        return None
    return (
        f'the potential was fitted to frames of {", ".join(wanted)}: errors on them prove nothing about unseen '
        'structures; give others, or leave them out of parity.structures'
    )


def parity_missing(parameters: Mapping[str, Any], labels: list[str], seen: list[str]) -> str | None:
    """Return why a parity that was asked for has no structure left, or ``None``."""
    wanted = selected(parameters['parity'], labels)
    if not wanted or set(wanted) - set(seen):
        return None
    return f'the potential was fitted to all of the structures ({", ".join(wanted)}): none is left to prove it on'
