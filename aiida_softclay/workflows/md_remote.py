"""Molecular dynamics whose frames are too large to be retrieved: they become trajectory files where they lie."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiida import orm
from aiida.engine import ToContext

from aiida_softclay.calculations.convert import ConvertCalculation
from aiida_softclay.calculations.lammps import dumps_stay, structure_symbols
from aiida_softclay.calculations.md_plan import MdPlan


class RemoteDumpsMixin:
    """Leave raw dumps above ``max_retrieved_bytes`` on the computer and convert them there, given ``analysis_code``."""

    ctx: Any
    inputs: Any
    exit_codes: Any
    report: Any
    out: Any
    submit: Any

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs and outputs."""
        super().define(spec)  # type: ignore[misc]
        spec.input(
            'analysis_code', valid_type=orm.AbstractCode, required=False,
            help='`softclay-analyse` on the computer of LAMMPS: turns dumps that stay there into trajectory files.',
        )  # fmt: skip
        spec.output_namespace(
            'remote_dumps', valid_type=orm.RemoteData, dynamic=True, required=False,
            help='Folders of the jobs, in order, where the raw dumps were too large to be retrieved.',
        )  # fmt: skip
        spec.output(
            'remote_trajectories', valid_type=orm.RemoteData, required=False,
            help='Folder on the computer with the trajectory of each stage as STAGE.h5.',
        )  # fmt: skip
        spec.output(
            'remote_summary', valid_type=orm.Dict, required=False,
            help='Bytes, frames, steps and content hash of the trajectories in that folder.',
        )  # fmt: skip
        spec.exit_code(
            411, 'ERROR_CONVERSION', message='the dumps stayed on the computer and could not be converted: {message}'
        )

    def frames_stay(self) -> bool:
        """Return whether the raw dumps are not retrieved."""
        symbols = structure_symbols(self.inputs.structure)
        return dumps_stay(MdPlan.from_dict(self.ctx.plan), symbols, self.inputs.max_retrieved_bytes.value)

    def convert_dumps(self) -> Any:
        """Submit the conversion of the dumps that stay."""
        if not self.ctx.finished or not self.frames_stay():
            return None
        plan, counts = MdPlan.from_dict(self.ctx.plan), Counter(structure_symbols(self.inputs.structure))
        self.report(f'raw dumps of {plan.dump_bytes(counts):,} bytes stay on the computer')
        if 'analysis_code' not in self.inputs:
            self.report('give analysis_code to have them converted there, or run softclay.convert on remote_dumps')
            return None
        segments = [node for node in self.ctx.segments if node is not None]
        node = self.submit(
            ConvertCalculation, code=self.inputs.analysis_code, plan=self.inputs.plan, structure=self.inputs.structure,
            engine=orm.Dict(segments[-1].outputs.statistics.get_dict()['engine']),
            segments={key: item.outputs.remote_folder for key, item in _numbered(segments).items()},
            metadata={'call_link_label': 'convert_dumps', 'label': 'conversion of raw dumps'},
        )  # fmt: skip
        self.report(f'launched their conversion, ConvertCalculation<{node.pk}>')
        return ToContext(conversion=node)

    def attach_remote(self, segments: list[orm.CalcJobNode]) -> None:
        """Attach the folders with the dumps that stay, and with what was made of them."""
        if not self.frames_stay():
            return
        for key, node in _numbered(segments).items():
            self.out(f'remote_dumps.{key}', node.outputs.remote_folder)
        if 'conversion' in self.ctx and self.ctx.conversion.is_finished_ok:
            self.out('remote_trajectories', self.ctx.conversion.outputs.remote_folder)
            self.out('remote_summary', self.ctx.conversion.outputs.summary)


def _numbered(segments: list[orm.CalcJobNode]) -> dict[str, orm.CalcJobNode]:
    return {f'segment_{index:04d}': node for index, node in enumerate(segments)}
