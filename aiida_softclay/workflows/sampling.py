"""Which structures are sampled by AIMD: the few lines of a protocol, a reference set or a chemical system, laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiida import orm
from ase.data import atomic_numbers

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import UnknownCrystalError, list_crystals, phase
from aiida_softclay.structures.reference_sets import (
    PAPER_LENGTH,
    chemical_system_set,
    complete_entry,
    demo_set,
    reference_set,
    reference_sets,
)
from aiida_softclay.workflows.protocol import recursive_merge

#: Kind of an entry to the parameters of its builder that the protocol may set.
KINDS = {
    'salts': {'min_length'},
    'chemical_system': {'min_length'},
    'slab': {'min_length', 'n_atoms', 'max_atoms', 'thickness', 'max_strain', 'plane_cells', 'seed'},
    'melt': {'n_formula_units', 'density', 'min_length'},
    'crystal': {'crystal', 'min_length', 'max_atoms', 'diagonal'},
    'oligomers': {'anion', 'cation', 'n_molecules', 'density', 'repeat'},
    'framework': {'anion', 'cation', 'n_molecules', 'density', 'repeat'},
    'substitution': {'composition', 'parent', 'repeat', 'density', 'density_fraction', 'choice'},
}
#: Kinds that take the mixture of the study they belong to; on their own they name it.
_MIXED = {'slab', 'melt'}
#: Kinds whose structure is drawn at random and takes a seed.
_RANDOM = {'melt', 'oligomers', 'framework', 'substitution'}
#: Ending of the name of a reference set that asks for its small version.
DEMO = ':demo'
_COMMON = {'label', 'kind', 'protocol', 'overrides'}


@dataclass(frozen=True)
class SampledStructure:
    """One structure to sample.

    Attributes
    ----------
    label : str
        Unique; the name of the branch and of the source of its frames.
    kind : str
        ``crystal``, ``slab``, ``melt``, ``oligomers``, ``framework`` or ``substitution``: which builder makes it.
    parameters : dict
        Parameters of the builder.
    protocol : str
        Protocol of ``softclay.aimd``; empty where the caller decides.
    overrides : dict
        Changes to it.
    maximum_temperature_K : float, optional
        Highest temperature of its melt-quench, with the reason for it in ``temperature_reason``.
    source, flag : str
        Where the structure is from; ``element`` or ``low_confidence`` where it is not the paper's for sure.
    """

    label: str
    kind: str
    parameters: dict[str, Any]
    protocol: str
    overrides: dict[str, Any]
    maximum_temperature_K: float | None = None  # noqa: N815 - K is the unit
    temperature_reason: str = ''
    source: str = ''
    flag: str = ''

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        return asdict(self)


def validate_sampling(sampling: Mapping[str, Any], mixture: Mixture) -> str | None:
    """Return a sentence if the sampling of a study cannot be laid out."""
    try:
        labels = [entry.label for entry in sampling_plan(sampling, mixture, 1)]
    except ValueError as error:
        return str(error)
    interface = sampling.get('interface')
    if interface is not None and interface not in labels:
        return f'sampling.interface is `{interface}`, which is not sampled: choose from {", ".join(labels)}, or null'
    return None


def sampling_plan(sampling: Mapping[str, Any], mixture: Mixture, seed: int) -> list[SampledStructure]:
    """Return the structures to sample.

    Parameters
    ----------
    sampling : mapping
        ``structures``: a list of entries with ``label``, ``kind``, ``protocol``, ``overrides`` and the parameters of
        the builder; or what :func:`layout_structures` takes as text or mapping, with the protocol of all of them in
        ``protocol`` (``paper`` if not given).
    mixture : Mixture
        The salts and their ratio.
    seed : int
        Every structure gets a seed of its own from it.

    Raises
    ------
    ValueError
        If an entry is incomplete or has a key that its kind does not know, or if two labels are the same.
    """
    structures = sampling.get('structures') or []
    if isinstance(structures, str | Mapping):
        return [_in_study(entry, sampling.get('protocol') or 'paper') for entry in layout_structures(structures, seed)]
    plan: list[SampledStructure] = []
    for entry in structures:
        kind = entry.get('kind')
        if kind not in KINDS:
            raise ValueError(f'a sampled structure has kind `{kind}`: choose from {", ".join(KINDS)}')
        missing = _COMMON - set(entry) - {'overrides'}
        unknown = set(entry) - _COMMON - KINDS[kind]
        if missing or unknown:
            what = f'lacks {", ".join(sorted(missing))}' if missing else f'does not know {", ".join(sorted(unknown))}'
            raise ValueError(f'the sampled structure `{entry.get("label", kind)}` {what}')
        parameters = {key: entry[key] for key in KINDS[kind] if key in entry}
        common = (entry['protocol'], dict(entry.get('overrides') or {}))
        if kind not in _MIXED | {'salts', 'chemical_system'}:
            plan.append(SampledStructure(entry['label'], kind, parameters, *common))
        elif kind in {'salts', 'chemical_system'}:
            names = list(mixture.salts) if kind == 'salts' else list_crystals(mixture.elements, salts_only=True)
            plan += [
                SampledStructure(_label(entry['label'], name), 'crystal', {'crystal': name, **parameters}, *common)
                for name in names
            ]
        else:
            plan.append(SampledStructure(entry['label'], kind, {'mixture': mixture.name, **parameters}, *common))
    return _finished(plan, seed)


def layout_structures(spec: str | Sequence | Mapping[str, Any], seed: int) -> list[SampledStructure]:
    """Return the structures that a short description stands for.

    Parameters
    ----------
    spec : str, sequence or mapping
        * the name of a reference set (``gupta2023``, or ``gupta2023:demo`` for its small version),
        * a chemical system such as ``Li-Ga-F-Cl``: all known salts of its elements in cells of 10 Å,
        * the id or formula of a crystal,
        * ``{'set': name, 'labels': [...]}``: some structures of a set,
        * ``{'chemical_system': text, 'min_length': Å}``,
        * an entry: ``label``, ``kind`` and the parameters of the builder (beside them or under ``parameters``), and
          optionally ``maximum_temperature_K``, ``temperature_reason``, ``source``, ``protocol``, ``overrides``,
        * or a sequence of these.
    seed : int
        Every structure gets a seed of its own from it.

    Returns
    -------
    list of SampledStructure
        With ``maximum_temperature_K`` filled in; ``protocol`` is empty unless an entry names one.

    Raises
    ------
    ValueError
        With a sentence that names the entry and what is wrong with it.
    """
    return _finished(_laid_out(spec), seed)


def _laid_out(spec: Any) -> list[SampledStructure]:
    if isinstance(spec, str):
        return [_sampled(entry) for entry in _named(spec.strip())]
    if isinstance(spec, Mapping):
        if 'set' in spec:
            return [_sampled(entry) for entry in _part_of_set(spec)]
        if 'chemical_system' in spec:
            _refuse_unknown(spec, {'chemical_system', 'min_length'}, 'a chemical system')
            length = float(spec.get('min_length', PAPER_LENGTH))
            return [_sampled(entry) for entry in chemical_system_set(str(spec['chemical_system']), length)]
        return [_sampled(_entry(spec), spec.get('protocol') or '', spec.get('overrides'))]
    if isinstance(spec, Sequence):
        return [entry for part in spec for entry in _laid_out(part)]
    raise ValueError(f'structures are given by a name, an entry or a list of them, not by {spec!r}')


def _named(text: str) -> list[dict[str, Any]]:
    """Return the entries of a reference set, a chemical system or a single crystal."""
    if text.removesuffix(DEMO) in reference_sets():
        return demo_set(text.removesuffix(DEMO)) if text.endswith(DEMO) else reference_set(text)
    parts = [part.strip() for part in text.split('-')]
    if len(parts) > 1 and all(part in atomic_numbers for part in parts):
        return chemical_system_set(text)
    try:
        name = phase(text).id
    except UnknownCrystalError as error:
        raise ValueError(
            f'{text!r} is no reference set ({", ".join(reference_sets())}), no chemical system such as Li-Ga-F-Cl and '
            f'no crystal: {error}'
        ) from error
    entry = {'label': name, 'kind': 'crystal', 'parameters': {'crystal': name, 'min_length': PAPER_LENGTH}}
    return [complete_entry(entry)]


def _part_of_set(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    _refuse_unknown(spec, {'set', 'labels', 'demo'}, 'a reference set')
    name = str(spec['set'])
    entries = demo_set(name) if spec.get('demo') else _named(name) if name.endswith(DEMO) else reference_set(name)
    wanted = spec.get('labels')
    if wanted is None:
        return entries
    known = {entry['label']: entry for entry in entries}
    if unknown := [label for label in wanted if label not in known]:
        raise ValueError(f'{name} has no structure {", ".join(unknown)}: choose from {", ".join(known)}')
    return [known[label] for label in wanted]


def _refuse_unknown(given: Mapping[str, Any], known: set[str], what: str) -> None:
    if unknown := sorted(set(given) - known):
        raise ValueError(f'{what} does not know {", ".join(unknown)}: choose from {", ".join(sorted(known))}')


def _entry(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry in the form of the reference sets, its keys checked."""
    kind = spec.get('kind')
    kinds = [name for name in KINDS if name not in {'salts', 'chemical_system'}]
    if kind not in kinds:
        raise ValueError(f'a sampled structure has kind `{kind}`: choose from {", ".join(kinds)}')
    if not spec.get('label'):
        raise ValueError(f'a sampled structure of kind `{kind}` lacks label')
    of_builder = KINDS[kind] | ({'mixture'} if kind in _MIXED else set()) | ({'seed'} if kind in _RANDOM else set())
    extra = {'label', 'kind', 'parameters', 'maximum_temperature_K', 'temperature_reason', 'source', 'flag',
             'protocol', 'overrides'}  # fmt: skip
    what = f'the sampled structure `{spec["label"]}`'
    _refuse_unknown(spec, of_builder | extra, what)
    nested = spec.get('parameters') or {}
    _refuse_unknown(nested, of_builder, what)
    parameters = {**nested, **{key: spec[key] for key in of_builder if key in spec}}
    for key in ({'crystal'} if kind == 'crystal' else {'mixture'} if kind in _MIXED else set()) - set(parameters):
        raise ValueError(f'{what} lacks {key}')
    if kind == 'oligomers':
        # Written out, so that the record and the choice of potentials see them.
        parameters = {'anion': 'Al3O2Cl8', 'cation': 'Li', **parameters}
    if kind == 'substitution' and 'composition' not in parameters:
        raise ValueError(f'{what} lacks composition')
    try:
        return complete_entry({**spec, 'parameters': parameters})
    except ValueError as error:
        raise ValueError(f'{what}: {error}') from error


