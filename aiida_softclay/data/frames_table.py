"""What a frames file holds, by composition, source label and stage, read from its small arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .frames_store import FramesFile


@dataclass(frozen=True)
class FramesRow:
    """One line of the table.

    ``temperatures_K`` is the lowest and highest target temperature, None if unknown; ``energies_eV_atom`` the mean.
    """

    formula: str
    label: str
    stage: str
    n_atoms: int
    n_frames: int
    n_with_virial: int
    temperatures_K: tuple[float, float] | None  # noqa: N815
    energy_eV_atom: float  # noqa: N815


def frames_table(file: FramesFile) -> list[FramesRow]:
    """Return one row per composition, source label and stage, sorted by these."""
    strata: dict[tuple[str, str, str], list[tuple[int, bool, np.ndarray, np.ndarray]]] = {}
    sources = file.sources
    for view in file.blocks():
        index, temperature, energies = view.source_index[:], view.temperature[:], view.energies[:]
        for source in np.unique(index):
            rows = index == source
            key = view.formula, str(sources[source].get('label', '')), str(sources[source].get('stage', ''))
            part = view.n_atoms, view.virials is not None, temperature[rows], energies[rows]
            strata.setdefault(key, []).append(part)
    table = []
    for (formula, label, stage), parts in sorted(strata.items()):
        known = np.concatenate([part[2] for part in parts])
        known = known[np.isfinite(known)]
        n_atoms, energies = parts[0][0], np.concatenate([part[3] for part in parts])
        table.append(
            FramesRow(
                formula=formula,
                label=label,
                stage=stage,
                n_atoms=n_atoms,
                n_frames=len(energies),
                n_with_virial=sum(len(part[3]) for part in parts if part[1]),
                temperatures_K=(float(known.min()), float(known.max())) if len(known) else None,
                energy_eV_atom=float(energies.mean()) / n_atoms,
            )
        )
    return table
