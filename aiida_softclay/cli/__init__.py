"""The command line: ``verdi data softclay ...`` and the same group as ``softclay ...``."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import click
from aiida.cmdline.groups import VerdiCommandGroup
from aiida.cmdline.params import options, types

#: Command name to the module that defines a click command of that name; loaded when it is called or helped.
COMMANDS = {
    name: f'aiida_softclay.cli.{name}'
    for name in (
        'launch',
        'status',
        'results',
        'scorecard',
        'compare',
        'doctor',
        'trace',
        'graph',
        'plot',
        'report',
        'check',
        'crystals',
        'screening',
        'build',
        'powder',
        'frames',
        'trajectory',
        'export',
        'setup',
    )
}


class LazyGroup(VerdiCommandGroup):
    """A group that imports a subcommand only when it is needed, so that completion and help stay fast."""

    def __init__(self, *args: Any, lazy_commands: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = dict(lazy_commands or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands whose module is there."""
        lazy = [name for name, module in self.lazy_commands.items() if importlib.util.find_spec(module) is not None]
        return sorted({*super().list_commands(ctx), *lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now if it was not before."""
        module = self.lazy_commands.get(cmd_name)
        if module is not None and cmd_name not in self.commands and importlib.util.find_spec(module) is not None:
            from aiida_softclay.cli.examples import add_examples

            self.add_command(add_examples(getattr(importlib.import_module(module), cmd_name), cmd_name), cmd_name)
        return super().get_command(ctx, cmd_name)


def _profile_to_use() -> str | None:
    """Return the profile that ``verdi -p`` has loaded already, else the default one."""
    from aiida.cmdline.utils.defaults import get_default_profile
    from aiida.manage import get_manager

    loaded = get_manager().get_profile()
    return loaded.name if loaded is not None else get_default_profile()


@click.group(
    'softclay',
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    context_settings={'help_option_names': ['--help', '-h']},
)
@options.PROFILE(type=types.ProfileParamType(load_profile=True), expose_value=False, default=_profile_to_use)
@options.VERBOSITY()
@click.version_option(package_name='aiida-softclay', message='aiida-softclay %(version)s')
def softclay() -> None:
    """Compute clay-like solid electrolytes: from two salts to conductivities, with every ancestor on record."""
    from aiida_softclay.cli.patience import Progress
    from aiida_softclay.data.telling import telling

    click.get_current_context().with_resource(telling(Progress()))
