"""``softclay launch conductivity-series``: diffusion at several temperatures, with replicas and Arrhenius lines."""

from __future__ import annotations

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launch_dumps import settle_dumps
from aiida_softclay.cli.launch_series import estimate_points
from aiida_softclay.cli.launching import check_builder, launch_command, read_choices


def read_temperatures(text: str | None, option: str) -> list[float] | None:
    """Return the temperatures of a list with commas; ends the command with a sentence if it is none.

    >>> read_temperatures('500, 600,700', '--temperatures')
    [500.0, 600.0, 700.0]
    """
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(',')]
    except ValueError:
        echo.echo_critical(f'{option} {text} are no temperatures: write numbers in K with commas, 500,600,700')


@launch_command('conductivity-series', 'lmp', dumps=True)
@click.argument('structure', type=types.DataParamType(sub_classes=('aiida.data:core.structure',)))
@click.option(
    '--potential', type=types.DataParamType(sub_classes=('aiida.data:softclay.potential',)),
    help='A fitted potential (pk or uuid).',
)  # fmt: skip
@click.option('--temperatures', metavar='T1,T2,…', help='In K; of the protocol if not given.')
@click.option(
    '--vary', multiple=True, metavar='NAME=V1,V2,…',
    help='Another parameter and its values; each combination of them gets lines of its own.',
)  # fmt: skip
@click.option('--replicas', type=click.IntRange(1), help='Runs at each temperature, with different seeds.')
@click.option(
    '--error', type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help='Relative error of the diffusivity at which a run ends, 0.1 for 10 %; of the protocol if not given.',
)  # fmt: skip
@click.option('--species', help='Element whose error that is; the one that carries most if not given.')
@click.option('--max-duration', type=click.FloatRange(min=0, min_open=True), help='Longest run with --error, ps.')
@click.option('--at', 'at_k', metavar='T1,T2,…', help='Temperatures in K at which the lines are read off.')
@click.option('--glass-transition', type=click.FloatRange(min=0, min_open=True), help='In K; nothing is drawn across.')
@click.option(
    '--glass-transition-results', type=types.DataParamType(sub_classes=('aiida.data:core.dict',)),
    help='Results of `softclay launch glass-transition` (pk or uuid), instead.',
)  # fmt: skip
@click.option('--across', is_flag=True, help='Draw the lines across the glass transition all the same.')
@click.option('--max-runs', type=click.IntRange(1), help='More runs than these are refused.')
@click.option('--max-jobs', type=click.IntRange(1), help='Most runs at once.')
def conductivity_series(
    structure, potential, temperatures, vary, replicas, error, species, max_duration, at_k, glass_transition,
    glass_transition_results, across, max_runs, max_jobs, protocol, overrides, options, codes, remote,
):  # fmt: skip
    """Let the ions of STRUCTURE diffuse at several temperatures; find activation energies and values at --at.

    `--temperatures 500,600,700,800 --replicas 3` runs twelve.
    """
    from aiida.plugins import WorkflowFactory

    if potential is None:
        echo.echo_critical('name a fitted potential with --potential; `verdi node list` and `softclay trace` find it')
    asked = {'relative_error_wanted': error, 'error_species': species, 'max_duration_ps': max_duration}
    changes = {**(overrides or {}), **{name: value for name, value in asked.items() if value is not None}}
    builder = WorkflowFactory('softclay.conductivity_series').get_builder_from_protocol(
        codes['lmp'], structure, potential=potential, temperatures=read_temperatures(temperatures, '--temperatures'),
        vary=read_choices(vary) if vary else None, replicas=replicas,
        at_K=read_temperatures(at_k, '--at'), glass_transition_K=glass_transition,
        glass_transition=glass_transition_results, extrapolate_across_glass_transition=across or None,
        max_runs=max_runs, max_concurrent_jobs=max_jobs, protocol=protocol, overrides=changes, options=options,
        **remote,
    )  # fmt: skip
    plan = settle_dumps(builder, estimate_points(builder, 'softclay.conductivity'))
    check_builder(builder)
    parameters = builder.parameters.get_dict()
    if parameters['relative_error_wanted'] is not None:
        echo.echo_report(
            f'runs end when D is known to {100 * parameters["relative_error_wanted"]:g} %, at '
            f'{parameters["max_duration_ps"]:g} ps at the latest; the plan is that of their first '
            f'{parameters["duration_ps"]:g} ps'
        )
    return builder, plan