def _sampled(
    entry: Mapping[str, Any], protocol: str = '', overrides: Mapping[str, Any] | None = None
) -> SampledStructure:
    return SampledStructure(
        label=''.join(letter if letter.isalnum() else '_' for letter in entry['label']).strip('_').replace('__', '_'),
        kind=entry['kind'],
        parameters=dict(entry['parameters']),
        protocol=protocol,
        overrides=dict(overrides or {}),
        maximum_temperature_K=entry['maximum_temperature_K'],
        temperature_reason=entry['temperature_reason'],
        source=entry['source'],
        flag=entry['flag'],
    )


def _in_study(entry: SampledStructure, protocol: str) -> SampledStructure:
    """Return an entry with what ``softclay.aimd`` needs: a protocol, and its temperature as an override."""
    schedule = {'schedule': {'maximum_temperature_K': entry.maximum_temperature_K}}
    return replace(entry, protocol=entry.protocol or protocol, overrides=recursive_merge(schedule, entry.overrides))


def _finished(plan: list[SampledStructure], seed: int) -> list[SampledStructure]:
    """Return the plan with a seed for every structure.

    Raises
    ------
    ValueError
        If it is empty or two labels are the same.
    """
    if not plan:
        raise ValueError('no structure is sampled: the list of structures is empty')
    labels = [entry.label for entry in plan]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f'two sampled structures are called {", ".join(twice)}')
    return [_seeded(entry, seed + index) for index, entry in enumerate(plan)]


