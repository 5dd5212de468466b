"""Look at every frame of a frames file once: what is broken, what it is, and a digest that recognises it again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xxhash import xxh3_128_digest

from .frame_block import FrameBlock, usable_frames
from .frames_store import FramesFile
from .hdf5 import canonical_json

PathLike = str | Path

#: 1 eV/Å³ in GPa.
GPA_PER_EV_A3 = 160.2176634
#: States of a frame; the first that applies counts.
GOOD, NOT_FINITE, BEYOND_FORCE, BEYOND_PRESSURE, DUPLICATE = range(5)
#: Two labels of one configuration that differ by more than this are no rounding, eV/atom.
SAME_ENERGY_EV_ATOM = 1e-3

#: Composition, source label and stage.
Stratum = tuple[str, str, str]


@dataclass
class ScreenedFile:
    """What is kept in memory of the frames of one file: about 40 bytes each.

    Attributes
    ----------
    path : path
        The file.
    identity : bytes
        Digest of the content, by which files are ordered whatever their names.
    digests : ndarray, shape (n_frames, 2), uint64
        Digest of atoms, cell and positions.
    energies : ndarray, shape (n_frames,), eV
    state : ndarray, shape (n_frames,), uint8
        :data:`GOOD` or why not.
    with_virial : ndarray of bool, shape (n_frames,)
    strata : list of tuple
        Composition, source label and stage that occur.
    stratum : ndarray, shape (n_frames,), int32
        Index into ``strata``.
    n_atoms : ndarray, shape (n_frames,), int32
    """

    path: PathLike
    identity: bytes
    digests: np.ndarray
    energies: np.ndarray
    state: np.ndarray
    with_virial: np.ndarray
    strata: list[Stratum]
    stratum: np.ndarray
    n_atoms: np.ndarray


def largest_force(forces: np.ndarray) -> np.ndarray:
    """Return the norm of the largest force of each frame, shape (n_frames,), for forces (n_frames, n_atoms, 3)."""
    with np.errstate(over='ignore', invalid='ignore'):
        squares = forces * forces
        # Three adds of whole arrays: numpy is slow in summing over an axis of three.
        return np.sqrt((squares[..., 0] + squares[..., 1] + squares[..., 2]).max(axis=1).astype(float))


def virial_pressure_GPa(virials: np.ndarray, cells: np.ndarray) -> np.ndarray:  # noqa: N802
    """Return tr(virial)/(3 volume) of each frame in GPa: the pressure without its kinetic part.

    Parameters
    ----------
    virials : ndarray, shape (n_frames, 3, 3), eV, positive in compression
    cells : ndarray, shape (n_frames, 3, 3), Å
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        volume = np.abs(np.linalg.det(np.asarray(cells, dtype=float)))
        return np.trace(np.asarray(virials, dtype=float), axis1=1, axis2=2) / (3 * volume) * GPA_PER_EV_A3


def frame_digests(block: FrameBlock) -> np.ndarray:
    """Return 16 bytes that recognise a configuration: of its atoms in order, its cell and its positions, as stored.

    Returns
    -------
    ndarray, shape (n_frames, 2), uint64
    """
    atoms = hashlib.sha256(np.asarray(block.atomic_numbers, dtype='<i4').tobytes()).digest()[:16]
    n_frames, n_values = block.n_frames, 3 * block.n_atoms
    rows = np.empty((n_frames, 16 + 72 + 4 * n_values), dtype=np.uint8)
    rows[:, :16] = np.frombuffer(atoms, dtype=np.uint8)
    # Adding zero turns −0.0 into 0.0, which is the same place.
    rows[:, 16:88].view('<f8')[...] = np.asarray(block.cells).reshape(n_frames, 9) + 0.0
    rows[:, 88:].view('<f4')[...] = np.asarray(block.positions).reshape(n_frames, n_values) + np.float32(0)
    data, width = rows.data.cast('B'), rows.shape[1]
    # 128 bits of XXH3: two of 10⁶ frames coincide by chance once in 10²⁶ data sets.
    digests = b''.join([xxh3_128_digest(data[start : start + width]) for start in range(0, len(data), width)])
    return np.frombuffer(digests, dtype='<u8').reshape(-1, 2)


