"""Parser of ``dp compress`` and of the comparison of the two models."""

from __future__ import annotations

from typing import Any

from aiida.engine import ExitCode

from aiida_softclay.calculations.dp_base import model_filename

from .dp_base import DpParser
from .dp_files import UnreadableError, read_model_deviation

#: What must agree: words, key of the agreement, input with the limit, unit.
COMPARED = (
    ('an energy', 'max_energy_difference_eV_atom', 'max_energy_difference', 'eV/atom'),
    ('a force', 'max_force_difference_eV_A', 'max_force_difference', 'eV/Å'),
    ('a virial', 'max_virial_difference_eV_atom', 'max_virial_difference', 'eV/atom'),
)


class DpCompressParser(DpParser):
    """Take the compressed model and how far it is from the original."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Return ``None`` if there is a model, and it agrees with the original where that was asked for."""
        original = self.node.inputs.potential
        comparison_log = self.text('dp_model-devi.out')
        facts = self.log_facts(self.log)
        facts['original_md5'] = original.md5
        agreement, problem = self.agreement()
        if agreement is not None:
            facts['agreement'] = agreement
        self.out_statistics(facts)
        potential = self.take_model(
            kwargs, model_filename(self.node.inputs.backend.value, compressed=True), type_map=original.type_map,
            rcut=original.rcut, seed=original.seed, version=facts.get('deepmd_version') or original.version,
            compressed=True,
        )  # fmt: skip
        if isinstance(potential, ExitCode):
            return potential
        self.out('potential', potential)
        if 'frames' not in self.node.inputs:
            return None
        if agreement is None:
            failure = self.resource_failure(comparison_log)
            return failure or self.exit_codes.ERROR_NO_COMPARISON.format(reason=problem)
        changed = [
            f'{what} by {agreement[found]:.3g} {unit} (limit {self.node.inputs[limit].value:g})'
            for what, found, limit, unit in COMPARED
            # Written so that a difference that is not a number does not pass.
            if not agreement[found] <= self.node.inputs[limit].value
        ]
        if changed:
            return self.exit_codes.ERROR_MODELS_DIFFER.format(what=', '.join(changed))
        return None

    def agreement(self) -> tuple[dict[str, Any] | None, str]:
        """Return the differences of the two models, or why there are none."""
        text = self.text('model_devi.out')
        if not text:
            return None, 'dp model-devi wrote nothing'
        try:
            return read_model_deviation(text.splitlines()), ''
        except UnreadableError as error:
            return None, str(error)
