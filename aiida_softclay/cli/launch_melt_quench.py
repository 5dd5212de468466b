"""``softclay launch melt-quench``: sample a reference set, a chemical system or structures of one's own by AIMD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launching import find_family, launch_command, read_structures_file


@launch_command('melt-quench', 'vasp')
@click.argument('structures', nargs=-1)
@click.option('--family', help='POTCAR family, if there are several.')
@click.option(
    '--temperature', type=click.FloatRange(min=0, min_open=True),
    help='Highest temperature of all structures, K; needed for structure files.',
)  # fmt: skip
@click.option('--max-jobs', type=click.IntRange(1), help='Most structures at once.')
def melt_quench(structures, family, temperature, max_jobs, protocol, overrides, options, codes):
    """Heat, hold and quench STRUCTURES by AIMD, each with its own highest temperature.

    STRUCTURES is a reference set (gupta2023, or gupta2023:demo for its small version), a chemical system (Li-Ga-F-Cl),
    crystals by name, or structure files; those of the protocol if not given.
    """
    from aiida.plugins import WorkflowFactory

    from aiida_softclay.workflows.estimate_melt_quench import estimate_melt_quench, is_stand_in

    changes = dict(overrides or {})
    if temperature is not None:
        changes['maximum_temperature_K'] = temperature
    chosen = _chosen(structures)
    label = find_family(family)
    builder = WorkflowFactory('softclay.melt_quench').get_builder_from_protocol(
        codes['vasp'], chosen, label, protocol=protocol, overrides=changes, options=options,
        max_concurrent_jobs=max_jobs,
    )  # fmt: skip
    own = chosen if isinstance(chosen, dict) else None
    return builder, estimate_melt_quench(builder.parameters.get_dict(), own, is_stand_in(label))


def _chosen(texts: tuple[str, ...]) -> Any:
    """Return names as they are, structure files as nodes by the name of the file."""
    if not texts:
        return None
    files = [Path(text) for text in texts if Path(text).is_file()]
    if not files:
        return texts[0] if len(texts) == 1 else list(texts)
    if len(files) < len(texts):
        names = ', '.join(text for text in texts if not Path(text).is_file())
        echo.echo_critical(f'{names} is no file, the others are: launch names and files apart from each other')
    return {_label(path): _read(path) for path in files}


def _label(path: Path) -> str:
    words = ''.join(letter if letter.isalnum() and letter.isascii() else ' ' for letter in path.stem).split()
    return '_'.join(words) or 'structure'


def _read(path: Path) -> Any:
    from aiida import orm

    atoms = read_structures_file(path)
    if atoms.cell.rank != 3:
        echo.echo_critical(f'{path} has no cell: AIMD needs three lattice vectors')
    atoms.pbc = True
    return orm.StructureData(ase=atoms, label=path.stem)
