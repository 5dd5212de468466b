"""The same glass made in several ways, side by side: melt temperatures, cooling rates, seeds, sizes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import WorkChain, while_

from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.workflows.amorphous import AmorphousWorkChain
from aiida_softclay.workflows.concurrency import BoundedBranchesMixin, computer_job_limit
from aiida_softclay.workflows.ports import define_job_bound
from aiida_softclay.workflows.protocol import ProtocolError, ProtocolMixin, check_overrides, recursive_merge

_LABEL = re.compile(r'^[a-z][a-z0-9]*(_[a-z0-9]+)*$')


def variants_of(choices: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Return every combination of values as overrides, by a label that says what differs.

    Parameters
    ----------
    choices : mapping
        Dotted name of a parameter to its values, for example ``{'melt.temperature_K': [700, 900, 1100]}``.

    Raises
    ------
    ProtocolError
        If there is nothing to vary, or a value is given twice.
    """
    if not choices or not all(choices.values()):
        raise ProtocolError('a series varies something: name a parameter and its values, melt.temperature_K=700,900')
    found: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*choices.values()):
        overrides: dict[str, Any] = {}
        words = []
        for name, value in zip(choices, values, strict=True):
            nested: Any = value
            for key in reversed(name.split('.')):
                nested = {key: nested}
            overrides = recursive_merge(overrides, nested)
            words.append(f'{name.rsplit(".", 1)[-1]}_{value}')
        label = re.sub(r'_+', '_', re.sub(r'[^a-z0-9]+', '_', '_'.join(words).lower())).strip('_')
        if label in found:
            raise ProtocolError(f'{label} comes twice in the series')
        found[label] = overrides
    return found


class AmorphousSeriesWorkChain(ProtocolMixin, BoundedBranchesMixin, WorkChain):
    """Make a glass once for each variant of its parameters and put the numbers in one table.

    For the study of melt temperatures in gupta2023 (Supplementary Note 2.1), of cooling rates, or of the spread
    between seeds. A variant that fails is named and does not stop the others.
    """

    _protocol_file = AmorphousWorkChain._protocol_file

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(AmorphousWorkChain)
        spec.input(
            'variants', valid_type=orm.Dict, serializer=orm.to_aiida_type,
            help='Label of a variant to the parameters in which it differs.',
        )  # fmt: skip
        define_job_bound(spec)
        spec.inputs.validator = cls.validate_inputs
        spec.outline(cls.setup, while_(cls.has_pending_branches)(cls.submit_branches), cls.results)
        spec.output(
            'results', valid_type=orm.Dict, required=False, help='The numbers of all variants, in the results schema.'
        )
        spec.output_namespace('structures', valid_type=orm.StructureData, dynamic=True, help='The glasses, by variant.')
        spec.output_namespace('stages', valid_type=orm.Dict, dynamic=True, help='Results of each variant.')
        spec.exit_code(404, 'ERROR_VARIANTS_FAILED', message='these variants failed: {branches}')

    @classmethod
    def validate_inputs(cls, inputs: AttributeDict, context: Any) -> str | None:
        """Return what is wrong with a variant."""
        if any(name not in inputs for name in ('parameters', 'variants')):
            return None
        variants = inputs['variants'].get_dict()
        if not variants:
            return 'there is no variant: name at least one, with the parameters in which it differs'
        base = inputs['parameters'].get_dict()
        for label, overrides in variants.items():
            if not _LABEL.match(label):
                return f'`{label}` cannot be the label of a variant: use small letters, digits and single underscores'
            try:
                check_overrides(base, overrides)
            except (ProtocolError, AttributeError) as error:
                return f'{label}: {error}'
            parameters = orm.Dict(recursive_merge(base, overrides))
            problem = AmorphousWorkChain.validate_parameters(parameters, None)
            problem = problem or AmorphousWorkChain.validate_inputs({**inputs, 'parameters': parameters}, context)
            if problem:
                return f'{label}: {problem}'
        return None

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
            Label of each variant to its overrides; see :func:`variants_of`.
        max_concurrent_jobs : int, optional
            Most variants at once.

        Raises
        ------
        ProtocolError
            If the protocol, or a key of the overrides, does not exist.
        """
        made = AmorphousWorkChain.get_builder_from_protocol(code, mixture, **settings)
        builder = cls.get_builder()
        for name, value in made._inputs(prune=True).items():
            if name != 'metadata':
                builder[name] = value
        builder.variants = orm.Dict({label: dict(overrides) for label, overrides in variants.items()})
        if max_concurrent_jobs is not None:
            builder.max_concurrent_jobs = orm.Int(max_concurrent_jobs)
        builder.metadata.label = f'amorphous series {mixture}'
        return builder

    def setup(self) -> None:
        """Queue the variants."""
        bound = self.inputs.get('max_concurrent_jobs')
        limit = bound.value if bound is not None else computer_job_limit(self.inputs.code)
        self.ctx.variants = self.inputs.variants.get_dict()
        self.queue_branches(self.ctx.variants, limit)

    def build_branch(self, name: str) -> Any:
        """Return the builder of one variant."""
        builder = AmorphousWorkChain.get_builder()
        for key, value in self.exposed_inputs(AmorphousWorkChain).items():
            if key not in ('parameters', 'metadata'):
                builder[key] = value
        builder.parameters = orm.Dict(recursive_merge(self.inputs.parameters.get_dict(), self.ctx.variants[name]))
        builder.metadata.label = f'{self.inputs.mixture.value}: {name}'
        builder.metadata.call_link_label = f'variant_{name}'
        return builder

    def results(self) -> Any:
        """Gather the numbers of all variants that have any."""
        stages, failed = {}, []
        for name in self.ctx.variants:
            process = self.branch(name)
            if 'results' in process.outputs:
                stages[name] = process.outputs.results
                self.out(f'stages.{name}', process.outputs.results)
            if 'structure' in process.outputs:
                self.out(f'structures.{name}', process.outputs.structure)
            if not process.is_finished_ok:
                failed.append(f'{name} ({process.exit_message})')
        context = {'mixture': self.inputs.mixture.value, 'variants': self.ctx.variants}
        if stages:
            self.out(
                'results',
                collect_results(orm.Dict(context), **stages, metadata={'call_link_label': 'collect_results'}),
            )
        if failed:
            return self.exit_codes.ERROR_VARIANTS_FAILED.format(branches=', '.join(failed))
        return None
