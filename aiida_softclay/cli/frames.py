"""``softclay frames``: import finished runs, look at frames, build data sets, write them for other programs."""

from __future__ import annotations

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import decorators, echo

FRAMES = types.DataParamType(sub_classes=('aiida.data:softclay.frames',))
TYPE_MAP = click.option(
    '--type-map', metavar='Li,Cl,…', help='Elements in the order of the types of the model; others are refused.'
)


@click.group('frames')
def frames() -> None:
    """Import, inspect, combine and export labelled frames."""


@frames.command('import')
@click.argument('targets', nargs=-1, required=True, metavar='PATH|PATTERN|PK...')
@click.option('-r', '--recursive', is_flag=True, help='Look into all folders below a PATH.')
@click.option(
    '-l', '--label', help='Structure the frames are of; by default the folder below PATH, or the label of PK.'
)
@click.option('-s', '--stage', default='', help='Stage of the sampling, e.g. "quench".')
@click.option(
    '-e', '--energy-kind', default='e_fr_energy', show_default=True,
    type=click.Choice(['e_fr_energy', 'e_0_energy', 'e_wo_entrp']), help='Which energy of VASP the label is.',
)  # fmt: skip
@click.option('--stride', type=click.IntRange(1), default=1, show_default=True, help='Keep every n-th ionic step.')
@click.option('--start', type=click.IntRange(0), default=0, show_default=True, help='First ionic step, from 0.')
@click.option('--keep-unconverged', is_flag=True, help='Also steps whose electronic loop did not converge.')
@click.option('-g', '--group', 'group_label', help='Group to put the frames into, made if it is not there.')
@decorators.with_dbenv()
def import_frames(targets, recursive, label, stage, energy_kind, stride, start, keep_unconverged, group_label):
    """Import vasprun.xml or OUTCAR from files, folders and patterns, or from VASP calculations of AiiDA (PK, UUID).

    Of each folder vasprun.xml is taken, else OUTCAR; POTCAR is never stored. What has been imported with the same
    options is recognised and not imported again, so that a command that was interrupted can be repeated. Runs that
    cannot be used are listed at the end; the exit status is 1 if none could.
    """
    from aiida import orm

    from aiida_softclay.cli.frames_import import import_all, import_jobs

    parameters = {'energy_kind': energy_kind, 'stride': stride, 'start': start, 'keep_unconverged': keep_unconverged}
    jobs, failures = import_jobs(targets, recursive, label, parameters | {'stage': stage})
    if not jobs and not failures:
        echo.echo_critical('there is no vasprun.xml or OUTCAR: name files or folders, --recursive looks further down')
    group = orm.Group.collection.get_or_create(group_label)[0] if group_label else None
    done = import_all(jobs, failures, group)
    for name, failure in failures:
        echo.echo_error(f'{name}: {failure}')
    new = [item.frames for item in done if not item.known]
    say = echo.echo_error if failures and not done else echo.echo_success
    say(
        f'{len(new)} imported ({sum(node.n_frames for node in new)} frames), {len(done) - len(new)} known before, '
        f'{len(failures)} not usable'
    )  # fmt: skip
    if failures and not done:
        raise SystemExit(1)


@frames.command('info')
@click.argument('node', metavar='PK', type=FRAMES)
@decorators.with_dbenv()
def info(node):
    """Print what the frames PK are: counts by structure and stage, temperatures, energy and who computed it."""
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console
    from aiida_softclay.data.frames_table import frames_table

    with node.open_frames() as file:
        rows = frames_table(file)
    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('composition', 'label', 'stage', 'atoms', 'frames', 'virials', 'T (K)', 'eV/atom'):
        grid.add_column(column, justify='left' if column in ('composition', 'label', 'stage') else 'right')
    for row in rows:
        span = '' if row.temperatures_K is None else ' – '.join(f'{t:.0f}' for t in sorted(set(row.temperatures_K)))
        numbers = (f'{row.n_atoms}', f'{row.n_frames}', f'{row.n_with_virial}', span, f'{row.energy_eV_atom:.4f}')
        grid.add_row(row.formula, row.label, row.stage, *numbers)
    console = wide_console()
    console.print(grid)
    engine = ', '.join(f'{key} {value}' for key, value in node.engine.items() if not isinstance(value, dict))
    potentials = ', '.join(node.engine.get('potentials', {}).values())
    for key, value in (
        ('frames', f'{node.n_frames} of {len(node.formulas)} compositions'),
        ('engine', engine or 'unknown'),
        ('potentials', potentials),
        ('energy', node.energy_kind),
        ('virial', node.virial_convention),
        ('content', node.content_hash),
    ):
        if value:
            console.print(f'{key + ":":12s}{value}', soft_wrap=True, highlight=False, markup=False)


