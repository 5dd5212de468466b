"""Outputs of a job that joins runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode

from aiida_softclay.calculations.analysis import RESULT_FILE
from aiida_softclay.parsers.analysis import AnalysisParser


class JoinParser(AnalysisParser):
    """Read the time series and the seams, or say how the job ended."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach what came back; the trajectory stays."""
        names = self.retrieved.base.repository.list_object_names()
        if RESULT_FILE not in names:
            return self.exit_codes.ERROR_NO_RESULT.format(reason=self._last_words(names))
        try:
            result = json.loads(self.retrieved.base.repository.get_object_content(RESULT_FILE))
            if result['status']:
                return self.exit_codes.ERROR_ANALYSIS.format(reason=result['message'])
            folder = Path(kwargs['retrieved_temporary_folder'])
            arrays = {name: self._read(about, folder) for name, about in result['outputs'].items()}
            seams, summary = orm.Dict(result['seams']), orm.Dict(result['summary'])
        except (ValueError, KeyError, TypeError, OSError) as error:
            return self.exit_codes.ERROR_BROKEN_RESULT.format(reason=f'{type(error).__name__}: {error}')
        for name, node in arrays.items():
            self.out(f'arrays.{name}', node)
        self.out('seams', seams)
        self.out('summary', summary)
        return None
