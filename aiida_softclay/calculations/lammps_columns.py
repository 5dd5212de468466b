"""What LAMMPS writes of a run at full time resolution: centres of the elements, and averages over the steps.

Transport and mean values then do not depend on how often a frame is dumped. The centre of an element is the mean
position of its atoms, unwrapped through the periodic images as in the trajectory; all of its atoms have one mass, so it
is their centre of mass. Relative to the centre of mass of all, and times the number of atoms, it is the collective
displacement of the element (yang2024, eqs. 2-7), free of any drift of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.calculations.md_stages import DynamicsStage

CENTRES_SUFFIX = '.centres.txt'
AVERAGES_SUFFIX = '.averages.txt'
COLUMN_FILES = (f'*{CENTRES_SUFFIX}', f'*{AVERAGES_SUFFIX}')
#: LAMMPS' name of each quantity that is averaged; the pressures are those of the thermodynamic output.
AVERAGED_KEYWORDS = (
    *('temp', 'pe', 'etotal', 'vol', 'density', 'lx', 'ly', 'lz', 'xy', 'xz', 'yz'),
    *('pxx', 'pyy', 'pzz', 'pyz', 'pxz', 'pxy'),
)
CENTRE_DIGITS = '%.12g'
#: Most steps between two samples of an average, and fewest samples in a window, where energy and stress cost extra.
SPARSEST, FEWEST_SAMPLES = 10, 4


def sampling_steps(width: int, classical: bool) -> int:
    """Return how many steps lie between two samples of an average.

    A deep potential gives energy and virial with the forces, at no cost. Classical pair styles leave them out where
    nobody asks, and asking at every step makes a Lennard-Jones run 40 % longer; within ten steps they hardly change.

    Parameters
    ----------
    width : int
        Steps of the window that is averaged over.
    classical : bool
        Whether the potential is a classical one.

    >>> sampling_steps(100, False), sampling_steps(100, True), sampling_steps(40, True), sampling_steps(7, True)
    (1, 10, 10, 1)
    """
    if not classical:
        return 1
    most = min(SPARSEST, width // FEWEST_SAMPLES)
    return max((steps for steps in range(1, most + 1) if width % steps == 0), default=1)


def group_of(element: str) -> str:
    """Return the name of the LAMMPS group of an element."""
    return f'element_{element}'


def definition_lines(types: Mapping[str, int]) -> list[str]:
    """Return the lines that define the groups of the elements and the averaged quantities, once for the script.

    Parameters
    ----------
    types : mapping of str to int
        Element to its atom type; only elements that occur in the structure.
    """
    lines = [f'group {group_of(element)} type {number}' for element, number in types.items()]
    return [*lines, *(f'variable now_{keyword} equal {keyword}' for keyword in AVERAGED_KEYWORDS)]


def column_fixes(
    plan: MdPlan, stage: DynamicsStage, types: Mapping[str, int], classical: bool
) -> list[tuple[str, list[str]]]:
    """Return the ids of the fixes that write the columns of a stage, each with its lines.

    ``fix print`` starts after the first step; the row of the step at which a job starts is printed before, so that a
    stage has one at each of its ends. ``fix ave/time`` counts its windows from step 0: where a stage or a job starts
    within one, that window is left out, so that every average is over whole windows of one stage.
    """
    start, end = plan.start_step(stage), plan.start_step(stage) + plan.steps(stage)
    centres, averages = f'centres_{stage.name}', f'averages_{stage.name}'
    file = f'{stage.name}{CENTRES_SUFFIX}'
    row = ' '.join(['$(step)', *(_centre(element) for element in types)])
    rows = f'strides_{stage.name}'
    width = plan.stage_thermo_every(stage)
    every = sampling_steps(width, classical)
    quantities = ' '.join(f'v_now_{keyword}' for keyword in AVERAGED_KEYWORDS)
    return [
        (
            centres,
            [
                f'variable {rows} equal stride({start},{end},{plan.stage_collective_every(stage)})',
                f'print "# step {" ".join(types)}" file {file} screen no',
                f'print "{row}" append {file} screen no',
                f'fix {centres} all print v_{rows} "{row}" append {file} screen no title ""',
            ],
        ),
        (
            averages,
            [
                f'fix {averages} all ave/time {every} {width // every} {width} {quantities} '
                f'file {stage.name}{AVERAGES_SUFFIX} format " %.12g"'
            ],
        ),
    ]


def _centre(element: str) -> str:
    return ' '.join(f'$(xcm({group_of(element)},{axis}):{CENTRE_DIGITS})' for axis in 'xyz')
