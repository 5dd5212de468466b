"""What stands in a report, gathered from the database, before it becomes a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from aiida import orm

from aiida_softclay.data.engine import engine_text
from aiida_softclay.report.index import labels_kind
from aiida_softclay.report.page.captions import CHAPTERS
from aiida_softclay.report.page.chain import Chain, chain_of
from aiida_softclay.report.page.figures import (
    Figure,
    cell_figures,
    figures_of,
    glass_of,
    glasses_of,
    results_context,
)
from aiida_softclay.report.page.inputs import again, codes_of, seeds_of, versions_of
from aiida_softclay.report.page.numbers import Table, tables_of, value_text, warnings_of
from aiida_softclay.report.page.parts import (
    Part,
    missing_sentences,
    parts_of,
    potential_of,
)
from aiida_softclay.report.progress import ended_with_warning, state_text
from aiida_softclay.report.scorecard import scale_of
from aiida_softclay.report.scorecard_table import scorecard
from aiida_softclay.report.style import formula_text

#: What a scale means, for the head of a page.
SCALES = {
    'demo': 'demo: it shows that the chain runs, and confirms no published number',
    'balanced': 'balanced: a day of one machine, smaller than published',
    'paper': 'the published one',
    'own': 'own parameters',
}


@dataclass(frozen=True)
class Content:
    """Everything that a page says.

    Attributes
    ----------
    root : aiida.orm.ProcessNode
    title : str
        Material, or what the process is.
    facts : list of (str, str)
        What stands below the title: stage, state, scale, energies, atoms, dates, nodes.
    caution : str
        What the energies come from, where that is not density functional theory; empty otherwise.
    missing : list of str
        Sentences on stages that did not run or failed.
    stages : list of dict
        Title, node, state, and times of each process.
    warnings : list of (str, list of str)
        Warnings, and the numbers that carry them.
    chain : Chain
    potential : dict
        Its node, test errors and gate; empty without one.
    figures, cells : list of Figure
    tables : list of Table
    scorecard : list of dict
        Published numbers that ours answer.
    codes, versions, seeds : list
    again : list of (str, str)
        What to type: a sentence, and lines.
    """

    root: orm.ProcessNode
    title: str
    facts: list[tuple[str, str]]
    caution: str
    missing: list[str]
    stages: list[dict[str, Any]]
    warnings: list[tuple[str, list[str]]]
    chain: Chain
    potential: dict[str, Any]
    figures: list[Figure]
    cells: list[Figure]
    tables: list[Table]
    scorecard: list[dict[str, Any]]
    codes: list[dict[str, Any]]
    versions: list[tuple[str, str]]
    seeds: list[tuple[str, str, int]]
    again: list[tuple[str, str]]

    def chapters(self) -> list[tuple[str, str, list[Figure]]]:
        """Return key, heading and figures of each chapter that has any."""
        every = [*[figure for figure in self.cells if figure.chapter != 'cell'], *self.figures]
        found = [(key, name, [figure for figure in every if figure.chapter == key]) for key, name in CHAPTERS.items()]
        return [row for row in found if row[2]]


def content_of(root: orm.ProcessNode) -> Content:
    """Return what a report of a process says, of whatever there is of it.

    Parameters
    ----------
    root : aiida.orm.ProcessNode
        A study, a stage, an experiment or an analysis; running, finished or failed.

    Raises
    ------
    ValueError
        If it is nothing that this package computes.
    """
    parts, left_out = parts_of(root)
    if not parts[0].is_ours:
        raise ValueError(
            f'{root.process_label} <{root.pk}> is no study, stage, experiment or analysis of this package: '
            '`softclay results` lists what has numbers'
        )
    tables = tables_of(parts)
    context = context_of(parts)
    chain = chain_of(parts)
    labels = labels_of(parts, context, chain)
    return Content(
        root=root,
        title=title_of(parts, context),
        facts=facts_of(parts, context, labels),
        caution=caution_of(labels),
        missing=missing_sentences(root, parts, left_out),
        stages=[_stage(part) for part in parts],
        warnings=warnings_of(tables),
        chain=chain,
        potential=potential_facts(parts, chain),
        figures=figures_of(parts),
        cells=cell_figures(parts),
        tables=tables,
        scorecard=scorecard_rows(parts),
        codes=codes_of(parts),
        versions=versions_of(parts),
        seeds=seeds_of(parts),
        again=again(root, parts[0].entry_point),
    )


def context_of(parts: list[Part]) -> dict[str, Any]:
    """Return what the numbers share: of the root, else of the stage that comes nearest to its end."""
    own = [part for part in parts if part.relation in ('root', 'called')]
    order = ('experiment', 'glass', 'validation', 'thermodynamics', 'fit', 'sampling')
    own.sort(key=lambda part: (part.relation != 'root', order.index(part.group) if part.group in order else -1))
    for part in own:
        if context := results_context(part.node):
            return context
    root = parts[0].node
    for link in root.base.links.get_outgoing(node_class=orm.Dict).all():
        if (context := link.node.get_dict().get('context')) and isinstance(context, dict):
            return context
    return {}


def material_of(parts: list[Part], context: dict[str, Any]) -> str:
    """Return the material in words; empty if none is recorded."""
    inputs = parts[0].node.inputs
    if 'mixture' in inputs:
        return str(inputs.mixture.value)
    if context.get('mixture'):
        return str(context['mixture'])
    if context.get('formula'):
        return formula_text(str(context['formula']))
    structure = glass_of(parts[0].node)
    return formula_text(structure.get_formula()) if structure is not None else '-'.join(context.get('salts') or [])


def title_of(parts: list[Part], context: dict[str, Any]) -> str:
    """Return the heading of a report."""
    material = material_of(parts, context)
    return f'{parts[0].title} of {material}' if material else parts[0].title


def facts_of(parts: list[Part], context: dict[str, Any], labels: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what stands below the title, each with what it is."""
    root = parts[0].node
    protocol = protocol_of(root) or str(context.get('protocol') or '')
    scale = scale_of(protocol)
    atoms = context.get('model_atoms') or context.get('n_atoms')
    structure = glass_of(root)
    if not atoms and structure is not None:
        atoms = len(structure.sites)
    sizes = sorted({atoms} if isinstance(atoms, int) else {len(glass.sites) for glass in glasses_of(root).values()})
    engines = [context.get('engine'), *(results_context(part.node).get('engine') for part in _experiments(parts))]
    names = list(dict.fromkeys(filter(None, map(engine_text, engines))))
    # What the root records is of all its numbers; only one that records nothing is known by its parts.
    engine = ', '.join(names[:1] if context.get('engine') else names)
    rows = [
        ('State', state_text(root)),
        ('Protocol', protocol or 'not recorded'),
        ('Scale', SCALES.get(scale, 'not recorded')),
        ('Energies and forces', labels_text(labels) or 'not recorded'),
        ('Engine of the numbers', engine or 'none yet'),
        ('Atoms', ' and '.join(f'{size:,}'.replace(',', ' ') for size in sizes) or 'not recorded'),
        ('Launched', date_text(root.ctime)),
        ('Last change', date_text(root.mtime)),
        ('Node', f'{root.process_label} <{root.pk}>, {root.uuid}'),
    ]
    if root.label:
        rows.insert(0, ('Label', root.label))
    if root.description:
        rows.insert(1, ('Description', root.description))
    return rows


