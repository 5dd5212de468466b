"""The figures of a report: what the registry draws of its parts, with captions, chapter by chapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.log import AIIDA_LOGGER

from aiida_softclay.report.analysis_figures import sources_of
from aiida_softclay.report.figures import fitted_to
from aiida_softclay.report.fit_figures import fit_panels
from aiida_softclay.report.glass_figures import glass_panels
from aiida_softclay.report.page.captions import CHAPTER_OF, definition_of, scale_text, window_text
from aiida_softclay.report.page.parts import Part
from aiida_softclay.report.page.pictures import Picture, cell_picture, panel_picture
from aiida_softclay.report.registry import panels_from
from aiida_softclay.report.sampling_figures import sampling_panels
from aiida_softclay.report.style import formula_text
from aiida_softclay.report.validation_figures import validation_panels

#: Most figures of a page, so that a series over many temperatures does not make it too large to open.
MOST_FIGURES = 72
#: Largest number of atoms whose cell is drawn.
MOST_ATOMS = 200_000
#: What a panel raises of data from which it cannot be drawn: they lack something or do not fit together, an output is
#: not there, or an archive left the file out. Anything else is a mistake of the program.
UNDRAWABLE = (ValueError, NotExistent, FileNotFoundError)
LOGGER = AIIDA_LOGGER.getChild('softclay.report')

Made = TypeVar('Made')


@dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    Attributes
    ----------
    picture : Picture or None
        ``None`` if it could not be drawn; ``problem`` says why.
    title : str
        Name of the panel, by which `softclay plot` draws it alone.
    chapter : str
        Key of :data:`~aiida_softclay.report.page.captions.CHAPTERS`.
    definition, window, scale : str
        Sentences, empty where nothing is known.
    nodes : list of int
        What was drawn: the node, and the process that it is of.
    problem : str
        Why there is no picture.
    """

    picture: Picture | None
    title: str
    chapter: str
    definition: str
    window: str
    scale: str
    nodes: list[int]
    process: int
    problem: str = ''


def figures_of(parts: Iterable[Part]) -> list[Figure]:
    """Return the figures of the parts of a report, each node drawn once.

    Those of a study come before those of its stages, and the runs of a series are drawn by the series only.
    """
    parts = list(parts)
    found: list[Figure] = []
    drawn: set[tuple[int, str]] = set()
    # A paper has several glasses and conductivities: the caption names the step.
    named = bool(parts) and parts[0].entry_point == 'paper'
    for part in parts:
        if part.relation == 'run':
            continue
        panels, problem = _drawn(f'the figures of {part.title} <{part.node.pk}>', lambda part=part: list(_panels(part)))
        if problem:
            found.append(Figure(None, part.title, 'other', '', '', '', [], part.node.pk, problem))
        for analysis, panel, prefix, node, draw, rows, context in panels or ():
            key = (node.pk, panel)
            if key in drawn or len(found) >= MOST_FIGURES:
                continue
            drawn.add(key)
            figure = _figure(part, analysis, panel, prefix, node, draw, rows, context)
            step = f'Step {part.call}. ' if named and part.relation == 'called' and part.call else ''
            found.append(replace(figure, scale=f'{step}{figure.scale}'))
    return found


def _drawn(what: str, draw: Callable[[], Made]) -> tuple[Made | None, str]:
    """Return what was drawn, or ``None`` and why not: what one analysis left must not cost the reader the rest.

    A mistake of the program is logged with its traceback, and the sentence asks the reader to report it.
    """
    try:
        return draw(), ''
    except UNDRAWABLE as error:
        return None, f'{what} could not be drawn: {error}'
    except Exception as error:
        # To the standard error: a page may be on its way to the standard output.
        LOGGER.exception(f'{what} could not be drawn', extra={'err': True})
        return None, (
            f'{what} could not be drawn, by a mistake of aiida-softclay and not of the data: drawing failed with '
            f'{type(error).__name__}: {error}. Please report it with the traceback that `softclay report` prints'
        )


