"""What to type: examples that the help of each command ends with."""

from __future__ import annotations

import click

#: Command to command lines. Commands whose help has examples of its own are not here.
EXAMPLES: dict[str, tuple[str, ...]] = {
    'build': ('build 2LiCl-GaF3 -N 3000 -o cell.xyz', 'build Li3Al3O2Cl8 --expand 2x2x2 --picture cell.png'),
    'check': ('check',),
    'crystals': ('crystals Li-Ga-F-Cl', 'crystals LiAlO2 --format json', 'crystals --set gupta2023 --demo'),
    'frames build': ('frames build 123 124',),
    'frames export': ('frames export 123 frames/',),
    'frames import': ('frames import OLD_RUNS/ --recursive',),
    'frames info': ('frames info 123',),
    'graph': ('graph 123',),
    'launch aimd': ('launch aimd LiCl --dry-run', 'launch aimd 123 --protocol balanced'),
    'launch amorphous': (
        'launch amorphous 2LiCl-GaF3 --potential 123 --dry-run',
        'launch amorphous Li3Al3O2Cl8 --protocol you2025 --potential 123',
    ),
    'launch amorphous-series': ('launch amorphous-series 2LiCl-GaF3 --potential 123 --dry-run',),
    'launch analyse': ('launch analyse chains trajectory=123 --parameters chains.yaml',),
    'launch build-potential': ('launch build-potential gupta2023 --dry-run',
                               'launch build-potential gupta2023_demo --wait'),
    'launch concurrent-learning': ('launch concurrent-learning 123 --dry-run',),
    'launch conductivity': ('launch conductivity 123 --potential 124 --protocol balanced --dry-run',),
    'launch conductivity-series': (
        'launch conductivity-series 123 --potential 124 --temperatures 500,600,700 --replicas 3 --dry-run',
    ),
    'launch constant-strain': ('launch constant-strain 123 --potential 124 --dry-run',),
    'launch constant-strain-series': (
        'launch constant-strain-series 123 --vary rate_per_ps=1e-4,1e-3 --replicas 3 --potential 124',
    ),
    'launch fit-committee': ('launch fit-committee 123 --models 4 --dry-run',),
    'launch fit-potential': ('launch fit-potential 123 --dry-run', 'launch fit-potential 123 --protocol paper'),
    'launch glass-transition': ('launch glass-transition 123 --potential 124 --dry-run',),
    'launch label': ('launch label 123 --dry-run',),
    'launch md': ('launch md 123 plan.yaml --potential 124 --dry-run',),
    'launch melt-quench': ('launch melt-quench gupta2023_demo --dry-run',),
    'launch protocols': ('launch protocols study', 'launch protocols conductivity paper'),
    'launch reaction-energy': ('launch reaction-energy 3LiCl-2GaF3 --dry-run',),
    'launch stress-pulse': ('launch stress-pulse 123 --potential 124 --dry-run',),
    'launch stress-pulse-series': (
        'launch stress-pulse-series 123 --vary magnitude_mpa=10,50 --replicas 3 --potential 124 --dry-run',
    ),
    'launch study': (
        'launch study 2LiCl-GaF3 --protocol balanced --dry-run', 'launch study 2LiCl-GaF3 --wait',
        'launch study 2NaCl-GaF3 -O changes.yaml',
    ),
    'launch validate-potential': ('launch validate-potential 123 LiCl GaF3 --dry-run',),
    'plot': ('plot 123 -o figure.pdf', 'plot 123 --list', 'plot 123 --panel msd -o msd.png'),
    'screening': ('screening entries.json LiCl-GaF3 NaCl-GaF3 --evidence',),
    'setup configure': ('setup configure --help',),
    'setup daemon': ('setup daemon start',),
    'setup remove': ('setup remove',),
    'setup verify': ('setup verify',),
    'status': ('status', 'status 123', 'status 123 --follow'),
    'trajectory export': ('trajectory export 123 -o run.xtc --stride 10',),
    'trajectory import': ('trajectory import run.dump --types Li,Ga,F,Cl --timestep 0.001',),
}  # fmt: skip


def add_examples(command: click.Command, name: str) -> click.Command:
    """Let the help of a command, and of those below it, end with its examples.

    Parameters
    ----------
    command : click.Command
        Gets an epilog if it has none.
    name : str
        Its name below ``softclay``: ``launch study``.
    """
    if isinstance(command, click.Group):
        for key, below in command.commands.items():
            add_examples(below, f'{name} {key}')
    elif name in EXAMPLES and command.epilog is None:
        lines = '\n'.join(f'  softclay {line}' for line in EXAMPLES[name])
        command.epilog = f'\b\nExamples:\n{lines}'
    return command
