"""What a report is about: a process, the stages that it called, and what was launched on their outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aiida import orm
from aiida.common.links import LinkType

from aiida_softclay.report.analysis_figures import CALCFUNCTIONS, entry_point_of
from aiida_softclay.report.progress import ended_with_warning, state_text

#: Workchain, by entry point, to its name in a report and the group of stages that it belongs to. Stages of one group
#: stand together in the picture of the chain.
STAGES: dict[str, tuple[str, str]] = {
    'study': ('Study', 'whole'),
    'paper': ('Runs of a paper', 'whole'),
    'build_potential': ('Making of the potential', 'whole'),
    'concurrent_learning': ('Concurrent learning', 'whole'),
    'melt_quench': ('Melt and quench of reference structures', 'whole'),
    'aimd': ('AIMD', 'sampling'),
    'label': ('Labels of configurations', 'sampling'),
    'fit_potential': ('Fit of the potential', 'fit'),
    'fit_committee': ('Fit of a committee', 'fit'),
    'validate_potential': ('Validation of the potential', 'validation'),
    'reaction_energy': ('Thermodynamics', 'thermodynamics'),
    'amorphous': ('Amorphous model', 'glass'),
    'amorphous_series': ('Series of amorphous models', 'glass'),
    'conductivity': ('Conductivity', 'experiment'),
    'conductivity_series': ('Conductivity over temperatures', 'experiment'),
    'stress_pulse': ('Stress pulses', 'experiment'),
    'stress_pulse_series': ('Series of stress pulses', 'experiment'),
    'constant_strain': ('Constant strain rate', 'experiment'),
    'constant_strain_series': ('Series of constant strain rates', 'experiment'),
    'glass_transition': ('Glass transition', 'experiment'),
    'glass_transition_series': ('Glass transition over cooling rates', 'experiment'),
    'md': ('Molecular dynamics', 'experiment'),
}
#: Stages of a study, in their order: the label of the call, the name in the report, whether a given potential spares
#: it.
STUDY = (
    ('sampling', 'The ab initio sampling', True),
    ('fit_potential', 'The fit of the potential', True),
    ('amorphous', 'The amorphous model', False),
    ('conductivity', 'The conductivity run', False),
    ('stress_pulse', 'The stress pulses', False),
    ('constant_strain', 'The constant strain rate', False),
)
#: Most processes launched on the outputs of a study that its report shows: a glass may serve hundreds.
MOST_LATER = 24


@dataclass(frozen=True)
class Part:
    """A process of a report.

    Attributes
    ----------
    node : aiida.orm.ProcessNode
    call : str
        Label of the call that started it; empty for the process that was asked about and for what was launched on its
        own.
    relation : str
        ``root``, ``called``, ``run`` (one of many of a series), ``before`` (it made the potential that was given) or
        ``later`` (launched on outputs).
    """

    node: orm.ProcessNode
    call: str
    relation: str

    @property
    def entry_point(self) -> str:
        """Return the entry point without its group; empty for processes of others."""
        return entry_point_of(self.node)

    @property
    def group(self) -> str:
        """Return the group of stages; ``analysis`` for what is no workchain of :data:`STAGES`."""
        return STAGES.get(self.entry_point, ('', 'analysis'))[1]

    @property
    def is_ours(self) -> bool:
        """Return whether this package computes it: a stage, or an analysis that it can draw or that has numbers."""
        return (
            self.entry_point in STAGES
            or self.node.process_label in CALCFUNCTIONS
            or self.entry_point == 'analysis'
            or 'results' in self.node.outputs
        )

    @property
    def title(self) -> str:
        """Return what the process is called in a report."""
        name = STAGES.get(self.entry_point, ('', ''))[0] or _analysis_name(self.node)
        about = self.call.removeprefix('aimd_') if self.group == 'sampling' else ''
        return f'{name}: {about}' if about and about not in STAGES else name


def _analysis_name(node: orm.ProcessNode) -> str:
    if isinstance(node, orm.CalcJobNode) and 'analysis' in node.inputs:
        return f'Analysis {node.inputs.analysis.value}'
    if node.process_label in CALCFUNCTIONS:
        return f'Analysis {CALCFUNCTIONS[node.process_label]}'
    return str(node.process_label or 'process')


def parts_of(root: orm.ProcessNode, most_later: int = MOST_LATER) -> tuple[list[Part], int]:
    """Return the processes of a report.

    Parameters
    ----------
    root : aiida.orm.ProcessNode
        A study, a stage, an experiment, or an analysis.
    most_later : int
        Most processes that were launched on its outputs, the newest.

    Returns
    -------
    parts : list of Part
        The root first, then the fit of a potential that was given, what the root called depth first, and what was
        launched later on the outputs of all of these.
    left_out : int
        Processes beyond the most.
    """
    parts = [Part(root, '', 'root'), *_before(root), *_called(root)]
    known = {part.node.pk for part in parts}
    fresh, later = parts, []
    while fresh:
        fresh = [part for part in _later(fresh) if part.node.pk not in known]
        known |= {part.node.pk for part in fresh}
        later += fresh
    later.sort(key=lambda part: part.node.pk)
    left_out = max(0, len(later) - most_later)
    return [*parts, *later[left_out:]], left_out


def _called(node: orm.ProcessNode, relation: str = 'called') -> Iterator[Part]:
    """Yield the stages under a process; the runs that make up an experiment are part of it."""
    if entry_point_of(node).endswith('_series'):
        relation = 'run'
    links = node.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all()
    for link in sorted(links, key=lambda link: link.node.pk):
        name = entry_point_of(link.node)
        if name == 'md' or (name not in STAGES and not (link.node.process_type or '').startswith('aiida.workflows')):
            continue
        if name in STAGES:
            yield Part(link.node, link.link_label, relation)
        yield from _called(link.node, relation)


def potential_of(root: orm.ProcessNode) -> orm.Data | None:
    """Return the potential that a process made or was given, if there is one."""
    for links in (root.outputs, root.inputs):
        if 'potential' in links and 'softclay.potential' in links['potential'].node_type:
            return links['potential']
    return None


def _before(root: orm.ProcessNode) -> list[Part]:
    """Return the fit behind a potential that was given."""
    if 'potential' not in root.inputs or root.inputs.potential.creator is None:
        return []
    fit = root.inputs.potential.creator.caller
    return [Part(fit, '', 'before')] if fit is not None and entry_point_of(fit) in STAGES else []


def _outputs_of(parts: Iterable[Part]) -> list[int]:
    """Return the trajectories of processes, and the structures of glasses among them."""
    pks = [part.node.pk for part in parts if part.relation != 'before']
    query = orm.QueryBuilder()
    query.append(orm.ProcessNode, filters={'id': {'in': pks}}, tag='maker')
    query.append(
        orm.Data,
        with_incoming='maker',
        filters={'node_type': {'like': 'data.softclay.trajectory%'}},
        project='id',
    )
    found = set(query.distinct().all(flat=True))
    found |= {
        part.node.outputs.structure.pk
        for part in parts
        if part.relation != 'before' and part.group in ('glass', 'whole') and 'structure' in part.node.outputs
    }
    return sorted(found)


def _later(parts: Iterable[Part]) -> list[Part]:
    """Return analyses and experiments that nobody called and that took outputs of these parts."""
    data = _outputs_of(parts)
    if not data:
        return []
    types = [f'aiida.workflows:softclay.{name}' for name, (_, group) in STAGES.items() if group == 'experiment']
    query = orm.QueryBuilder()
    query.append(orm.Data, filters={'id': {'in': data}}, tag='data')
    query.append(
        orm.ProcessNode,
        with_incoming='data',
        filters={
            'or': [
                {'process_type': {'in': [*types, 'aiida.calculations:softclay.analysis']}},
                {'attributes.process_label': {'in': sorted(CALCFUNCTIONS)}},
            ]
        },
    )
    found = {node.pk: node for node in query.distinct().all(flat=True)}
    return [Part(node, '', 'later') for pk, node in sorted(found.items()) if node.caller is None]


def missing_sentences(root: orm.ProcessNode, parts: Iterable[Part], left_out: int = 0) -> list[str]:
    """Return a sentence for each stage of a study that did not run, and for each process that did not end well.

    Parameters
    ----------
    root : aiida.orm.ProcessNode
    parts : iterable of Part
        Those of the root.
    left_out : int
        Processes launched on its outputs that are not among them.

    Returns
    -------
    list of str
        Empty where everything ran and ended well.
    """
    parts = list(parts)
    said = []
    if not root.is_terminated:
        said.append(f'The {_lower(parts[0].title)} <{root.pk}> has not ended yet: this is what there is so far.')
    for part in parts:
        if part.node.is_finished_ok:
            continue
        what = 'did not succeed: ' if part.node.is_terminated else 'is not done: '
        what = '' if ended_with_warning(part.node) else what
        if part.relation != 'root':
            said.append(f'{part.title} <{part.node.pk}> {what}{_whole(state_text(part.node))}')
        elif part.node.is_terminated:
            said.append(f'The {_lower(part.title)} <{root.pk}> {what}{_whole(state_text(root))}')
    if entry_point_of(root) == 'study':
        calls = {part.call for part in parts if part.relation == 'called'}
        if any(part.group == 'sampling' and part.relation == 'called' for part in parts):
            calls.add('sampling')
        for call, name, spared in STUDY:
            if call in calls:
                continue
            if spared and 'potential' in root.inputs:
                said.append(f'{name} is not part of this study: its potential <{root.inputs.potential.pk}> was given.')
            else:
                said.append(f'{name} {"did not run" if root.is_terminated else "has not started yet"}.')
    if left_out:
        said.append(f'{left_out} older processes that were launched on its outputs are not shown.')
    return said


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:] if not title[:2].isupper() else title


def _whole(sentence: str) -> str:
    return sentence if sentence.endswith(('.', '!', '?')) else f'{sentence}.'