def _panels(part: Part) -> Iterator[tuple[str, str, str, Any, Any, list[dict[str, Any]], dict[str, Any]]]:
    """Yield analysis, panel, prefix, node, what draws it, its numbers and their context."""
    for prefix, analysis, source in sources_of(part.node):
        for panel, (node, draw) in panels_from(analysis, source).items():
            yield analysis, f'{prefix}{panel}', prefix, node, draw, source.rows(), source.context
    context = results_context(part.node)
    for panel, (node, draw) in glass_panels(part.node).items():
        if panel != 'cell':
            yield 'glass', panel, '', node, draw, [], context
    if part.relation == 'root':
        # Of each of the many runs of a study they would say that it ran.
        for panel, (node, draw) in sampling_panels(part.node).items():
            yield 'aimd', panel, '', node, draw, [], context
    for panel, (node, draw) in fit_panels(part.node).items():
        yield 'fit', panel, '', node, draw, [], context
    if part.group in ('validation', 'whole', 'experiment', 'analysis'):
        for panel, (node, draw) in validation_panels(part.node).items():
            yield 'validation', panel, '', node, draw, [], context


def results_context(process: orm.ProcessNode) -> dict[str, Any]:
    """Return what the numbers of a process share; empty if it has none."""
    if 'results' not in process.outputs:
        return {}
    return dict(process.outputs.results.get_dict().get('context') or {})


def _figure(
    part: Part, analysis: str, panel: str, prefix: str, node: Any, draw: Any, rows: list[dict[str, Any]],
    context: dict[str, Any],
) -> Figure:  # fmt: skip
    picture, problem = _drawn(panel, lambda: panel_picture(node, draw))
    chapter = 'potential' if analysis in ('fit', 'validation') else CHAPTER_OF.get(analysis, 'other')
    window = window_text(rows, panel.removeprefix(prefix))
    return Figure(
        picture, panel, chapter, definition_of(analysis, panel, prefix), window, _scale(context), [node.pk],
        part.node.pk, problem,
    )  # fmt: skip


def _scale(context: dict[str, Any]) -> str:
    text = scale_text(context)
    fitted = fitted_to(context.get('potential_uuid'))
    # What ran with a potential of ours names the labels already.
    return f'{text.removesuffix(".")}, {fitted}.' if text and fitted and 'fitted to' not in text else text


def cell_figures(parts: Iterable[Part]) -> list[Figure]:
    """Return the pictures of the cell: the glass, or the structure an experiment started from; of a paper all glasses.

    Parameters
    ----------
    parts : iterable of Part
        The first is the root.
    """
    parts = list(parts)
    root = parts[0].node
    if (glass := glass_of(root)) is not None:
        return [_cell(glass, root, 'The cell, coloured by element.')]
    return [
        _cell(structure, root, f'The cell of step {name}, coloured by element.')
        for name, structure in glasses_of(root).items()
    ]


def glasses_of(root: orm.ProcessNode) -> dict[str, orm.StructureData]:
    """Return the glasses of a process that makes several, by the step that made each."""
    if 'structures' not in root.outputs:
        return {}
    found = root.outputs['structures']
    return {name: found[name] for name in sorted(found) if isinstance(found[name], orm.StructureData)}


def glass_of(root: orm.ProcessNode) -> orm.StructureData | None:
    """Return the structure that a report is about: the one made, else the one given."""
    for links in (root.outputs, root.inputs):
        for name in ('structure', 'output_structure'):
            if name in links and isinstance(links[name], orm.StructureData):
                return links[name]
    return None


def _cell(structure: orm.StructureData, process: orm.ProcessNode, definition: str) -> Figure:
    picture, problem, about = None, '', f'The cell <{structure.pk}>'
    if len(structure.sites) > MOST_ATOMS:
        problem = f'{about} is not drawn: it has {len(structure.sites)} atoms'
    else:
        picture, problem = _drawn(about, lambda: cell_picture(structure, about))
    scale = f'{formula_text(structure.get_formula())}, {len(structure.sites)} atoms.'
    return Figure(picture, 'cell', 'cell', definition, '', scale, [structure.pk], process.pk, problem)
