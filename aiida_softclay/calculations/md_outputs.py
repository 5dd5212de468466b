"""What each stage of a molecular dynamics run leaves: of one job, and of all the jobs of a run joined."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_softclay.data.trajectory import MdTrajectoryData


def define_stage_outputs(spec: Any) -> None:
    """Declare the trajectory and the time series of each stage, by its name."""
    spec.output_namespace(
        'thermo',
        valid_type=orm.ArrayData,
        dynamic=True,
        required=False,
        help='Time series of each stage; the units are in the attribute `units`.',
    )
    spec.output_namespace(
        'trajectories', valid_type=MdTrajectoryData, dynamic=True, required=False, help='Trajectory of each stage.'
    )
    spec.output_namespace(
        'collective',
        valid_type=orm.ArrayData,
        dynamic=True,
        required=False,
        help='Centre of the atoms of each element X in each stage, `centre_X` (n, 3) in Å, unwrapped, written by '
        'LAMMPS every `collective_every` steps; the attribute `counts` has the numbers of atoms.',
    )
    spec.output_namespace(
        'averages',
        valid_type=orm.ArrayData,
        dynamic=True,
        required=False,
        help='Averages of each stage over windows of `thermo_every` steps, with units; the attribute `sampling_steps` '
        'says of every how many steps.',
    )
    spec.output_namespace(
        'model_deviation',
        valid_type=orm.ArrayData,
        dynamic=True,
        required=False,
        help='Deviation of the forces and virials of the committee in each stage, with units.',
    )