def _label(prefix: str, name: str) -> str:
    return f'{prefix}_{"".join(letter if letter.isalnum() else "_" for letter in name)}'.lower()


def _seeded(entry: SampledStructure, seed: int) -> SampledStructure:
    parameters = dict(entry.parameters)
    if entry.kind in _RANDOM:
        parameters.setdefault('seed', seed)
    return replace(entry, parameters=parameters, overrides=recursive_merge({'plan': {'seed': seed}}, entry.overrides))


def build_structure(entry: Mapping[str, Any]) -> orm.StructureData:
    """Return the structure of an entry, made by a calcfunction so that its facts are on record.

    Raises
    ------
    ValueError
        If it cannot be built; the message says what to change.
    """
    from aiida_softclay.calcfunctions import structures as builders

    builder = {
        'crystal': builders.build_crystal,
        'slab': builders.build_slab,
        'melt': builders.build_random_mixture,
        'oligomers': builders.build_oligomer_glass,
        'framework': builders.build_framework_glass,
        'substitution': builders.build_substitution_glass,
    }[entry['kind']]
    made = builder(orm.Dict(dict(entry['parameters'])), metadata={'call_link_label': f'build_{entry["label"]}'})
    return made['structure'] if isinstance(made, Mapping) else made


def sampling_builder(
    entry: Mapping[str, Any],
    structure: orm.StructureData,
    *,
    code: orm.AbstractCode,
    potential_family: str,
    potential_mapping: dict[str, str] | None = None,
    options: dict[str, Any] | None = None,
) -> Any:
    """Return the builder of the AIMD of one structure.

    Parameters
    ----------
    entry : mapping
        A :class:`SampledStructure` as plain values.
    structure : aiida.orm.StructureData
        Where it starts, from :func:`build_structure`.
    code : aiida.orm.AbstractCode
        VASP or its stand-in.
    potential_family, potential_mapping
        The POTCARs.
    options : dict, optional
        Scheduler options.
    """
    from aiida_softclay.workflows.aimd import AimdWorkChain

    builder = AimdWorkChain.get_builder_from_protocol(
        code=code,
        structure=structure,
        potential_family=potential_family,
        potential_mapping=potential_mapping,
        protocol=entry['protocol'],
        overrides=entry['overrides'],
        options=options,
        label=entry['label'],
    )
    builder.metadata.call_link_label = f'aimd_{entry["label"]}'
    return builder
