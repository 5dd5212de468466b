"""Labels of an engine beside the predictions of a potential, frame by frame and series by series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .frames import FramesData

#: Largest deviation of an energy that ``dp test`` printed from the one in the frames, eV per atom.
ENERGY_TOLERANCE = 1e-5


@dataclass(frozen=True)
class LabelPairs:
    """Frames of one series with the labels of the engine and the predictions of the potential.

    Attributes
    ----------
    label : str
        Source label of the frames.
    n_atoms : int
    cells : ndarray, shape (n_frames, 3, 3), Å
    energies, predicted_energies : ndarray, shape (n_frames,), eV
    forces, predicted_forces : ndarray, shape (n_frames, n_atoms, 3), eV/Å
    virials, predicted_virials : ndarray, shape (n_frames, 3, 3), eV, or None
        Positive in compression; None if the frames have none.
    """

    label: str
    n_atoms: int
    cells: np.ndarray
    energies: np.ndarray
    predicted_energies: np.ndarray
    forces: np.ndarray
    predicted_forces: np.ndarray
    virials: np.ndarray | None
    predicted_virials: np.ndarray | None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.energies)

    @property
    def volumes(self) -> np.ndarray:
        """Volumes, shape (n_frames,), Å³."""
        return np.abs(np.linalg.det(self.cells))


def label_pairs(frames: FramesData, details: Any) -> dict[str, LabelPairs]:
    """Return the frames of each source label with both sets of labels.

    Parameters
    ----------
    frames : FramesData
        What was tested, all of it.
    details : aiida.orm.ArrayData
        Output ``details`` of ``softclay.dp.test`` with the forces on all atoms.

    Raises
    ------
    ValueError
        If the details are not those of these frames: counts or energies differ.
    """
    systems = list(details.base.attributes.get('systems'))
    index = np.asarray(details.get_array('system_index')).astype(int)
    arrays = {name: details.get_array(name) for name in details.get_arraynames()}
    found: dict[str, LabelPairs] = {}
    with frames.open_frames() as file:
        labels = [str(source.get('label', '')) for source in file.sources]
        views = {f'{number:04d}_{view.formula}': view for number, view in enumerate(file.blocks()) if view.n_frames}
        names = {name.removesuffix('_no_virial'): name for name in systems}
        if set(views) != set(names):
            raise ValueError(f'the prediction is of {", ".join(sorted(names))}, the frames are {", ".join(views)}')
        atoms_of = {names[name]: view.n_atoms for name, view in views.items()}
        counts = {system: int((index == number).sum()) for number, system in enumerate(systems)}
        if sum(counts[system] * atoms_of[system] for system in systems) != len(arrays['force_reference']):
            raise ValueError('the prediction holds the forces on some of the atoms only: test with max_forces of all')
        first_force = first_virial = 0
        for number, system in enumerate(systems):
            view = views[system.removesuffix('_no_virial')]
            n_frames, n_atoms = counts[system], view.n_atoms
            if n_frames != view.n_frames:
                raise ValueError(f'{n_frames} of {view.n_frames} frames of {view.formula} were predicted')
            rows = index == number
            energies = np.asarray(view.energies[:])
            if np.abs(arrays['energy_reference'][rows] - energies / n_atoms).max() > ENERGY_TOLERANCE:
                raise ValueError(f'the predictions of {view.formula} are not in the order of the frames')
            forces = slice(first_force, first_force + n_frames * n_atoms)
            first_force = forces.stop
            virials, predicted = None, None
            if view.virials is not None:
                part = slice(first_virial, first_virial + n_frames)
                first_virial = part.stop
                virials = np.asarray(view.virials[:], dtype=float)
                predicted = arrays['virial_predicted'][part].reshape(-1, 3, 3) * n_atoms
            values: dict[str, Any] = {
                'cells': np.asarray(view.cells[:]),
                'energies': energies,
                'predicted_energies': arrays['energy_predicted'][rows] * n_atoms,
                'forces': arrays['force_reference'][forces].reshape(n_frames, n_atoms, 3),
                'predicted_forces': arrays['force_predicted'][forces].reshape(n_frames, n_atoms, 3),
                'virials': virials,
                'predicted_virials': predicted,
            }
            origin = np.array([labels[source] for source in view.source_index[:]])
            for label in dict.fromkeys(origin.tolist()):
                if label in found:
                    raise ValueError(f'the series {label} holds frames of different atoms')
                chosen = {name: None if value is None else value[origin == label] for name, value in values.items()}
                found[label] = LabelPairs(label, n_atoms, **chosen)  # type: ignore[arg-type]
    return found
