"""Outputs of an analysis job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calculations.analysis import OUTPUT_FILE, RESULT_FILE

#: Last lines of the output that are quoted.
QUOTED_LINES = 3


class AnalysisParser(Parser):
    """Read the result of an analysis, or say how it ended."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach numbers, curves and files."""
        names = self.retrieved.base.repository.list_object_names()
        if RESULT_FILE not in names:
            return self.exit_codes.ERROR_NO_RESULT.format(reason=self._last_words(names))
        try:
            result = json.loads(self.retrieved.base.repository.get_object_content(RESULT_FILE))
            if result['status']:
                return self.exit_codes.ERROR_ANALYSIS.format(reason=result['message'])
            folder = Path(kwargs['retrieved_temporary_folder'])
            nodes = {name: self._read(about, folder) for name, about in result['outputs'].items()}
            statistics = orm.Dict(result['statistics'])
        except (ValueError, KeyError, TypeError, OSError) as error:
            return self.exit_codes.ERROR_BROKEN_RESULT.format(reason=f'{type(error).__name__}: {error}')
        for name, node in nodes.items():
            if isinstance(node, orm.Dict):
                self.out(name, node)
            else:
                self.out(f'{"arrays" if isinstance(node, orm.ArrayData) else "files"}.{name}', node)
        self.out('statistics', statistics)
        return None

    def _read(self, about: dict[str, Any], folder: Path) -> orm.Data:
        """Return an output as a node."""
        if about['type'] == 'dict':
            check_results(about['value'])
            return orm.Dict(about['value'])
        path = folder / Path(about['file']).name
        if about['type'] == 'file':
            return orm.SinglefileData(path, filename=Path(about['filename']).name)
        with np.load(path, allow_pickle=False) as arrays:
            node = orm.ArrayData({name: arrays[name] for name in arrays.files})
        for key, value in about['attributes'].items():
            node.base.attributes.set(key, value)
        return node

    def _last_words(self, names: list[str]) -> str:
        text = ''
        if OUTPUT_FILE in names:
            content = self.retrieved.base.repository.get_object_content(OUTPUT_FILE, mode='rb')
            text = content.decode('utf-8', errors='replace')
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = self.node.get_scheduler_stderr() or ''
        lines += [line.strip() for line in errors.splitlines() if line.strip()]
        return ' / '.join(lines[-QUOTED_LINES:]) or 'it printed nothing'
