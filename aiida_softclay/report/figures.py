"""The curves behind the numbers of a study, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType

from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.telling import told
from aiida_softclay.report.analysis_figures import analysis_panels, context_of
from aiida_softclay.report.fit_figures import fit_panels
from aiida_softclay.report.glass_figures import glass_panels
from aiida_softclay.report.registry import Draw
from aiida_softclay.report.sampling_figures import sampling_panels
from aiida_softclay.report.style import GREY, PAGE_WIDTH, PANEL_SHAPE, grid_of, letter, small_print, style, tidy_ticks
from aiida_softclay.report.validation_figures import validation_panels

#: Formats that can be written; the first two are vectors.
SUFFIXES = ('.pdf', '.svg', '.png')


def panels_of(process: orm.ProcessNode) -> dict[str, tuple[orm.Data, Draw]]:
    """Return what there is to draw of a study, stage, experiment, analysis or validation, by the name of the panel."""
    found = analysis_panels(process) | sampling_panels(process) | fit_panels(process)
    return found | glass_panels(process) | validation_panels(process)


def plot_curves(process: orm.ProcessNode, path: Path, only: Sequence[str] = ()) -> list[str]:
    """Plot the curves of a process.

    Parameters
    ----------
    process : aiida.orm.ProcessNode
        A study, an experiment, an analysis (job or calcfunction), an amorphous model, or a validation.
    path : pathlib.Path
        Where to write; the suffix (``.pdf``, ``.svg``, ``.png``) decides the format.
    only : sequence of str
        Names of the panels that are wanted, in their order; all if not given.

    Returns
    -------
    list of str
        Names of the panels that were drawn.

    Raises
    ------
    ValueError
        If the process has no curves, lacks a panel that is wanted, or the suffix is none that is written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f'{path.name}: the picture is written as .png, .svg or .pdf')
    panels = panels_of(process)
    if not panels:
        raise ValueError(nothing_to_plot(process))
    if unknown := [name for name in only if name not in panels]:
        raise ValueError(f'there is no panel {", ".join(unknown)}: choose from {", ".join(panels)}')
    chosen = {name: panels[name] for name in only} if only else panels
    save_panels(chosen, path, said_of(context_of(process)))
    return list(chosen)


def nothing_to_plot(process: orm.ProcessNode) -> str:
    """Return a sentence that names the steps of a process without curves of its own, as far as these have any."""
    said = f'{process.process_label} <{process.pk}> has no curves to plot'
    called = process.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all()
    steps = [f'{link.node.pk} ({link.link_label})' for link in called if panels_of(link.node)]
    return f'{said} of its own; plot one of its steps: {", ".join(steps)}' if steps else said


def save_panels(panels: Mapping[str, tuple[Any, Draw]], path: Path, said: str = '') -> None:
    """Draw panels on one page, with letters and small print, into a file.

    Parameters
    ----------
    panels : mapping
        Name to the node, which may be None, and what draws it.
    path : pathlib.Path
        The suffix decides the format.
    said : str
        What is written below: material, size, engine, scale.
    """
    with style():
        from matplotlib import pyplot as plt

        rows, columns = grid_of(len(panels))
        width = PAGE_WIDTH if columns > 1 else 0.55 * PAGE_WIDTH
        height = rows * width / columns * PANEL_SHAPE + 0.35
        figure, grid = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout='constrained')
        try:
            drawn = told(zip(grid.flat, panels.values(), strict=False), 'drawing panels', len(panels))
            for index, (axes, (node, draw)) in enumerate(drawn):
                draw(axes, node)
                tidy_ticks(axes)
                if len(panels) > 1:
                    letter(axes, index)
            for axes in list(grid.flat)[len(panels) :]:
                axes.set_axis_off()
            nodes = list(dict.fromkeys(node.pk for node, _ in panels.values() if node is not None and node.pk))
            sources = f'drawn from nodes {", ".join(map(str, nodes))}' if nodes else ''
            text = '; '.join(part for part in (said, sources) if part)
            figure.supxlabel(fill(text, round(22 * width)), fontsize=5.5, color=GREY, x=0.01, ha='left')
            figure.savefig(path)
        finally:
            plt.close(figure)


def said_of(context: Mapping[str, Any]) -> str:
    """Return the small print of a figure: the run, and to what the potential was fitted.

    A potential that was fitted to a stand-in for DFT must not pass for one that was fitted to DFT.
    """
    stated = dict(context)
    if fitted := fitted_to(context.get('potential_uuid')):
        stated['engine'] = ', '.join(text for text in (str(context.get('engine') or ''), fitted) if text)
    return small_print(stated)


def fitted_to(uuid: str | None) -> str:
    """Return what the potential with this uuid was fitted to; empty if there is none or it does not say."""
    if not uuid:
        return ''
    try:
        labels = getattr(orm.load_node(uuid), 'labels', None)
    except (NotExistent, ValueError):
        return ''
    return f'DP fitted to {engine_text(labels)}' if labels else ''
