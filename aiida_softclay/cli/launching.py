"""What all ``softclay launch`` commands share: options, codes, dry run, submission and waiting."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from aiida.cmdline.utils import decorators, echo

from aiida_softclay.cli.launch_dumps import dump_options, settle_dumps, take_dump_inputs

#: Engine to the entry points that a code of it may have as default plugin.
ENGINES = {
    'vasp': ('softclay.vasp_md', 'vasp.vasp'),
    'dp': ('softclay.dp.train', 'softclay.dp.freeze', 'softclay.dp.compress', 'softclay.dp.test'),
    'lmp': ('softclay.lammps', 'lammps.raw', 'lammps.base'),
    'analyse': ('softclay.analysis',),
}


def find_code(engine: str, label: str | None):
    """Return the code of an engine: the one named, else the one the setup made, else the only one there is.

    Ends the command with a sentence if there is none, or several to choose from.
    """
    from aiida import orm
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    from aiida_softclay.setup.marker import current_defaults

    defaults = current_defaults()
    chosen = label or (defaults.codes.get(engine) if defaults.made_by_setup else None)
    if chosen:
        try:
            return orm.load_code(chosen)
        except (NotExistent, MultipleObjectsError) as error:
            echo.echo_critical(f'--{engine} {chosen}: {error}')
    filters = {'attributes.input_plugin': {'in': list(ENGINES[engine])}}
    found = orm.QueryBuilder().append(orm.InstalledCode, filters=filters).all(flat=True)
    codes = [code for code in found if not code.is_hidden]
    if not codes and engine == 'analyse':
        return _make_analysis_code()
    if not codes:
        echo.echo_critical(f'no code runs {engine} here: `./setup_profile.sh` makes one, or name yours with --{engine}')
    if len(codes) > 1:
        labels = ', '.join(sorted(code.full_label for code in codes))
        echo.echo_critical(f'several codes run {engine}: choose with --{engine} from {labels}')
    return codes[0]


def _make_analysis_code() -> Any:
    """Return a code for analyses on the computer of the setup: the program comes with this package."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_softclay.setup.codes import ANALYSIS, ensure_code
    from aiida_softclay.setup.errors import SetupError

    try:
        computer = orm.load_computer('localhost')
        return ensure_code(ANALYSIS, computer, None, 1, Path.cwd(), echo.echo_report)
    except (NotExistent, SetupError) as error:
        echo.echo_critical(f'no code runs softclay-analyse here, and none can be made: {error}; give --analyse')


def read_structures_file(path: Path, index: Any = None) -> Any:
    """Return what ASE reads from a file: the last structure, or those of ``index``.

    Ends the command with a sentence if it cannot be read.
    """
    import ase.io

    try:
        return ase.io.read(path, index=index)
    except Exception as error:
        # ASE's many readers raise whatever they stumble over.
        echo.echo_critical(f'{path} cannot be read as a structure: {error}')


def find_family(label: str | None) -> str:
    """Return the label of the POTCAR family: the one named, else the one the setup made, else the only one there is."""
    from aiida import orm
    from aiida.plugins import GroupFactory

    from aiida_softclay.setup.marker import current_defaults

    labels = sorted(orm.QueryBuilder().append(GroupFactory('vasp.potcar'), project='label').all(flat=True))
    defaults = current_defaults()
    chosen = label or (defaults.potential_family if defaults.made_by_setup else None)
    if chosen:
        if chosen not in labels:
            echo.echo_critical(f'there is no POTCAR family {chosen}: known are {", ".join(labels) or "none"}')
        return chosen
    if not labels:
        echo.echo_critical('no POTCAR family is uploaded: `./setup_profile.sh` makes one')
    if len(labels) > 1:
        echo.echo_critical(f'choose a POTCAR family with --family from {", ".join(labels)}')
    return labels[0]


def scheduler_options(
    wallclock: int | None, mpiprocs: int | None, queue: str | None, account: str | None
) -> dict[str, Any] | None:
    """Return the scheduler options that were asked for, or ``None`` if none was."""
    options: dict[str, Any] = {}
    if mpiprocs is not None:
        options['resources'] = {'num_machines': 1, 'num_mpiprocs_per_machine': mpiprocs}
        options['withmpi'] = mpiprocs > 1
    if wallclock is not None:
        options['max_wallclock_seconds'] = wallclock
    if queue:
        options['queue_name'] = queue
    if account:
        options['account'] = account
    return options or None


