"""What dry runs need on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm

MODEL = Path(__file__).parents[1] / 'workflows' / 'fixtures' / 'md_lithium_chloride.pb'
PLUGINS = {'vasp': 'softclay.vasp_md', 'dp': 'softclay.dp.train', 'lmp': 'softclay.lammps'}


def record_codes(computer: Any, *names: str) -> None:
    """Store codes of engines that are never run, all of them if none is named."""
    for name in names or PLUGINS:
        orm.InstalledCode(
            label=name, computer=computer, filepath_executable=f'/opt/{name}', default_calc_job_plugin=PLUGINS[name]
        ).store()
