"""Parser of ``dp test``: errors overall and by system, and the arrays of parity plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from .dp_base import DpParser
from .dp_files import ErrorSum, TestedSystem, UnreadableError, iter_detail, read_tested_systems

UNITS = {'energy': 'meV/atom', 'force': 'meV/Å', 'virial': 'meV/atom'}
#: The exporter marks systems without virials by this ending of their name; dp fills their reference with zeros.
NO_VIRIAL = '_no_virial'


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

    Raises
    ------
    UnreadableError
        If a file is missing, cut, or does not fit the others.
    """

    __test__ = False

    def __init__(self, folder: Path, max_forces: int, tested: Sequence[TestedSystem]) -> None:
        self.folder = folder
        self.tested = list(tested)
        self.overall = {name: ErrorSum() for name in UNITS}
        self.systems = {system.name: {name: ErrorSum() for name in UNITS} for system in tested}
        self.n_atoms = {system.name: system.n_atoms for system in tested}
        self.energy: list[np.ndarray] = []
        self.energy_systems: list[np.ndarray] = []
        self.force: list[np.ndarray] = []
        self.virial: list[np.ndarray] = []
        self._read_energies()
        self._read_forces(max_forces)
        if self._path('v', required=False) is not None:
            self._read_virials()

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
        if len(difference):
            self.overall[name].add(difference)
            self.systems[system][name].add(difference)

    def errors(self) -> dict[str, Any]:
        """Return the errors in meV/atom, meV/Å and meV/atom."""
        return {
            'overall': {name: total.summary(UNITS[name]) for name, total in self.overall.items()},
            'systems': {
                system: {
                    'n_atoms': self.n_atoms[system],
                    **{name: total.summary(UNITS[name]) for name, total in sums.items()},
                }
                for system, sums in self.systems.items()
            },
            'n_frames': sum(system.n_frames for system in self.tested),
        }

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
            details = TestDetails(Path(folder), self.node.inputs.max_forces.value, tested)
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