def _experiments(parts: list[Part]) -> list[Part]:
    """Return the parts that the numbers about a material come from."""
    return [part for part in parts if part.relation == 'called' and part.group in ('glass', 'experiment')]


def protocol_of(process: orm.ProcessNode) -> str:
    """Return the protocol in the parameters of a process; empty if there is none."""
    if 'parameters' in process.inputs and isinstance(process.inputs.parameters, orm.Dict):
        return str(process.inputs.parameters.get_dict().get('protocol') or '')
    return ''


def labels_of(parts: list[Part], context: dict[str, Any], chain: Chain) -> dict[str, Any]:
    """Return the record of the engine behind all energies and forces: of the potential, the frames or the results."""
    potential = _potential_in(parts, chain)
    found = potential.base.attributes.get('labels', None) if potential is not None else None
    if isinstance(found, dict):
        return found
    for part in parts:
        frames = part.node.outputs.frames if 'frames' in part.node.outputs else None
        nodes = [frames] if isinstance(frames, orm.Data) else [frames[name] for name in frames or ()]
        for node in nodes:
            if isinstance(record := node.base.attributes.get('engine', None), dict):
                return record
    for record in (context.get('labels'), context.get('engine')):
        if isinstance(record, dict):
            return record
    return {}


def labels_text(record: dict[str, Any]) -> str:
    """Return what energies come from, and whether that is density functional theory.

    >>> labels_text({'program': 'softclay-vasp', 'version': '0.1', 'model': 'CHGNet 0.3.0'})
    'CHGNet 0.3.0 (softclay-vasp 0.1), a model in the place of DFT'
    """
    kind = {'model': ', a model in the place of DFT', 'dft': ', DFT', '': ''}[labels_kind(record)]
    text = engine_text(record)
    return f'{text}{kind}' if text else ''


def caution_of(record: dict[str, Any]) -> str:
    """Return a sentence where the energies are those of a model."""
    if labels_kind(record) != 'model':
        return ''
    return (
        f'Energies and forces behind these numbers come from {engine_text(record)}, a machine-learned model in the '
        'place of density functional theory. Nothing on this page is a DFT result.'
    )


