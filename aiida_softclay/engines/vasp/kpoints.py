"""KPOINTS: read so that it can be echoed. A model potential has no Brillouin zone to sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aiida_softclay.engines.vasp.errors import InputError


@dataclass(frozen=True)
class Kpoints:
    """The points as parsers want them back: the generation scheme and the list with weights."""

    scheme: str = 'Gamma'
    divisions: tuple[int, int, int] = (1, 1, 1)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    points: list[tuple[float, float, float]] = field(default_factory=lambda: [(0.0, 0.0, 0.0)])
    weights: list[float] = field(default_factory=lambda: [1.0])


def _mesh(divisions: tuple[int, ...], shift: tuple[float, ...], gamma: bool) -> list[tuple[float, float, float]]:
    offsets = [s + (0.0 if gamma or n % 2 else 0.5) for n, s in zip(divisions, shift, strict=True)]
    na, nb, nc = divisions
    fractions = [
        [((index + offset) / n + 0.5) % 1.0 - 0.5 for index in range(n)]
        for n, offset in zip((na, nb, nc), offsets, strict=True)
    ]
    return [(a, b, c) for c in fractions[2] for b in fractions[1] for a in fractions[0]]


def read_kpoints(path: Path, required: bool = True) -> Kpoints:
    """Return the k-points of a file; without symmetry reduction, since nothing is computed on them.

    Raises
    ------
    InputError
        If the file is missing though ``required``, or cannot be understood.
    """
    if not path.exists() and not required:
        return Kpoints()
    try:
        lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError as error:
        raise InputError(f'KPOINTS cannot be read: {error.strerror}') from error
    try:
        count = int(lines[1].split()[0])
        style = lines[2].strip()[:1].lower()
        if count == 0 and style in 'gm':
            divisions = tuple(int(word) for word in lines[3].split()[:3])
            words = lines[4].split()[:3] if len(lines) > 4 and lines[4].split() else ['0', '0', '0']
            shift = tuple(float(word) for word in words)
            if len(divisions) != 3 or min(divisions) < 1:
                raise InputError('KPOINTS: three positive numbers of divisions are needed')
            points = _mesh(divisions, shift, style == 'g')
            scheme = 'Gamma' if style == 'g' else 'Monkhorst-Pack'
            return Kpoints(scheme, divisions, shift, points, [1.0 / len(points)] * len(points))
        if count > 0:
            rows = [[float(word) for word in line.split()[:4]] for line in lines[3 : 3 + count]]
            weights = [row[3] if len(row) > 3 else 1.0 for row in rows]
            return Kpoints(
                'Listed', points=[(r[0], r[1], r[2]) for r in rows], weights=[w / sum(weights) for w in weights]
            )
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise InputError(f'KPOINTS cannot be understood: {error}') from error
    raise InputError('KPOINTS: only Gamma or Monkhorst-Pack meshes and explicit lists are understood')