def read_overrides(path: Path | None) -> dict[str, Any] | None:
    """Return the mapping in a YAML file; ends the command with a sentence if it is none."""
    import yaml

    if path is None:
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        echo.echo_critical(f'{path} is not YAML: {error}')
    if not isinstance(content, dict):
        echo.echo_critical(f'{path} must hold a mapping of overrides, like the protocol it changes')
    return content


def read_choices(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of ``NAME=V1,V2`` by dotted name.

    >>> read_choices(['melt.temperature_K=700,900', 'quench.ensemble=npt'])
    {'melt.temperature_K': [700, 900], 'quench.ensemble': ['npt']}
    """
    import yaml

    choices: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition('=')
        if not (name.strip() and equals and values.strip()):
            echo.echo_critical(f'{text} is not NAME=V1,V2: write for example melt.temperature_K=700,900,1100')
        if name.strip() in choices:
            echo.echo_critical(f'{name.strip()} is varied twice: give all its values at once')
        try:
            choices[name.strip()] = [yaml.safe_load(value) for value in values.split(',')]
        except yaml.YAMLError as error:
            echo.echo_critical(f'{values} cannot be read: {error}')
    return choices


OVERRIDES = click.option(
    '-O', '--overrides', type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='YAML file with the values of the protocol to change.',
)  # fmt: skip


def launch_command(name: str, *engines: str, dumps: bool = False) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a command of a function that returns a builder and the lines of its plan.

    The function gets its own arguments, ``protocol``, ``overrides`` (a mapping or None), ``options`` (a mapping or
    None) and ``codes`` (engine to code). It returns
    ``(builder, plan)`` with the plan as a list of :class:`~aiida_softclay.workflows.estimate.StageEstimate`. With
    ``dumps`` the command has the options of :func:`~aiida_softclay.cli.launch_dumps.dump_options`, and the function
    gets what they say as ``remote``, a mapping of inputs.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def command(
            protocol, overrides, dry_run, wait, wallclock, mpiprocs, queue, account, **arguments
        ):  # fmt: skip
            from aiida.common.exceptions import ValidationError

            if dumps:
                arguments['remote'] = take_dump_inputs(arguments)
            labels = {engine: arguments.pop(engine, None) for engine in ENGINES}
            try:
                builder, plan = function(
                    protocol=protocol,
                    overrides=read_overrides(overrides),
                    options=scheduler_options(wallclock, mpiprocs, queue, account),
                    codes={engine: find_code(engine, labels[engine]) for engine in engines},
                    **arguments,
                )
                plan = settle_dumps(builder, plan) if dumps else plan
            except (ValueError, ValidationError) as error:
                echo.echo_critical(str(error))
            if dry_run:
                check_builder(builder)
                print_plan(plan)
                return
            launch(builder, wait)

        for option in reversed([
            click.option('--protocol', help='Protocol; the workchain has a default.'),
            OVERRIDES,
            click.option('-n', '--dry-run', is_flag=True, help='Print what would be done and what it costs.'),
            click.option('-w', '--wait', is_flag=True, help='Show the progress and end with the results.'),
            click.option('--wallclock', type=click.IntRange(60), help='Walltime of each job, s.'),
            click.option('--mpiprocs', type=click.IntRange(1), help='MPI processes of each job.'),
            click.option('--queue', help='Queue of the scheduler.'),
            click.option('--account', help='Account of the scheduler.'),
            *[click.option(f'--{name}', help=f'Code that runs {name}, if there are several.') for name in engines],
        ]):  # fmt: skip
            command = option(command)
        if dumps:
            command = dump_options(command)
        return click.command(name)(decorators.with_dbenv()(command))

    return decorate


def check_builder(builder: Any) -> None:
    """End the command with a sentence if the inputs do not pass the validation of the workchain."""
    inputs = builder._inputs(prune=True)
    error = builder.process_class.spec().inputs.validate(inputs)
    if error is not None:
        echo.echo_critical(f'{error.port}: {error.message}' if error.port else str(error.message))


def hours_text(hours: float) -> str:
    """Return rough core-hours in two digits, without exponents for what is large.

    >>> hours_text(0.0123), hours_text(2718.3)
    ('0.012', '2,718')
    """
    return f'{hours:,.0f}' if hours >= 10 else f'{hours:.2g}'


def print_plan(plan: list[Any]) -> None:
    """Print the stages of a plan with their size and rough cost."""
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console

    console = wide_console()
    grid = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('stage', 'processes', 'atoms', 'steps', 'simulated', 'frames', 'disk', 'core-hours'):
        grid.add_column(column, justify='left' if column == 'stage' else 'right', no_wrap=True)
    for row in plan:
        grid.add_row(
            row.stage, str(row.n_processes), str(row.n_atoms or ''), f'{row.steps:,}' if row.steps else '',
            f'{row.duration_ps:g} ps' if row.duration_ps else '', f'{row.frames:,}' if row.frames else '',
            bytes_text(stored(row)), hours_text(row.core_hours) if row.core_hours else '',
        )  # fmt: skip
    grid.add_row(
        'all', str(sum(row.n_processes for row in plan)), '', f'{sum(row.steps for row in plan):,}', '',
        f'{sum(row.frames for row in plan):,}', bytes_text(sum(stored(row) for row in plan)),
        hours_text(sum(row.core_hours for row in plan)),
    )  # fmt: skip
    console.print(grid)
    dumped, restart = sum(row.bytes_dumped for row in plan), sum(row.bytes_restart for row in plan)
    if dumped:
        kept = sum(stored(row) for row in plan if row.bytes_dumped)
        console.print(
            f'On the computer that runs LAMMPS: raw dumps {bytes_text(dumped)}, restart files {bytes_text(restart)}; '
            f'trajectories in the repository {bytes_text(kept) or "0 B"}.'
        )
    for where in dict.fromkeys(row.stays_on for row in plan if row.stays_on):
        rows = [row for row in plan if row.stays_on == where]
        console.print(
            f'Too large to be retrieved: {", ".join(row.stage for row in rows)}. Raw dumps of '
            f'{bytes_text(sum(row.bytes_frames * row.n_processes for row in rows))} and the trajectories made of them, '
            f'{bytes_text(sum(row.bytes_stored for row in rows))}, stay on {where}.',
            soft_wrap=True,
        )
    console.print('Core-hours are rough: they scale measured speeds of one core with atoms and steps.')


def stored(row: Any) -> float:
    """Return the bytes that a stage of a plan adds to the repository."""
    return 0.0 if row.stays_on else row.bytes_stored


def bytes_text(count: float) -> str:
    """Return a number of bytes for people.

    >>> bytes_text(1530000)
    '1.5 MB'
    """
    if not count:
        return ''
    for unit in ('B', 'kB', 'MB', 'GB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:.3g} TB'


def launch(builder: Any, wait: bool) -> None:
    """Submit a builder, say how to look at it, and follow it if asked."""
    from aiida.common.exceptions import InvalidOperation, ValidationError
    from aiida.engine import submit
    from aiida.engine.daemon.client import get_daemon_client

    from aiida_softclay.setup.broker import start_command

    client = get_daemon_client()
    running = client.is_daemon_running
    try:
        node = submit(builder)
    except InvalidOperation:
        # AiiDA refuses where nobody could take the task: without a broker, or when it is stopped with the daemon.
        if client.profile.process_control_backend is None:
            echo.echo_critical(
                f'nothing was submitted: profile `{client.profile.name}` has no broker. `./setup_profile.sh` makes a '
                f'profile that has one; `verdi -p {client.profile.name} profile configure-broker` adds RabbitMQ'
            )
        echo.echo_critical(
            f'nothing was submitted: the daemon is not running. Type `{start_command(client.profile)}`, and then the '
            'same command again'
        )
    except (ValueError, ValidationError) as error:
        echo.echo_critical(str(error))
    echo.echo_success(f'{node.process_label} <{node.pk}> is submitted: `softclay status {node.pk}` shows how far it is')
    if not running:
        echo.echo_warning(f'the daemon is not running, so nothing moves: type `{start_command(client.profile)}`')
    if wait:
        wait_for(node)


def wait_for(node: Any) -> None:
    """Follow a process to its end and print its numbers; the command fails if the process did."""
    from rich.console import Console

    from aiida_softclay.cli.results import print_table
    from aiida_softclay.cli.status import advice, follow_process
    from aiida_softclay.report.progress import ended_with_warning, state_text
    from aiida_softclay.report.queries import results_table

    console = Console()
    try:
        follow_process(node, console)
    except KeyboardInterrupt:
        echo.echo_warning(f'it goes on without this terminal: `softclay status {node.pk} --follow` comes back to it')
        raise click.exceptions.Exit(130) from None
    table = results_table(process=node)
    if not table.empty:
        print_table(table)
    if not node.is_finished_ok:
        console.print(advice(node) or '', soft_wrap=True)
        said = f'{node.process_label} <{node.pk}> {state_text(node)}'
        if ended_with_warning(node):
            echo.echo_warning(said)
            # Not all that was asked for is there, which a script that goes on from here has to know.
            raise click.exceptions.Exit(1)
        echo.echo_critical(said)
    echo.echo_success(
        f'{node.process_label} <{node.pk}> finished: `softclay trace {node.pk}` shows where its numbers come from'
    )