def _potential_in(parts: list[Part], chain: Chain) -> Any:
    """Return the potential of the parts, else the one that stands behind what they were given."""
    found = next((found for part in parts if (found := potential_of(part.node)) is not None), None)
    behind = [pk for box in chain.boxes if box.layer == 'potential' for pk in box.nodes]
    return orm.load_node(behind[-1]) if found is None and behind else found


def potential_facts(parts: list[Part], chain: Chain) -> dict[str, Any]:
    """Return the potential of a report: node, what it was fitted to, test errors and gate."""
    potential = _potential_in(parts, chain)
    if potential is None:
        return {}
    attributes = potential.base.attributes
    verdict, rmse = attributes.get('verdict', None) or {}, attributes.get('test_rmse', None) or {}
    gate = verdict.get('gate') or {}
    rows = []
    for name, key, limit, unit in (
        ('energy', 'energy_meV_atom', 'rmse_energy_meV_atom', 'meV/atom'),
        ('force', 'force_meV_A', 'rmse_force_meV_A', 'meV/Å'),
        ('virial', 'virial_meV_atom', None, 'meV/atom'),
    ):
        if rmse.get(key) is None:
            continue
        wanted = gate.get(limit) if limit else None
        met = '' if wanted is None else 'met' if rmse[key] <= wanted else 'missed'
        rows.append({'name': name, 'rmse': value_text(rmse[key], None), 'unit': unit,
                     'gate': '' if wanted is None else f'{wanted:g}', 'met': met})  # fmt: skip
    passed = {True: 'The potential passed its gate.', False: 'The potential missed its gate.'}.get(
        verdict.get('passed'), 'No gate was set for the potential.' if rmse else 'It carries no test errors.'
    )
    about = [
        ('Node', f'<{potential.pk}>, md5 {attributes.get("md5", "")}'),
        ('Elements', '-'.join(attributes.get('type_map', None) or [])),
        ('Cutoff', f'{attributes.get("rcut", 0):g} Å'),
        ('Program', f'DeePMD-kit {attributes.get("version", "") or "(version not recorded)"}, '
                    f'{attributes.get("backend", "")}'),
        ('Fitted to', labels_text(attributes.get('labels', None) or {}) or 'not recorded'),
        ('Frames', _frames_text(verdict)),
    ]  # fmt: skip
    return {'pk': potential.pk, 'rows': rows, 'verdict': passed, 'about': [row for row in about if row[1]]}


def _frames_text(verdict: dict[str, Any]) -> str:
    counts = [
        f'{verdict[key]} for {what}'
        for key, what in (('n_training_frames', 'training'), ('n_test_frames', 'the test'))
        if verdict.get(key)
    ]
    steps = verdict.get('training_steps')
    return ', '.join([*counts, *([f'{steps} training steps'] if steps else [])])


def _stage(part: Part) -> dict[str, Any]:
    node = part.node
    relation = {'before': 'made the potential that was given', 'later': 'launched on its own', 'run': 'of a series'}
    minutes = (node.mtime - node.ctime).total_seconds() / 60 if node.is_terminated else None
    return {
        'title': part.title, 'pk': node.pk, 'state': state_text(node),
        'ok': node.is_finished_ok or not node.is_terminated or ended_with_warning(node),
        'relation': relation.get(part.relation, ''), 'started': date_text(node.ctime),
        'minutes': '' if minutes is None else f'{minutes:.1f}',
    }  # fmt: skip


def date_text(moment: datetime) -> str:
    """Return a moment as date and time of UTC."""
    return moment.astimezone(UTC).strftime('%Y-%m-%d %H:%M UTC')


def scorecard_rows(parts: list[Part]) -> list[dict[str, Any]]:
    """Return the published numbers that the numbers of a report answer.

    Parameters
    ----------
    parts : list of Part
        The first is the root; where it has no numbers yet, those of its stages count.
    """
    root = parts[0].node
    whole = 'results' in root.outputs
    keys = [part.node.pk for part in parts if part.relation in ('root', 'later') or
            (not whole and part.relation == 'called')]  # fmt: skip
    table = scorecard(processes=keys)
    table = table[table['verdict'] != 'none yet']
    rows = table.astype(object).where(pd.notna(table), None).to_dict('records')
    for row in rows:
        row['ours'] = value_text(row['value'], row['error'])
        row['theirs'] = {'upper': '< ', 'lower': '> '}.get(row['bound'], '') + value_text(row['published_value'], None)
        row['ratio'] = '' if row['ratio'] is None else f'{row["ratio"]:.3g}'.replace('-', '−')
    return rows
