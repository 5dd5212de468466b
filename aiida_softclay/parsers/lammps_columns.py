"""Centres of the elements and averages that LAMMPS wrote while it ran, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiida_softclay.calculations.lammps_columns import AVERAGED_KEYWORDS, AVERAGES_SUFFIX, CENTRES_SUFFIX
from aiida_softclay.calculations.lammps_script import BAR_PER_GPA
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import COMPONENTS, MinimiseStage
from aiida_softclay.parsers.lammps_results import ARRAY_NAMES, THERMO_UNITS

AVERAGED = ('temp', 'pe', 'etotal', 'vol', 'density')


def centre_units(elements: Sequence[str]) -> dict[str, str]:
    """Return the units of the arrays of :func:`centre_arrays`."""
    return {'step': '', 'time_ps': 'ps', **{f'centre_{element}': 'Å' for element in elements}}


AVERAGE_UNITS = {
    name: THERMO_UNITS[name] for name in ('step', 'time_ps', 'cell', *(ARRAY_NAMES[key] for key in AVERAGED))
}
AVERAGE_UNITS |= {f'stress_{component}_GPa': 'GPa' for component in COMPONENTS}


def read_table(path: Path, n_columns: int) -> NDArray[np.float64]:
    """Return the rows of a file of columns, shape (n_rows, n_columns); what is cut or not finite ends it."""
    rows: list[NDArray[np.float64]] = []
    if not path.is_file():
        return np.empty((0, n_columns))
    with path.open(encoding='ascii', errors='replace') as handle:
        for line in handle:
            if line.startswith('#') or not line.strip():
                continue
            try:
                row = np.array(line.split(), dtype=float)
            except ValueError:
                break
            # A last line without its end may be cut inside a number.
            if row.size != n_columns or not line.endswith('\n') or not np.isfinite(row).all():
                break
            if not rows or row[0] > rows[-1][0]:
                rows.append(row)
    return np.array(rows).reshape(-1, n_columns)


def centre_arrays(plan: MdPlan, name: str, folder: Path, elements: Sequence[str]) -> dict[str, NDArray]:
    """Return ``step``, ``time_ps`` and ``centre_X`` (n, 3) in Å for each element X of a stage, equally spaced."""
    stage = plan.stage(name)
    if isinstance(stage, MinimiseStage):
        return {'step': np.empty(0, dtype=np.int64)}
    table = read_table(folder / f'{name}{CENTRES_SUFFIX}', 1 + 3 * len(elements))
    start, every = plan.start_step(name), plan.stage_collective_every(stage)
    # Rows at which a job was cut or went on lie between the strides.
    table = table[(table[:, 0] - start) % every == 0]
    arrays: dict[str, NDArray] = {'step': table[:, 0].astype(np.int64), 'time_ps': table[:, 0] * plan.timestep_ps}
    for number, element in enumerate(elements):
        arrays[f'centre_{element}'] = table[:, 1 + 3 * number : 4 + 3 * number]
    return arrays


def average_arrays(plan: MdPlan, name: str, folder: Path) -> dict[str, NDArray]:
    """Return averages over whole windows of a stage in the units of ``AVERAGE_UNITS``; ``step`` is the last of each."""
    stage = plan.stage(name)
    if isinstance(stage, MinimiseStage):
        return {'step': np.empty(0, dtype=np.int64)}
    table = read_table(folder / f'{name}{AVERAGES_SUFFIX}', 1 + len(AVERAGED_KEYWORDS))
    column: Mapping[str, NDArray] = dict(zip(AVERAGED_KEYWORDS, table.T[1:], strict=True))
    arrays: dict[str, NDArray] = {'step': table[:, 0].astype(np.int64), 'time_ps': table[:, 0] * plan.timestep_ps}
    arrays |= {ARRAY_NAMES[keyword]: column[keyword] for keyword in AVERAGED}
    arrays |= {f'stress_{item}_GPa': -column[f'p{item}'] / BAR_PER_GPA + 0.0 for item in COMPONENTS}
    cell = np.zeros((len(table), 3, 3))
    cell[:, 0, 0], cell[:, 1, 1], cell[:, 2, 2] = column['lx'], column['ly'], column['lz']
    cell[:, 1, 0], cell[:, 2, 0], cell[:, 2, 1] = column['xy'], column['xz'], column['yz']
    arrays['cell'] = cell
    return arrays
