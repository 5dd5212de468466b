"""``softclay launch … -series``: an experiment over the product of varied parameters, with replicas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launch_dumps import settle_dumps
from aiida_softclay.cli.launching import check_builder, launch_command, read_choices

ABOUT = {
    'stress_pulse': """Load STRUCTURE with pulses of several stresses and say which leave a plastic strain.

    `--vary magnitude_mpa=10,50 --replicas 3` runs six; the numbers of a point are means over its replicas, with the
    spread between them as error.
    """,
    'constant_strain': """Strain STRUCTURE at several rates and fit the yield stress against their logarithm.

    `--vary rate_per_ps=0.001,0.003,0.01 --replicas 3` runs nine; other parameters (component, temperature_K) make a fit
    for each of their values.
    """,
}


def estimate_points(builder: Any, process: str) -> list[Any]:
    """Return the size of all replicas of each point of a series, and their rough cost.

    Parameters
    ----------
    builder : ProcessBuilder
        Of the series.
    process : str
        Entry point of the experiment.

    Returns
    -------
    list of StageEstimate
    """
    from aiida_softclay.workflows.estimate import estimate_experiment
    from aiida_softclay.workflows.protocol import recursive_merge

    rows = []
    atoms = builder.structure.get_ase().symbols.formula.count()
    for point in builder.process_class.points_of(builder):
        first, n_runs = next(iter(point.runs.values())), len(point.runs)
        parameters = recursive_merge(builder.parameters.get_dict(), first)
        one = estimate_experiment(process, parameters, atoms)
        rows.append(
            replace(
                one, stage=point.label, n_processes=n_runs * one.n_processes, steps=n_runs * one.steps,
                duration_ps=n_runs * one.duration_ps, frames=n_runs * one.frames,
                bytes_stored=n_runs * one.bytes_stored, bytes_dumped=n_runs * one.bytes_dumped,
                bytes_restart=n_runs * one.bytes_restart, core_hours=n_runs * one.core_hours,
            )
        )  # fmt: skip
    return rows


def _series(experiment: str) -> click.Command:
    """Return the command that launches the series of an experiment."""

    def command(
        structure, potential, vary, replicas, max_runs, max_jobs, protocol, overrides, options, codes, remote
    ):  # fmt: skip
        from aiida.plugins import WorkflowFactory

        if potential is None:
            echo.echo_critical(
                'name a fitted potential with --potential; `verdi node list` and `softclay trace` find it'
            )
        builder = WorkflowFactory(f'softclay.{experiment}_series').get_builder_from_protocol(
            codes['lmp'], structure, potential=potential, vary=read_choices(vary) if vary else None, replicas=replicas,
            max_runs=max_runs, max_concurrent_jobs=max_jobs, protocol=protocol, overrides=overrides, options=options,
            **remote,
        )  # fmt: skip
        plan = settle_dumps(builder, estimate_points(builder, f'softclay.{experiment}'))
        check_builder(builder)
        return builder, plan

    command.__doc__ = ABOUT[experiment]
    for decorate in reversed([
        click.argument('structure', type=types.DataParamType(sub_classes=('aiida.data:core.structure',))),
        click.option(
            '--potential', type=types.DataParamType(sub_classes=('aiida.data:softclay.potential',)),
            help='A fitted potential (pk or uuid).',
        ),
        click.option(
            '--vary', multiple=True, metavar='NAME=V1,V2,…',
            help='A parameter of the experiment and its values; several make every combination. Of the protocol if not '
            'given.',
        ),
        click.option('--replicas', type=click.IntRange(1), help='Runs of each point, with different seeds.'),
        click.option('--max-runs', type=click.IntRange(1), help='More runs than these are refused.'),
        click.option('--max-jobs', type=click.IntRange(1), help='Most runs at once.'),
    ]):  # fmt: skip
        command = decorate(command)
    return launch_command(f'{experiment.replace("_", "-")}-series', 'lmp', dumps=True)(command)


SERIES = [_series(experiment) for experiment in ABOUT]