@frames.command('build')
@click.argument('nodes', nargs=-1, metavar='PK...', type=types.NodeParamType())
@click.option('-g', '--group', 'groups', multiple=True, type=types.GroupParamType(), help='All frames of a group.')
@click.option('-n', '--n-frames', type=click.IntRange(2), help='How many to draw; all by default.')
@click.option(
    '-f', '--training-fraction', type=float, default=0.8, show_default=True, help='Share of the training set.'
)
@click.option('-s', '--seed', type=click.IntRange(0), default=0, show_default=True)
@click.option('--max-force', type=float, metavar='EV_PER_A', help='Leave out frames with a larger force, eV/Å.')
@click.option('--max-pressure', type=float, metavar='GPA', help='Leave out frames with a larger pressure, GPa.')
@click.option('--keep-duplicates', is_flag=True, help='Keep repeated configurations.')
@TYPE_MAP
@decorators.with_dbenv()
def build(nodes, groups, n_frames, training_fraction, seed, max_force, max_pressure, keep_duplicates, type_map):
    """Draw a training and a validation set from frames, or from all frames that processes (PK) gave out."""
    from aiida import orm
    from aiida.common.exceptions import InputValidationError

    from aiida_softclay.calcfunctions.frames import build_dataset
    from aiida_softclay.cli.frames_import import frames_of

    inputs = frames_of([*nodes, *(node for group in groups for node in group.nodes)])
    if not inputs:
        echo.echo_critical('there are no frames: name frames, or processes that gave some out')
    parameters = {
        'n_frames': n_frames, 'training_fraction': training_fraction, 'seed': seed, 'max_force_eV_A': max_force,
        'max_pressure_GPa': max_pressure, 'drop_duplicates': not keep_duplicates, 'type_map': _type_map(type_map),
    }  # fmt: skip
    try:
        made = build_dataset(orm.Dict(parameters), **inputs)
    except InputValidationError as exception:
        echo.echo_critical(str(exception))
    _print_report(made['report'].get_dict())
    echo.echo_success(
        f'training frames <{made["training"].pk}>, validation frames <{made["validation"].pk}>, report '
        f'<{made["report"].pk}>'
    )


def _type_map(text: str | None) -> list[str] | None:
    return [symbol.strip() for symbol in text.split(',') if symbol.strip()] if text else None


def _print_report(report) -> None:
    """Print the counts of a data set by stratum."""
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console

    counts = report['counts']
    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('composition', 'label', 'stage'):
        grid.add_column(column)
    for column in counts:
        grid.add_column(column.replace('_', ' '), justify='right')
    for row in report['strata']:
        grid.add_row(row['formula'], row['label'], row['stage'], *(str(row[key]) for key in counts))
    grid.add_row('all', '', '', *(str(count) for count in counts.values()), style='bold')
    wide_console().print(grid)
    if report['duplicates_of_other_energy']:
        echo.echo_warning(
            f'{report["duplicates_of_other_energy"]} repeated configurations have energies that differ by more than '
            '1 meV/atom: they were computed with other settings'
        )


@frames.command('export')
@click.argument('node', metavar='PK', type=FRAMES)
@click.argument('directory', type=click.Path(path_type=str), metavar='DIR')
@click.option(
    '-f', '--format', 'style', type=click.Choice(['deepmd', 'extxyz']), default='deepmd', show_default=True,
    help='DeePMD-kit systems (npy), or one extended XYZ file.',
)  # fmt: skip
@TYPE_MAP
@decorators.with_dbenv()
def export(node, directory, style, type_map):
    """Write the frames PK into DIR: for DeePMD-kit one system per composition, or DIR/frames.extxyz."""
    from pathlib import Path

    from aiida_softclay.data.frames_file import export_deepmd_npy, export_extxyz

    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with node.open_frames() as file:
            if style == 'deepmd':
                systems = export_deepmd_npy(file, folder, _type_map(type_map) or node.elements)
                echo.echo_success(f'{node.n_frames} frames in {len(systems)} systems in {folder}')
                return
            target = folder / 'frames.extxyz'
            if target.exists():
                raise ValueError(f'{target} exists: choose another folder')
            missing = [element for element in node.elements if element not in (_type_map(type_map) or node.elements)]
            if missing:
                raise ValueError(f'the type map lacks {", ".join(missing)}, which the frames contain')
            echo.echo_success(f'{export_extxyz(file, target)} frames in {target}')
    except (ValueError, OSError) as exception:
        echo.echo_critical(str(exception))
