"""Parser of ``dp test``: errors overall, by system, by structure and stage, and the arrays of parity plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_softclay.calculations.dp_test import DpTestCalculation

from .dp_base import DpParser
from .dp_files import ErrorSum, TestedSystem, UnreadableError, iter_detail, read_tested_systems

UNITS = {'energy': 'meV/atom', 'force': 'meV/Å', 'virial': 'meV/atom'}
#: The exporter marks systems without virials by this ending of their name; dp fills their reference with zeros.
NO_VIRIAL = '_no_virial'


def _sums() -> dict[str, ErrorSum]:
    return {name: ErrorSum() for name in UNITS}


def _summaries(sums: Mapping[str, ErrorSum]) -> dict[str, Any]:
    return {name: total.summary(UNITS[name]) for name, total in sums.items()}


class TestDetails:
    """Everything from the detail files, streamed.

    Parameters
    ----------
    folder : Path
        Where ``detail.{e,f,v}.out`` are.
    max_forces : int
        Keep at most about so many atoms for the parity plot, at an even stride.
    tested : sequence of TestedSystem
        What was tested, in order.
    origins : mapping, optional
        Which frame is from where, as :func:`~aiida_softclay.calculations.dp_base.write_origins` writes it.

    Raises
    ------
    UnreadableError
        If a file is missing, cut, or does not fit the others.
    """

    __test__ = False

    def __init__(
        self,
        folder: Path,
        max_forces: int,
        tested: Sequence[TestedSystem],
        origins: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.tested = list(tested)
        self.overall = _sums()
        self.systems = {system.name: _sums() for system in tested}
        self.n_atoms = {system.name: system.n_atoms for system in tested}
        self.origins: list[dict[str, str]] = list(origins['origins']) if origins else []
        self.origin_of = self._origins_by_system(origins['systems']) if origins else {}
        self.by_stage: dict[tuple[str, str], dict[str, ErrorSum]] = {}
        self.by_label: dict[str, dict[str, ErrorSum]] = {}
        self.energy: list[np.ndarray] = []
        self.energy_systems: list[np.ndarray] = []
        self.force: list[np.ndarray] = []
        self.virial: list[np.ndarray] = []
        self._read_energies()
        self._read_forces(max_forces)
        if self._path('v', required=False) is not None:
            self._read_virials()

    def _origins_by_system(self, systems: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Return the index of the origin of each frame; the exporter numbers the systems, so their names sort alike."""
        names = sorted(self.tested, key=lambda system: system.name)
        if [system.n_frames for system in names] != [len(indices) for indices in systems]:
            raise UnreadableError('dp test did not go through the frames that were written for it')
        return {system.name: np.array(indices) for system, indices in zip(names, systems, strict=True)}

    def _by_frame(self) -> list[tuple[str, int]]:
        return [(system.name, system.n_frames) for system in self.tested]

    def _path(self, kind: str, required: bool = True) -> Path | None:
        path = self.folder / f'detail.{kind}.out'
        if path.is_file() and path.stat().st_size:
            return path
        if required:
            raise UnreadableError(f'{path.name} is missing or empty')
        return None

    def _read_energies(self) -> None:
        order = list(self.n_atoms)
        for chunk in iter_detail(self._path('e'), self._by_frame()):
            if chunk.reference.shape[1] != 1:
                raise UnreadableError('detail.e.out does not have two columns')
            per_atom = np.hstack([chunk.reference, chunk.prediction]) / self.n_atoms[chunk.system]
            self.energy.append(per_atom)
            self.energy_systems.append(np.full(len(per_atom), order.index(chunk.system)))
            self._add('energy', chunk.system, 1000 * (per_atom[:, 1] - per_atom[:, 0]))

    def _read_forces(self, max_forces: int) -> None:
        layout = [(system.name, system.n_frames * system.n_atoms) for system in self.tested]
        stride = max(1, -(-sum(count for _, count in layout) // max_forces))
        seen = 0
        left: dict[str, np.ndarray] = {}
        for chunk in iter_detail(self._path('f'), layout):
            n_atoms = self.n_atoms[chunk.system]
            both = np.hstack([chunk.reference, chunk.prediction])
            self.force.append(both[(-seen) % stride :: stride])
            seen += len(both)
            difference = chunk.prediction - chunk.reference
            if chunk.system in left:
                difference = np.vstack([left.pop(chunk.system), difference])
            whole = len(difference) // n_atoms * n_atoms
            if whole < len(difference):
                left[chunk.system] = difference[whole:]
            self._add('force', chunk.system, 1000 * difference[:whole].reshape(-1, n_atoms, 3))

    def _read_virials(self) -> None:
        for chunk in iter_detail(self._path('v'), self._by_frame()):
            if chunk.system.endswith(NO_VIRIAL):
                continue
            n_atoms = self.n_atoms[chunk.system]
            self.virial.append(np.hstack([chunk.reference, chunk.prediction]) / n_atoms)
            self._add('virial', chunk.system, 1000 * (chunk.prediction - chunk.reference) / n_atoms)

    def _add(self, name: str, system: str, difference: np.ndarray) -> None:
        """Add the errors of whole frames, which come in the order of the system, to all sums they belong to."""
        if not len(difference):
            return
        self.overall[name].add(difference)
        done = self.systems[system][name].n_frames
        self.systems[system][name].add(difference)
        if system not in self.origin_of:
            return
        indices = self.origin_of[system][done : done + len(difference)]
        for index in np.unique(indices):
            part = difference[indices == index]
            label, stage = self.origins[index]['label'], self.origins[index]['stage']
            for sums in (self.by_stage.setdefault((label, stage), _sums()), self.by_label.setdefault(label, _sums())):
                sums[name].add(part)

    def errors(self) -> dict[str, Any]:
        """Return the errors in meV/atom, meV/Å and meV/atom: overall, by system, by label, and by label and stage."""
        errors: dict[str, Any] = {
            'overall': _summaries(self.overall),
            'systems': {
                system: {'n_atoms': self.n_atoms[system], **_summaries(sums)} for system, sums in self.systems.items()
            },
            'n_frames': sum(system.n_frames for system in self.tested),
        }
        if self.origin_of:
            errors['labels'] = {label: _summaries(sums) for label, sums in sorted(self.by_label.items())}
            errors['stages'] = [
                {'label': label, 'stage': stage, **_summaries(sums)}
                for (label, stage), sums in sorted(self.by_stage.items())
            ]
        return errors

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of the parity plots."""
        energy, force = np.vstack(self.energy), np.vstack(self.force)
        arrays = {
            'energy_reference': energy[:, 0],
            'energy_predicted': energy[:, 1],
            'system_index': np.concatenate(self.energy_systems),
            'force_reference': force[:, :3],
            'force_predicted': force[:, 3:],
        }
        if self.virial:
            virial = np.vstack(self.virial)
            arrays |= {'virial_reference': virial[:, :9], 'virial_predicted': virial[:, 9:]}
        return arrays


class DpTestParser(DpParser):
    """Read the errors of a model on labelled frames."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Return ``None`` if all frames were predicted."""
        log = self.log
        facts = self.log_facts(log)
        facts['potential_md5'] = self.node.inputs.potential.md5
        self.out_statistics(facts)
        folder = kwargs.get('retrieved_temporary_folder')
        if folder is None or not (Path(folder) / 'detail.e.out').is_file():
            return self.stopped(log)
        try:
            tested = read_tested_systems(log)
            details = TestDetails(Path(folder), self.node.inputs.max_forces.value, tested, self.frame_origins())
        except UnreadableError as error:
            return self.resource_failure(log) or self.exit_codes.ERROR_NO_DETAILS.format(reason=str(error))
        arrays = details.arrays()
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return self.exit_codes.ERROR_PREDICTION_NOT_FINITE
        self.out('errors', orm.Dict(details.errors()))
        node = orm.ArrayData()
        for name, array in arrays.items():
            node.set_array(name, array)
        node.base.attributes.set(
            'units',
            {name: 'eV/Å' if 'force' in name else '1' if name == 'system_index' else 'eV/atom' for name in arrays},
        )
        node.base.attributes.set('systems', list(details.systems))
        self.out('details', node)
        return None

    def frame_origins(self) -> dict[str, Any] | None:
        """Return which frame is from where, as the calculation noted it."""
        try:
            return json.loads(self.node.base.repository.get_object_content(DpTestCalculation.ORIGINS))
        except FileNotFoundError:
            return None
