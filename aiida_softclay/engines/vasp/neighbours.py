"""Periodic neighbour pairs in plain NumPy, for cells of any shape and size against the cutoff."""

from __future__ import annotations

import numpy as np


def image_range(cell: np.ndarray, cutoff: float) -> np.ndarray:
    """Return how many cells each way a sphere around any point of the cell can reach, along each lattice vector."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return np.ceil(cutoff / heights).astype(int)


def neighbour_pairs(
    positions: np.ndarray, cell: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of atoms, images included, that are closer than the cutoff.

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3), Å
        Need not be wrapped into the cell.
    cell : ndarray, shape (3, 3), Å
        Rows are the lattice vectors.
    cutoff : float, Å

    Returns
    -------
    i, j : ndarray, shape (n_pairs,)
        Every pair is listed from both ends; an atom with its own images too.
    vectors : ndarray, shape (n_pairs, 3), Å
        From atom i to (the image of) atom j.
    distances : ndarray, shape (n_pairs,), Å
    """
    n_atoms = len(positions)
    direct = positions @ np.linalg.inv(cell)
    wrapped = (direct - np.floor(direct)) @ cell
    reach = image_range(cell, cutoff)
    shifts = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in reach], indexing='ij'), axis=-1).reshape(-1, 3)
    images = (wrapped[None, :, :] + (shifts @ cell)[:, None, :]).reshape(-1, 3)
    # Only images inside the bounding box of the cell, widened by the cutoff, can be neighbours.
    low, high = wrapped.min(axis=0) - cutoff, wrapped.max(axis=0) + cutoff
    near = np.nonzero(((images >= low) & (images <= high)).all(axis=1))[0]
    images, owner = images[near], near % n_atoms
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    # Rows of atoms in blocks that keep the matrix of distances at a few million entries.
    block = max(1, 2_000_000 // max(len(images), 1))
    for start in range(0, n_atoms, block):
        rows = wrapped[start : start + block]
        squared = ((rows**2).sum(axis=1)[:, None] + (images**2).sum(axis=1)[None, :]) - 2.0 * rows @ images.T
        i, k = np.nonzero(squared < cutoff * cutoff + 1e-6)
        vectors = images[k] - rows[i]
        distances = np.sqrt((vectors**2).sum(axis=1))
        keep = (distances < cutoff) & (distances > 1e-8)
        found.append((i[keep] + start, owner[k[keep]], vectors[keep], distances[keep]))
    i, j, vectors, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return i, j, vectors, distances
