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
from aiida_softclay.calculations.analysis_program import OUTPUT_FILE, RESULT_FILE

#: Last lines of the output that are quoted.
QUOTED_LINES = 3


class AnalysisParser(Parser):
    """Read the result of an analysis, or say how it ended."""

    #: Exit code of a job whose program says itself what is wrong.
    refused = 'ERROR_ANALYSIS'

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach what came back, or return how the job ended."""
        names = self.retrieved.base.repository.list_object_names()
        if RESULT_FILE not in names:
            return self.exit_codes.ERROR_NO_RESULT.format(reason=self._last_words(names))
        try:
            result = json.loads(self.retrieved.base.repository.get_object_content(RESULT_FILE))
            if result['status']:
                return self.exit_codes[self.refused].format(reason=result['message'])
            nodes = self.nodes(result, Path(kwargs.get('retrieved_temporary_folder', '')))
        except (ValueError, KeyError, TypeError, OSError) as error:
            return self.exit_codes.ERROR_BROKEN_RESULT.format(reason=f'{type(error).__name__}: {error}')
        for name, node in nodes.items():
            self.out(name, node)
        return None

    def nodes(self, result: dict[str, Any], folder: Path) -> dict[str, orm.Data]:
        """Return the outputs by their full names: numbers, curves, files."""
        nodes: dict[str, orm.Data] = {}
        for name, about in result['outputs'].items():
            node = self.read(about, folder)
            space = '' if isinstance(node, orm.Dict) else 'arrays.' if isinstance(node, orm.ArrayData) else 'files.'
            nodes[space + name] = node
        return {**nodes, 'statistics': orm.Dict(result['statistics'])}

    def read(self, about: dict[str, Any], folder: Path) -> orm.Data:
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
