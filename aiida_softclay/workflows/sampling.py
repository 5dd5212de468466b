"""Which structures a study samples by AIMD, laid out from the few lines of its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aiida import orm

from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import list_crystals
from aiida_softclay.workflows.protocol import recursive_merge

#: Kind of an entry to the parameters of its builder that the protocol may set.
KINDS = {
    'salts': {'min_length'},
    'chemical_system': {'min_length'},
    'slab': {'min_length', 'n_atoms', 'max_atoms', 'thickness', 'max_strain'},
    'melt': {'n_formula_units', 'density', 'min_length'},
}
_COMMON = {'label', 'kind', 'protocol', 'overrides'}


@dataclass(frozen=True)
class SampledStructure:
    """One structure to sample.

    Attributes
    ----------
    label : str
        Unique; the name of the branch and of the source of its frames.
    kind : str
        ``crystal``, ``slab`` or ``melt``: which builder makes it.
    parameters : dict
        Parameters of the builder.
    protocol : str
        Protocol of ``softclay.aimd``.
    overrides : dict
        Changes to it.
    """

    label: str
    kind: str
    parameters: dict[str, Any]
    protocol: str
    overrides: dict[str, Any]

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
        the builder.
    mixture : Mixture
        The salts and their ratio.
    seed : int
        Every structure gets a seed of its own from it.

    Raises
    ------
    ValueError
        If an entry is incomplete or has a key that its kind does not know, or if two labels are the same.
    """
    plan: list[SampledStructure] = []
    for entry in sampling.get('structures') or []:
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
        if kind in {'salts', 'chemical_system'}:
            names = list(mixture.salts) if kind == 'salts' else list_crystals(mixture.elements, salts_only=True)
            plan += [
                SampledStructure(_label(entry['label'], name), 'crystal', {'crystal': name, **parameters}, *common)
                for name in names
            ]
        else:
            plan.append(SampledStructure(entry['label'], kind, {'mixture': mixture.name, **parameters}, *common))
    if not plan:
        raise ValueError('no structure is sampled: sampling.structures is empty')
    labels = [entry.label for entry in plan]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f'two sampled structures are called {", ".join(twice)}')
    return [_seeded(entry, seed + index) for index, entry in enumerate(plan)]


def _label(prefix: str, name: str) -> str:
    return f'{prefix}_{"".join(letter if letter.isalnum() else "_" for letter in name)}'.lower()


def _seeded(entry: SampledStructure, seed: int) -> SampledStructure:
    parameters = dict(entry.parameters)
    if entry.kind == 'melt':
        parameters['seed'] = seed
    overrides = recursive_merge({'plan': {'seed': seed}}, entry.overrides)
    return SampledStructure(entry.label, entry.kind, parameters, entry.protocol, overrides)


def build_structure(entry: Mapping[str, Any]) -> orm.StructureData:
    """Return the structure of an entry, made by a calcfunction so that its facts are on record.

    Raises
    ------
    ValueError
        If it cannot be built; the message says what to change.
    """
    from aiida_softclay.calcfunctions.structures import build_crystal, build_random_mixture, build_slab

    builder = {'crystal': build_crystal, 'slab': build_slab, 'melt': build_random_mixture}[entry['kind']]
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
