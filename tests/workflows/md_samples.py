"""Small runs of argon with LAMMPS: a code that starts at once, plans, and programs that fail on purpose."""

from __future__ import annotations

from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_softclay.workflows.md import MdWorkChain

ARGON = {'pair_lines': ['pair_style lj/cut 8.0', 'pair_coeff * * 0.0104 3.4', 'pair_modify shift yes']}
# A long cutoff makes LAMMPS slow enough to be caught in the middle.
SLOW = {'pair_lines': ['pair_style lj/cut 14.0', 'pair_coeff * * 0.0104 3.4']}


def argon(size=3, constant=5.3):
    return orm.StructureData(ase=bulk('Ar', 'fcc', a=constant, cubic=True) * (size, size, size))


def run_md(code, stages, structure=None, options=None, expect=0, classical=ARGON, others=None, **plan):
    data = {'timestep_ps': 0.002, 'seed': 7, 'thermo_every': 10, 'dump_every': 50, 'restart_every': 100, **plan}
    builder = MdWorkChain.get_builder_from_protocol(
        code, structure or argon(), {**data, 'stages': stages}, classical=classical,
        options={'max_wallclock_seconds': 600, **(options or {})}, **(others or {}),
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == expect, (node.exit_status, node.exit_message)
    return node


# The second restart file is there, so the first one is whole.
KILL = """
  until [ -s long.b.restart ]; do sleep 0.01; done
  kill -9 $pid
"""


def code_that_fails_once(code, folder, name, first='', later=''):
    """Return a code that does something to its first LAMMPS while it runs, or to the script of the later ones."""
    script = folder / name
    script.write_text(
        f'#!/bin/bash\nif [ -e {folder}/{name}-once ]; then\n  true {later}\nfi\n'
        f'{code.filepath_executable} "$@" &\npid=$!\n'
        f'if [ ! -e {folder}/{name}-once ]; then\n  touch {folder}/{name}-once\n{first}\nfi\nwait $pid\n'
    )
    script.chmod(0o755)
    return orm.InstalledCode(
        label=name, computer=code.computer, filepath_executable=str(script), with_mpi=False,
        default_calc_job_plugin='softclay.lammps', prepend_text=code.prepend_text,
    ).store()  # fmt: skip


def code_that_always(code, folder, name, before='', meanwhile=''):
    """Return a code that does something before each LAMMPS, and something to it while it runs."""
    script = folder / name
    script.write_text(f'#!/bin/bash\n{before}\n{code.filepath_executable} "$@" &\npid=$!\n{meanwhile}\nwait $pid\n')
    script.chmod(0o755)
    return orm.InstalledCode(
        label=name, computer=code.computer, filepath_executable=str(script), with_mpi=False,
        default_calc_job_plugin='softclay.lammps', prepend_text=code.prepend_text,
    ).store()  # fmt: skip


def code_that_fails_in_turn(code, folder, name, actions):
    """Return a code that does one thing after the other to its first LAMMPS processes, and nothing to later ones."""
    cases = '\n'.join(f'{number}) {action} ;;' for number, action in enumerate(actions))
    count = folder / f'{name}-count'
    count.write_text('0')
    turn = f'turn=$(cat {count}); echo $((turn + 1)) > {count}'
    return code_that_always(code, folder, name, before=turn, meanwhile=f'case $turn in\n{cases}\nesac')


def reports(node):
    """Return what a workchain and its jobs reported, as one text."""
    from aiida.cmdline.utils.common import get_workchain_report

    return get_workchain_report(node, 'REPORT')