def screen_file(
    path: PathLike,
    max_force_eV_A: float | None = None,
    max_pressure_GPa: float | None = None,
) -> ScreenedFile:
    """Read a frames file once and say of every frame whether it can be used.

    Parameters
    ----------
    path : path
        The file.
    max_force_eV_A : float, optional
        Largest norm of a force, eV/Å.
    max_pressure_GPa : float, optional
        Largest magnitude of the pressure of the virial, GPa; frames without a virial have none.
    """
    strata: dict[Stratum, int] = {}
    parts: list[tuple[np.ndarray, ...]] = []
    with FramesFile(path) as frames:
        records = [(str(source.get('label', '')), str(source.get('stage', ''))) for source in frames.sources]
        hasher = hashlib.sha256(canonical_json([frames.engine, frames.energy_kind, frames.sources]).encode())
        for view in frames.blocks():
            hasher.update(view.key[0] + bytes([view.key[1]]))
            ids = np.array([strata.setdefault((view.formula, *record), len(strata)) for record in records], dtype='<i4')
            source = view.source_index[:]
            hasher.update(source.tobytes())
            states, digests, energies = [], [], []
            for _, block in view.iter_slabs():
                state = np.full(block.n_frames, GOOD, dtype=np.uint8)
                if max_pressure_GPa is not None and block.virials is not None:
                    pressure = np.abs(virial_pressure_GPa(block.virials, block.cells))
                    state[~(pressure <= max_pressure_GPa)] = BEYOND_PRESSURE
                if max_force_eV_A is not None:
                    state[~(largest_force(block.forces) <= max_force_eV_A)] = BEYOND_FORCE
                state[~usable_frames(block)] = NOT_FINITE
                states.append(state)
                digests.append(frame_digests(block))
                energies.append(np.asarray(block.energies, dtype=float))
                hasher.update(digests[-1].tobytes() + energies[-1].tobytes())
            if states:
                n_frames = len(source)
                parts.append(
                    (
                        np.concatenate(digests),
                        np.concatenate(energies),
                        np.concatenate(states),
                        np.full(n_frames, view.virials is not None),
                        ids[source],
                        np.full(n_frames, view.n_atoms, dtype='<i4'),
                    )
                )
    if parts:
        digest, energy, state, with_virial, stratum, n_atoms = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
    else:
        digest, energy = np.zeros((0, 2), dtype='<u8'), np.zeros(0)
        state, with_virial = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=bool)
        stratum = n_atoms = np.zeros(0, dtype='<i4')
    return ScreenedFile(path, hasher.digest(), digest, energy, state, with_virial, list(strata), stratum, n_atoms)


def join_screened(files: Sequence[ScreenedFile]) -> ScreenedFile:
    """Return the frames of several files as if they were one, with one sorted list of strata."""
    strata = sorted({stratum for file in files for stratum in file.strata})
    place = {stratum: index for index, stratum in enumerate(strata)}
    renumbered = []
    for file in files:
        numbers = np.array([place[stratum] for stratum in file.strata], dtype='<i4')
        renumbered.append(numbers[file.stratum] if len(numbers) else file.stratum)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(file, name) for file in files])

    return ScreenedFile(
        '', b'', joined('digests'), joined('energies'), joined('state'), joined('with_virial'), strata,
        np.concatenate(renumbered), joined('n_atoms'),
    )  # fmt: skip


def mark_duplicates(frames: ScreenedFile) -> int:
    """Mark all but one of the good frames of each configuration as :data:`DUPLICATE`.

    Kept is one with a virial if there is one, and of these the first. Returned is the number of duplicates whose energy
    differs by more than 1 meV/atom from another of the same configuration: they were computed with other settings.
    """
    good = np.flatnonzero(frames.state == GOOD)
    # lexsort is stable: frames of one configuration stay in their order, those with a virial first.
    keys = frames.digests[good]
    order = good[np.lexsort((~frames.with_virial[good], keys[:, 1], keys[:, 0]))]
    ranked = frames.digests[order]
    repeated = np.flatnonzero((ranked[1:] == ranked[:-1]).all(axis=1))
    duplicates = order[repeated + 1]
    difference = np.abs(frames.energies[duplicates] - frames.energies[order[repeated]])
    frames.state[duplicates] = DUPLICATE
    return int((difference > SAME_ENERGY_EV_ATOM * frames.n_atoms[duplicates]).sum())
