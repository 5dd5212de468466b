"""``softclay doctor``: what a report of a problem needs."""

from __future__ import annotations

import click
from aiida.cmdline.utils import decorators, echo


@click.command('doctor')
@click.option('--json', 'as_json', is_flag=True, help='Write JSON.')
@click.option('--quick', is_flag=True, help='Do not ask the engines for their versions.')
@click.option('--failed', type=click.IntRange(0), default=5, show_default=True, help='Failed processes to name.')
@decorators.with_dbenv()
def doctor(as_json, quick, failed):
    """Gather what a report of a problem needs: versions, storage, daemon, engines, the last failures.

    \b
    Examples:
      softclay doctor > report.txt
      softclay doctor --json --quick

    Names of users and hosts, home folders, passwords and contents of files are left out. To find what is wrong and what
    to type, use `softclay check`.
    """  # noqa: D301 - click reads the character \b as: keep these lines
    import json

    from aiida_softclay.setup.doctor import gather

    found = gather(engines=not quick, n_failed=failed)
    if as_json:
        echo.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for section, content in found.items():
        echo.echo(section)
        for line in _lines(content):
            echo.echo(f'  {line}')


def _lines(content) -> list[str]:
    if isinstance(content, dict):
        return [f'{key}: {_inline(value)}' for key, value in content.items()] or ['none']
    return [_inline(row) for row in content] or ['none']


def _inline(value) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{key} {_inline(inner)}' for key, inner in value.items()) or 'none'
    if isinstance(value, list):
        return '; '.join(_inline(row) for row in value) or 'none'
    return 'none' if value is None else str(value)
