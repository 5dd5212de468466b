"""Summary of a conversion of raw dumps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

from aiida_softclay.parsers.analysis import AnalysisParser


class ConvertParser(AnalysisParser):
    """Read what was written, or say how the job ended."""

    refused = 'ERROR_CONVERSION'

    def nodes(self, result: dict[str, Any], folder: Path) -> dict[str, orm.Data]:
        """Return the summary; the trajectories stay."""
        return {'summary': orm.Dict(result['summary'])}
