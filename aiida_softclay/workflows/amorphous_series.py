"""The same glass made in several ways, side by side: melt temperatures, cooling rates, seeds, sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.workflows.amorphous import AmorphousWorkChain
from aiida_softclay.workflows.series import SeriesWorkChain

_LABEL = re.compile(r'^[a-z][a-z0-9]*(_[a-z0-9]+)*$')


class AmorphousSeriesWorkChain(SeriesWorkChain):
    """Make a glass once for each variant of its parameters and put the numbers in one table.

    For the study of melt temperatures in gupta2023 (Supplementary Note 2.1), of cooling rates, or of the spread
    between seeds. A variant that fails is named and does not stop the others.
    """

    _process = AmorphousWorkChain
    _protocol_file = AmorphousWorkChain._protocol_file
    _runs = 'variants'
    _link_prefix = 'variant_'
    _gathered = {
        'results': ('stages', orm.Dict, 'Results of each variant.'),
        'structure': ('structures', orm.StructureData, 'The glasses, by variant.'),
    }

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define the variants and what may fail."""
        super().define(spec)
        spec.input(
            'variants', valid_type=orm.Dict, serializer=orm.to_aiida_type,
            help='Label of a variant to the parameters in which it differs.',
        )  # fmt: skip
        spec.exit_code(404, 'ERROR_VARIANTS_FAILED', message='these variants failed: {branches}')

    @classmethod
    def runs_of(cls, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the overrides of each variant."""
        variants = inputs['variants'].get_dict() if 'variants' in inputs else {}
        if not variants:
            raise ValueError('there is no variant: name at least one, with the parameters in which it differs')
        for label in variants:
            if not _LABEL.match(label):
                raise ValueError(
                    f'`{label}` cannot be the label of a variant: use small letters, digits and single underscores'
                )
        return variants

    @classmethod
    def get_builder_from_protocol(
        cls, code: orm.AbstractCode, mixture: str, variants: Mapping[str, Mapping[str, Any]], *,
        max_concurrent_jobs: int | None = None, **settings: Any,
    ) -> Any:  # fmt: skip
        """Return a complete builder.

        Parameters
        ----------
        code, mixture, settings
            As for :meth:`AmorphousWorkChain.get_builder_from_protocol`.
        variants : mapping
            Label of each variant to its overrides; see
            :func:`~aiida_softclay.workflows.series_plan.variants_of`.
        max_concurrent_jobs : int, optional
            Most variants at once.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        """
        made = AmorphousWorkChain.get_builder_from_protocol(code, mixture, **settings)
        builder = cls.series_builder(made, max_concurrent_jobs)
        builder.variants = orm.Dict({label: dict(overrides) for label, overrides in variants.items()})
        builder.metadata.label = f'amorphous series {mixture}'
        return builder

    def run_title(self, name: str) -> str:
        """Return the label of the process of a variant."""
        return f'{self.inputs.mixture.value}: {name}'

    def combine(self, finished: Mapping[str, orm.ProcessNode], failed: list[str]) -> Any:
        """Gather the numbers of all variants that have any."""
        if finished:
            context = orm.Dict({'mixture': self.inputs.mixture.value, 'variants': self.ctx.runs})
            stages = {name: process.outputs.results for name, process in finished.items()}
            self.out('results', collect_results(context, **stages, metadata={'call_link_label': 'collect_results'}))
        if failed:
            return self.exit_codes.ERROR_VARIANTS_FAILED.format(branches=', '.join(failed))
        return None
