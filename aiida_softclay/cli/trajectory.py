"""``softclay trajectory``: trajectories of other runs, and for other programs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from aiida.cmdline.params import arguments
from aiida.cmdline.utils import decorators, echo


class Types(click.ParamType):
    """Elements by the type of LAMMPS, written Li,Ga,F,Cl or 1=Li,3=Cl."""

    name = 'Li,Ga,F,Cl'

    def convert(self, value, param, ctx):
        """Return type to atomic number."""
        from ase.data import atomic_numbers

        if not isinstance(value, str):
            return value
        found = {}
        for number, word in enumerate(value.split(','), start=1):
            key, equals, symbol = word.strip().partition('=')
            symbol = symbol if equals else key
            if symbol not in atomic_numbers or symbol == 'X' or (equals and not key.isdecimal()):
                self.fail(f'{word} is no element, nor TYPE=ELEMENT', param, ctx)
            found[int(key) if equals else number] = atomic_numbers[symbol]
        return found


#: Formats beside which a .pdb with the names of the atoms is written.
WITHOUT_NAMES = ('.xtc', '.dcd')


@click.group('trajectory')
def trajectory() -> None:
    """Bring trajectories of other runs into the profile, and hand those of the profile to other programs."""


@trajectory.command('import')
@click.argument('dump', type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option('--types', type=Types(), required=True, help='Elements of the types, in order.')
@click.option('--timestep', type=click.FloatRange(min=0, min_open=True), required=True, help='ps; a dump lacks it.')
@click.option('--program', default='LAMMPS', show_default=True, help='What made it, with its version if you know it.')
@click.option('--potential', default='', help='Which potential.')
@click.option(
    '--resolution', type=click.FloatRange(min=0, max=0.01), default=0.001, show_default=True,
    help='Å to which positions are rounded, at 6 bytes for an atom; 0 keeps single precision, at 12.',
)  # fmt: skip
@click.option('-o', '--output', type=click.Path(dir_okay=False, path_type=Path), help='Write a file, store nothing.')
@decorators.with_dbenv()
def import_(dump, types, timestep, program, potential, resolution, output):
    """Import DUMP, an uncompressed text dump with id, type and xu yu zu (or x y z ix iy iz), as a trajectory."""
    from aiida_softclay.data.lammps_dump import import_text_dump
    from aiida_softclay.data.trajectory import MdTrajectoryData

    engine = {'program': program, 'potential': potential, 'imported_from': dump.name}
    if output is not None and output.exists():
        echo.echo_critical(f'{output} exists: name another file')
    with tempfile.TemporaryDirectory() as folder:
        target = output or Path(folder) / MdTrajectoryData.FILE_NAME
        try:
            count = import_text_dump(dump, target, types, timestep, engine=engine, resolution=resolution or None)
        except (ValueError, OSError) as error:
            if output is not None:
                output.unlink(missing_ok=True)
            echo.echo_critical(f'{dump} cannot be imported: {error}')
        if output is not None:
            echo.echo_success(f'{count} frames written to {output}')
            return
        node = MdTrajectoryData.from_file(target)
        node.label = dump.name
        node.store()
    echo.echo_success(f'{count} frames of {node.formula}: trajectory <{node.pk}>')


@trajectory.command('export')
@arguments.NODE()
@click.option('-o', '--output', type=click.Path(dir_okay=False, path_type=Path), required=True, help='File to write.')
@click.option('--start', type=int, default=0, show_default=True, help='First frame; negative from the end.')
@click.option('--stop', type=int, help='Frame before which to stop.')
@click.option('--stride', type=click.IntRange(min=1), default=1, show_default=True, help='Write every so many frames.')
@decorators.with_dbenv()
def export(node, output, start, stop, stride):
    """Write the trajectory NODE to a .xtc, .dcd, .lammpstrj or .extxyz file, unwrapped, frame by frame.

    Beside .xtc and .dcd a .pdb of the first frame names the atoms.
    """
    from aiida_softclay.data.trajectory import MdTrajectoryData
    from aiida_softclay.data.trajectory_export import export_trajectory

    if not isinstance(node, MdTrajectoryData):
        echo.echo_critical(f'node {node.pk} is no trajectory but a {node.__class__.__name__}')
    beside = [output.with_suffix('.pdb')] if output.suffix.lower() in WITHOUT_NAMES else []
    for path in (output, *beside):
        if path.exists():
            echo.echo_critical(f'{path} exists: name another file')
    try:
        with node.open_trajectory() as opened:
            written = export_trajectory(opened, output, None, start, stop, stride)
    except (ValueError, OSError) as error:
        echo.echo_critical(f'trajectory {node.pk} cannot be exported: {error}')
    for path in written:
        echo.echo_success(f'{path}: {path.stat().st_size:,} bytes')
