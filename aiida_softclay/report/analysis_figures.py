"""What there is to draw of processes: the analyses they ran, each with the panels that are registered for it."""

from __future__ import annotations

from collections.abc import Iterator

from aiida import orm

from aiida_softclay.calculations.analyses import ANALYSES
from aiida_softclay.report import (  # noqa: F401 - the families register their panels when they are imported
    figures_density,
    figures_motion,
    figures_plasticity,
    figures_series,
    figures_structure,
    figures_thermodynamics,
    figures_transport,
)
from aiida_softclay.report.registry import Draw, Source, panels_from

#: Calcfunctions whose outputs can be drawn, to the name that their panels are registered under.
CALCFUNCTIONS = {
    **{path.rpartition(':')[2]: name for name, path in ANALYSES.items()},
    'analyse_arrhenius': 'arrhenius',
    'analyse_cooling_rates': 'cooling_rates',
    'analyse_glass_transition': 'glass_transition',
    'analyse_pulses': 'stress_pulse',
    'analyse_stress_strain_curve': 'constant_strain',
    'analyse_powder_pattern': 'powder_pattern',
    'assess_thermodynamics': 'thermodynamics',
    'screen_salts': 'screening',
}
#: Workchains of one analysis, to the name of their panels.
WORKCHAINS = {
    'conductivity': 'conductivity',
    'constant_strain': 'constant_strain',
    'constant_strain_series': 'constant_strain_series',
    'glass_transition': 'glass_transition',
    'reaction_energy': 'thermodynamics',
    'stress_pulse': 'stress_pulse',
    'stress_pulse_series': 'stress_pulse_series',
}


def entry_point_of(process: orm.ProcessNode) -> str:
    """Return the name of the entry point without its group: ``study``, ``analysis``; empty for foreign ones."""
    return (process.process_type or '').rpartition('softclay.')[2]


def sources_of(process: orm.ProcessNode) -> Iterator[tuple[str, str, Source]]:
    """Yield the analyses behind a process: a prefix that tells repeated ones apart, the name, and what it left."""
    outputs = process.outputs
    if isinstance(process, orm.CalcFunctionNode):
        if process.process_label in CALCFUNCTIONS:
            yield '', CALCFUNCTIONS[process.process_label], _source_of_calcfunction(process)
        return
    if isinstance(process, orm.CalcJobNode):
        if 'analysis' in process.inputs and 'results' in outputs:
            arrays = {label: outputs.arrays[label] for label in outputs.arrays} if 'arrays' in outputs else {}
            files = {label: outputs.files[label] for label in outputs.files} if 'files' in outputs else {}
            yield '', process.inputs.analysis.value, Source(outputs.results, arrays, files)
        return
    name = WORKCHAINS.get(entry_point_of(process))
    if name and 'results' in outputs:
        yield '', name, Source(outputs.results, {'curve': outputs.curve} if 'curve' in outputs else {})
    if entry_point_of(process) == 'conductivity_series':
        yield from _lines(process)
        return
    yield from _further(process)
    if entry_point_of(process) == 'study':
        yield from _stages_of_study(process)
    if entry_point_of(process) == 'glass_transition_series':
        yield from _rates(process)


def _source_of_calcfunction(process: orm.CalcFunctionNode) -> Source:
    links = process.base.links.get_outgoing().all()
    nodes = {link.link_label: link.node for link in links}
    results = next((node for node in nodes.values() if isinstance(node, orm.Dict)), None)
    return Source(
        results,
        {label: node for label, node in nodes.items() if isinstance(node, orm.ArrayData)},
        {label: node for label, node in nodes.items() if isinstance(node, orm.SinglefileData)},
    )


def _further(process: orm.ProcessNode) -> Iterator[tuple[str, str, Source]]:
    """Yield the further analyses of an experiment."""
    outputs = process.outputs
    if 'further' not in outputs:
        return
    curves = outputs.further_curves if 'further_curves' in outputs else {}
    for name in outputs.further:
        arrays = {
            label.removeprefix(f'{name}_'): curves[label] for label in curves if label.startswith(f'{name}_')
        }  # fmt: skip
        yield '', name, Source(outputs.further[name], arrays)


def _stages_of_study(process: orm.ProcessNode) -> Iterator[tuple[str, str, Source]]:
    """Yield what a study compared and measured, with the further analyses of its experiments."""
    outputs = process.outputs
    stages = outputs.stages if 'stages' in outputs else {}
    if 'pair_distributions' in outputs:
        yield '', 'anion_exchange', Source(stages.get('exchange'), {'curve': outputs.pair_distributions})
    curves = outputs.curves if 'curves' in outputs else {}
    for name in curves:
        yield '', name, Source(stages.get(name), {'curve': curves[name]})
    for child in process.called:
        if isinstance(child, orm.WorkChainNode) and entry_point_of(child) in WORKCHAINS:
            yield from _further(child)


def _lines(process: orm.ProcessNode) -> Iterator[tuple[str, str, Source]]:
    """Yield the Arrhenius lines of a series over temperatures, of single ions before those of all together."""
    outputs = process.outputs
    if 'further' not in outputs or 'arrhenius' not in outputs.further or 'further_curves' not in outputs:
        return
    names = [name.removeprefix('arrhenius_') for name in outputs.further_curves if name.startswith('arrhenius_')]
    for name in sorted(names, key=lambda name: (name.startswith('collective'), name)):
        curve = outputs.further_curves[f'arrhenius_{name}']
        yield f'{name}_', 'arrhenius', Source(outputs.further.arrhenius, {'curve': curve}, subject=name)


def _rates(process: orm.ProcessNode) -> Iterator[tuple[str, str, Source]]:
    """Yield the volumes at each cooling rate, and how the transition depends on it."""
    outputs = process.outputs
    curves = outputs.curves if 'curves' in outputs else {}
    for name in curves:
        results = outputs.stages[name] if 'stages' in outputs and name in outputs.stages else None
        yield f'{name}_', 'glass_transition', Source(results, {'curve': curves[name]})
    if 'curve' in outputs:
        yield '', 'cooling_rates', Source(None, {'curve': outputs.curve})


def analysis_panels(process: orm.ProcessNode) -> dict[str, tuple[orm.Data, Draw]]:
    """Return what there is to draw of the analyses behind a process, by the name of the panel."""
    found: dict[str, tuple[orm.Data, Draw]] = {}
    for prefix, name, source in sources_of(process):
        for title, panel in panels_from(name, source).items():
            found.setdefault(f'{prefix}{title}', panel)
    return found


def context_of(process: orm.ProcessNode) -> dict[str, object]:
    """Return what the results of a process say of the run they are of."""
    if 'results' in process.outputs:
        return dict(process.outputs.results.get_dict().get('context') or {})
    for _, _, source in sources_of(process):
        if source.context:
            return source.context
    return {}
