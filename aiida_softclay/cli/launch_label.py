"""``softclay launch label``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launching import find_family, launch_command, read_structures_file


@launch_command('label', 'vasp')
@click.argument('configurations', nargs=-1, required=True)
@click.option('--family', help='POTCAR family, if there are several.')
def label(configurations, family, protocol, overrides, options, codes):
    """Compute energy, forces and stress of CONFIGURATIONS: pks of trajectories, or files that ASE reads.

    Every frame of a file is a configuration; those with the same atoms in the same order become one trajectory.
    """
    from aiida.plugins import WorkflowFactory

    from aiida_softclay.workflows.estimate import estimate_label

    named: dict[str, Any] = {}
    for text in configurations:
        nodes = from_file(Path(text)) if Path(text).is_file() else [_trajectory(text)]
        named |= {f'set_{len(named) + number:03d}': node for number, node in enumerate(nodes)}
    builder = WorkflowFactory('softclay.label').get_builder_from_protocol(
        codes['vasp'], named, find_family(family), protocol=protocol, overrides=overrides, options=options
    )
    return builder, [estimate_label(named.values(), builder.batch_size.value, builder.incar.get_dict())]


def _trajectory(text: str) -> Any:
    from aiida.common.exceptions import NotExistent

    try:
        return types.DataParamType(sub_classes=('aiida.data:softclay.trajectory',)).convert(text, None, None)
    except (click.BadParameter, NotExistent):
        echo.echo_critical(f'{text} is neither a file nor the pk of a trajectory')
    return None


def from_file(path: Path) -> list[Any]:
    """Return the configurations of a file as trajectories, not stored, one for each list of atoms."""
    frames = read_structures_file(path, ':')
    if not all(atoms.pbc.all() for atoms in frames):
        echo.echo_critical(f'{path} holds a configuration that is not periodic in all directions')
    groups: dict[bytes, list[Any]] = {}
    for atoms in frames:
        groups.setdefault(atoms.numbers.astype('<i4').tobytes(), []).append(atoms)
    return [trajectory_of(group) for group in groups.values()]


def trajectory_of(configurations: Iterable[Any]) -> Any:
    """Return ASE atoms of the same kinds in the same order as a trajectory whose steps number them."""
    from aiida_softclay.data.trajectory import MdTrajectoryData
    from aiida_softclay.data.trajectory_file import TrajectoryFile

    atoms = list(configurations)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / MdTrajectoryData.FILE_NAME
        # The steps have no time between them; the file wants a time step.
        with TrajectoryFile(path, 'w', atoms[0].numbers, 0.001, stage='configurations') as target:
            for step, frame in enumerate(atoms):
                target.append(frame.positions, frame.cell.array, step)
        return MdTrajectoryData.from_file(path)
