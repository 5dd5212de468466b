"""Parser of ``dp freeze``."""

from __future__ import annotations

from typing import Any

from aiida.engine import ExitCode

from aiida_softclay.calculations.dp_base import model_facts, model_filename

from .dp_base import DpParser


class DpFreezeParser(DpParser):
    """Take the frozen model."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Return ``None`` if there is a model."""
        facts = self.log_facts(self.log)
        about = model_facts(self.node.inputs.parameters.get_dict()) if 'parameters' in self.node.inputs else {}
        version = self.training_fact('deepmd_version')
        facts.setdefault('deepmd_version', version)
        self.out_statistics(facts)
        potential = self.take_model(
            kwargs, model_filename(self.node.inputs.backend.value), version=version or '', compressed=False, **about
        )
        if isinstance(potential, ExitCode):
            return potential
        self.out('potential', potential)
        return None

    def training_fact(self, name: str) -> Any:
        """Return a fact from the statistics of the training: freeze itself does not print its version."""
        creator = self.node.inputs.parent_folder.creator
        if creator is None or 'statistics' not in creator.outputs:
            return None
        return creator.outputs.statistics.get(name)
