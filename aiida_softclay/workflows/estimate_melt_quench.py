"""What a melt–quench will do and roughly cost, worked out before anything is submitted or stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiida import orm

from aiida_softclay.calculations.potcars import is_placeholder
from aiida_softclay.workflows.estimate import StageEstimate, count_atoms, estimate_aimd
from aiida_softclay.workflows.melt_quench_layout import lay_out


def is_stand_in(potential_family: str) -> bool:
    """Return whether a POTCAR family holds placeholders, so that no VASP will run on it."""
    from aiida_vasp.data.potcar import PotcarData

    group = PotcarData.get_potcar_group(potential_family)
    return group is None or all(is_placeholder(node) for node in group.nodes)


def estimate_melt_quench(
    parameters: Mapping[str, Any], own: Mapping[str, orm.StructureData] | None = None, stand_in: bool = True
) -> list[StageEstimate]:
    """Return one estimate for each structure of a melt–quench; its name ends in the highest temperature.

    Parameters
    ----------
    parameters : mapping
        Of the workchain.
    own : mapping, optional
        Structures of the user's own by label.
    stand_in : bool
        Whether the energies come from the stand-in and not from plane waves.

    Raises
    ------
    ValueError
        If a structure cannot be built, or a plan cannot be run.
    """
    stages = []
    for branch in lay_out(parameters, own):
        n_atoms = len((own or {})[branch.label].sites) if branch.entry is None else count_atoms(branch.entry)
        estimate = estimate_aimd(branch.label, branch.plan.as_dict(), n_atoms, stand_in)
        hottest = max(
            temperature
            for segment in branch.plan.segments
            for temperature in (segment.temperature_K, segment.temperature_end_K)
            if temperature is not None
        )
        stages.append(replace(estimate, stage=f'{branch.label} ({hottest:.0f} K)'))
    return stages
