"""The panels of an analysis, drawn, and what is on their axes."""

from __future__ import annotations

import numpy as np
from aiida import orm
from matplotlib.figure import Figure

from aiida_softclay.report import analysis_figures  # noqa: F401 - it registers the panels
from aiida_softclay.report.registry import Source, panels_from
from aiida_softclay.report.style import style


class Drawn:
    """The panels of an analysis on axes of their own, with the nodes they show."""

    def __init__(self, name, outputs):
        self.outputs = outputs
        arrays = {key: node for key, node in outputs.items() if isinstance(node, orm.ArrayData)}
        files = {key: node for key, node in outputs.items() if isinstance(node, orm.SinglefileData)}
        self.source = Source(outputs.get('results'), arrays, files)
        self.panels = panels_from(name, self.source)
        self.axes = {}
        with style():
            for title, (node, draw) in self.panels.items():
                axes = Figure().subplots()
                draw(axes, node)
                self.axes[title] = axes

    def array(self, name, node='curve'):
        return self.outputs[node].get_array(name)

    def __getitem__(self, panel):
        return self.axes[panel]


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def line(axes, name):
    """Return the data of a line by its label."""
    found = next(line for line in axes.lines if line.get_label() == name)
    return found.get_xdata(), found.get_ydata()


def labels(axes):
    return axes.get_xlabel(), axes.get_ylabel()


def heights(axes):
    return [patch.get_height() for patch in axes.patches]


def segments(axes):
    """Return the spans of all error bars as (number, 2) arrays of their ends."""
    return [
        np.array([part[:, 1] for part in bars.get_segments()])
        for container in axes.containers
        if hasattr(container, 'has_yerr') and container.has_yerr
        for bars in container[2]
    ]


def bands(axes):
    """Return lower and upper edge of each band, from left to right."""
    found = []
    for band in axes.collections:
        points = band.get_paths()[0].vertices
        found.append((points[:, 1].min(), points[:, 1].max()))
    return found
