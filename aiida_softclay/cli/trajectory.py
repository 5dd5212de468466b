"""``softclay trajectory``: trajectories of other runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
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


@click.group('trajectory')
def trajectory() -> None:
    """Bring trajectories of other runs into the profile."""


@trajectory.command('import')
@click.argument('dump', type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option('--types', type=Types(), required=True, help='Elements of the types, in order.')
@click.option('--timestep', type=click.FloatRange(min=0, min_open=True), required=True, help='ps; a dump lacks it.')
@click.option('--program', default='LAMMPS', show_default=True, help='What made it, with its version if you know it.')
@click.option('--potential', default='', help='Which potential.')
@click.option('-o', '--output', type=click.Path(dir_okay=False, path_type=Path), help='Write a file, store nothing.')
@decorators.with_dbenv()
def import_(dump, types, timestep, program, potential, output):
    """Import DUMP, an uncompressed text dump with id, type and xu yu zu (or x y z ix iy iz), as a trajectory."""
    from aiida_softclay.data.lammps_dump import import_text_dump
    from aiida_softclay.data.trajectory import MdTrajectoryData

    engine = {'program': program, 'potential': potential, 'imported_from': dump.name}
    if output is not None and output.exists():
        echo.echo_critical(f'{output} exists: name another file')
    with tempfile.TemporaryDirectory() as folder:
        target = output or Path(folder) / MdTrajectoryData.FILE_NAME
        try:
            count = import_text_dump(dump, target, types, timestep, engine=engine)
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
