"""Summary of a conversion of raw dumps."""

from __future__ import annotations

import json
from typing import Any

from aiida import orm
from aiida.engine import ExitCode

from aiida_softclay.calculations.analysis import RESULT_FILE
from aiida_softclay.parsers.analysis import AnalysisParser


class ConvertParser(AnalysisParser):
    """Read what was written, or say how the job ended."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach the summary."""
        names = self.retrieved.base.repository.list_object_names()
        if RESULT_FILE not in names:
            return self.exit_codes.ERROR_NO_RESULT.format(reason=self._last_words(names))
        try:
            result = json.loads(self.retrieved.base.repository.get_object_content(RESULT_FILE))
            if result['status']:
                return self.exit_codes.ERROR_CONVERSION.format(reason=result['message'])
            self.out('summary', orm.Dict(result['summary']))
        except (ValueError, KeyError, TypeError) as error:
            return self.exit_codes.ERROR_BROKEN_RESULT.format(reason=f'{type(error).__name__}: {error}')
        return None
