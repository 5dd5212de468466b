"""Outputs of a job that joins runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from aiida_softclay.parsers.analysis import AnalysisParser


class JoinParser(AnalysisParser):
    """Read the time series and the seams, or say how the job ended."""

    def nodes(self, result: dict[str, Any], folder: Path) -> dict[str, orm.Data]:
        """Return what came back; the trajectory stays."""
        arrays = {f'arrays.{name}': self.read(about, folder) for name, about in result['outputs'].items()}
        return {**arrays, 'seams': orm.Dict(result['seams']), 'summary': orm.Dict(result['summary'])}
