"""``softclay export``: a study to take away."""

from __future__ import annotations

import time
from pathlib import Path

import click
from aiida.cmdline.params import types
from aiida.cmdline.utils import decorators, echo

from aiida_softclay.cli.patience import Progress


class Parts(click.ParamType):
    """Parts of a take-away, joined by commas; ``all`` are all of them."""

    name = 'part,part'

    def convert(self, value, param, ctx):
        """Return the parts in their order, each once."""
        from aiida_softclay.report.export import PARTS

        if not isinstance(value, str):
            return value
        asked = [part.strip() for part in value.split(',') if part.strip()]
        if asked == ['all']:
            return PARTS
        for part in asked:
            if part not in PARTS:
                self.fail(f'`{part}` is no part: choose from {", ".join(PARTS)}, or all', param, ctx)
        if not asked:
            self.fail(f'no part is named: choose from {", ".join(PARTS)}, or all', param, ctx)
        return tuple(part for part in PARTS if part in asked)


class Megabytes(click.ParamType):
    """A size in MB (10⁶ bytes)."""

    name = 'MB'

    def convert(self, value, param, ctx):
        """Return bytes."""
        try:
            size = float(value)
        except ValueError:
            self.fail(f'{value} is no number of MB', param, ctx)
        if not 0 <= size < 1e9:
            self.fail(f'{value} MB is no size: give a number from 0 up', param, ctx)
        return int(size * 1e6)


@click.command('export')
@click.argument('nodes', metavar='PK...', nargs=-1, required=True, type=types.NodeParamType())
@click.argument('target', metavar='DIR|FILE', type=click.Path(path_type=Path))
@click.option(
    '--parts', type=Parts(),
    help='What to take, joined by commas: archive, frames, potentials, structures, densities, tables, report, '
    'trajectories; all but the last by default.',
)  # fmt: skip
@click.option('--with-trajectories', is_flag=True, help='Keep trajectories of any size in the archive.')
@click.option(
    '--bulk-above', type=Megabytes(), default=10, show_default=True,
    help='Leave the files of larger trajectories out of the archive, MB.',
)  # fmt: skip
@click.option(
    '--leave-out', multiple=True, metavar='PATTERN',
    help='Leave files whose names match a shell pattern out of the archive; may be repeated.',
)  # fmt: skip
@click.option(
    '--stride', type=click.IntRange(min=1), default=1, show_default=True,
    help='Of the part trajectories (XTC), every so many frames.',
)  # fmt: skip
@click.option(
    '--no-callers', is_flag=True,
    help='Take what led to PK alone, not the workchains that called it with all that they made.',
)  # fmt: skip
@click.option('-f', '--force', is_flag=True, help='Replace an earlier export.')
@click.option('--dry-run', is_flag=True, help='Only print the parts and their bytes.')
@decorators.with_dbenv()
def export(nodes, target, parts, with_trajectories, bulk_above, leave_out, stride, no_callers, force, dry_run):
    """Write studies or data (PK, uuid or label) with their whole provenance to DIR, or FILE.zip or FILE.tar.gz.

    An AiiDA archive without POTCARs and bulk trajectories, labelled frames, potentials, structures, density maps,
    tables and the page of `softclay report`, with README, manifest and check sums; trajectories as XTC when asked for.

    \b
    Examples:
      softclay export 123 study.zip
      softclay export 123 study --dry-run
      softclay export 123 456 both.tar.gz --parts archive,tables
      softclay export 123 runs --parts trajectories --stride 10
      softclay export 45 potential.zip --no-callers
    """  # noqa: D301 - click reads the character \b as: keep these lines
    from aiida_softclay.report.export import DEFAULT_PARTS, Options, take_away
    from aiida_softclay.report.export import dry_run as sizes_of
    from aiida_softclay.report.export.package import check_target

    progress = Progress()
    started = time.monotonic()
    try:
        options = Options(parts or DEFAULT_PARTS, with_trajectories, bulk_above, leave_out, stride, not no_callers)
        if dry_run:
            check_target(target, force)
            print_sizes(*sizes_of(nodes, options, progress))
            return
        made = take_away(nodes, target, options, force, progress)
    except (ValueError, OSError) as error:
        echo.echo_critical(str(error))
    for warning in made.warnings:
        echo.echo_warning(warning)
    for reason in dict.fromkeys(item.reason for item in made.left_out):
        items = [item for item in made.left_out if item.reason == reason]
        echo.echo_report(
            f'left out of the archive: {len(items)} files of {sum(item.bytes for item in items):,} bytes ({reason}); '
            'manifest.json lists them', err=True,
        )  # fmt: skip
    echo.echo_success(f'{made.target}: {made.files} files, {made.bytes:,} bytes, in {time.monotonic() - started:.1f} s')


def print_sizes(sizes, warnings) -> None:
    """Print what each part would take."""
    from rich.table import Table

    from aiida_softclay.cli.params import wide_console

    grid = Table(box=None, header_style='bold', pad_edge=False)
    grid.add_column('part')
    grid.add_column('items', justify='right')
    grid.add_column('bytes', justify='right')
    grid.add_column('')
    for row in sizes:
        size = f'{"" if row.exact or not row.bytes else "about "}{row.bytes:,}'
        grid.add_row(row.part, f'{row.items:,}', size, row.note)
    wide_console().print(grid)
    total = sum(row.bytes for row in sizes)
    echo.echo(f'About {total:,} bytes before compression; nothing was written.')
    for warning in warnings:
        echo.echo_warning(warning)
