"""``softclay launch glass-transition``: cool a structure at one rate, or at several side by side."""

from __future__ import annotations

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import echo

from aiida_softclay.cli.launching import check_builder, launch_command


def read_rates(text: str | None) -> list[float] | None:
    """Return the cooling rates of a list with commas; ends the command with a sentence if it is none.

    >>> read_rates('0.1, 1,10')
    [0.1, 1.0, 10.0]
    """
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(',')]
    except ValueError:
        echo.echo_critical(f'--rates {text} are no cooling rates: write numbers in K/ps with commas, 1,10,100')


@launch_command('glass-transition', 'lmp', dumps=True)
@click.argument('structure', type=types.DataParamType(sub_classes=('aiida.data:core.structure',)))
@click.option(
    '--potential', type=types.DataParamType(sub_classes=('aiida.data:softclay.potential',)),
    help='A fitted potential (pk or uuid).',
)  # fmt: skip
@click.option(
    '--mode', type=click.Choice(['ladder', 'cooling']), help='Rungs, or continuous; of the protocol if not given.'
)
@click.option('--rates', metavar='R1,R2,…', help='Cooling rates in K/ps; several are compared with each other.')
@click.option('--max-jobs', type=click.IntRange(1), help='Most rates at once.')
def glass_transition(structure, potential, mode, rates, max_jobs, protocol, overrides, options, codes, remote):
    """Cool the glass STRUCTURE and find the crossing of its specific volumes."""
    from aiida.plugins import WorkflowFactory

    from aiida_softclay.workflows.estimate import estimate_cooling_rates

    if potential is None:
        echo.echo_critical('name a fitted potential with --potential; `verdi node list` and `softclay trace` find it')
    changes = dict(overrides or {})
    if mode is not None:
        changes['mode'] = mode
    chosen = read_rates(rates)
    common = {'potential': potential, 'protocol': protocol, 'options': options, **remote}
    if chosen is not None and len(chosen) > 1:
        builder = WorkflowFactory('softclay.glass_transition_series').get_builder_from_protocol(
            codes['lmp'], structure, chosen, overrides=changes, max_concurrent_jobs=max_jobs, **common
        )
    else:
        if chosen is not None:
            changes['rate_K_per_ps'] = chosen[0]
        builder = WorkflowFactory('softclay.glass_transition').get_builder_from_protocol(
            codes['lmp'], structure, overrides=changes, **common
        )
    check_builder(builder)
    parameters = builder.parameters.get_dict()
    speeds = chosen or [parameters['rate_K_per_ps']]
    return builder, estimate_cooling_rates(parameters, speeds, len(structure.sites))
