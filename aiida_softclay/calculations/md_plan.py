"""The typed plan of a molecular dynamics run: stages with physical units, checked before anything is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aiida_softclay.calculations.md_stages import (
    SHEAR_COMPONENTS,
    DeformStage,
    DynamicsStage,
    MinimiseStage,
    Stage,
    StageBase,
    stage_targets,
)
from aiida_softclay.data.trajectory_file import LARGEST_RESOLUTION
from aiida_softclay.data.trajectory_positions import MD_RESOLUTION

# A longer time step is far more likely to be in the wrong unit than meant.
LARGEST_TIMESTEP_PS = 0.01
#: What LAMMPS takes.
LARGEST_SEED = 900_000_000
# LAMMPS turns a cell that is tilted further than half of its length into another image of the same lattice, unless told
# not to, as here; then it gets slower the further it tilts, and beyond its own length it is of no use.
LARGEST_SHEAR_STRAIN = 1.0
# A run that is hotter has exploded: this many times the highest target of the stage, plus kelvins for small cells.
RUNAWAY_FACTOR = 5.0
RUNAWAY_MARGIN_K = 1000.0
BYTES_PER_DUMPED_ATOM = 24
BYTES_PER_STORED_ATOM = 12
BYTES_PER_GRID_ATOM = 6
BYTES_PER_FRAME = 192
#: Restart file: positions, velocities, images, type and charge of an atom, in double precision.
BYTES_PER_RESTART_ATOM = 96
BYTES_PER_COLUMN_ROW = 400


class PlanError(ValueError):
    """A molecular dynamics plan that cannot be run; the message says what to change."""


class MdPlan(BaseModel):
    """Stages of a molecular dynamics run, in LAMMPS ``metal`` units (Å, ps, eV, K) with stresses in GPa.

    ``dump_every``, ``thermo_every``, ``collective_every`` and ``restart_every`` are strides in steps. The centres of
    the elements are written every ``collective_every`` steps, with the thermodynamic output if that is not given.
    Between two rows of that output, temperature, energies, stress and cell are averaged over every step. Velocities
    are drawn with ``seed`` at the first stage with dynamics (unless velocities are given) and again after each
    minimisation, which removes them. ``dump_elements`` are those whose atoms are in the trajectory, all if not given;
    its positions are rounded to ``position_resolution_A``, or kept in single precision if that is null.
    A run hotter than ``max_temperature_K`` is stopped; by default five times the highest target of its stage and
    the one before it, plus 1000 K.
    """

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    timestep_ps: float = 0.001
    seed: int = Field(default=12345, ge=1, le=LARGEST_SEED)
    thermo_every: int = Field(default=100, ge=1)
    dump_every: int = Field(default=1000, ge=1)
    collective_every: int | None = Field(default=None, ge=1)
    dump_elements: list[str] | None = Field(default=None, min_length=1)
    position_resolution_A: float | None = Field(default=MD_RESOLUTION, gt=0, le=LARGEST_RESOLUTION)  # noqa: N815
    restart_every: int = Field(default=10_000, ge=1)
    max_temperature_K: float | None = Field(default=None, gt=0)  # noqa: N815
    stages: list[Stage] = Field(min_length=1)

    @field_validator('timestep_ps')
    @classmethod
    def _timestep_is_in_ps(cls, value: float) -> float:
        if value <= 0:
            raise ValueError(f'{value:g} ps is not a time step: give a positive number of picoseconds, such as 0.001')
        if value > LARGEST_TIMESTEP_PS:
            raise ValueError(f'{value:g} ps is too long for a time step, it is probably in fs: 1 fs is 0.001 ps')
        return value

    @model_validator(mode='after')
    def _dumped_elements_exist(self) -> MdPlan:
        for stage in (self, *self.stages):
            unknown = [name for name in stage.dump_elements or [] if name not in chemical_symbols[1:]]
            if unknown:
                raise ValueError(f'dump_elements names {", ".join(unknown)}, which is no chemical element')
        return self

    @model_validator(mode='after')
    def _stages_fit_together(self) -> MdPlan:
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f'stage name {", ".join(twice)} is used twice: outputs are kept by stage name')
        for stage in self.stages:
            if isinstance(stage, MinimiseStage):
                continue
            if round(stage.duration_ps / self.timestep_ps) < 1:
                raise ValueError(f'stage {stage.name} is shorter than one time step of {self.timestep_ps:g} ps')
            for damping in ('tdamp_ps', 'pdamp_ps'):
                value = getattr(stage, damping, None)
                if value is not None and value < 5 * self.timestep_ps:
                    raise ValueError(
                        f'stage {stage.name}: {damping} = {value:g} is below five time steps and would be unstable'
                    )
            self._check_temperatures(stage)
            if isinstance(stage, DeformStage):
                self._check_strain(stage)
        return self

    def _check_temperatures(self, stage: DynamicsStage) -> None:
        hottest = max(stage_targets(stage), default=None)
        if hottest is not None and self.max_temperature_K is not None and hottest >= self.max_temperature_K:
            raise ValueError(
                f'stage {stage.name} aims at {hottest:g} K, but max_temperature_K = {self.max_temperature_K:g} stops '
                'the run there: raise it well above the highest target, or leave it out'
            )

    @staticmethod
    def _check_strain(stage: DeformStage) -> None:
        strain = stage.rate_per_ps * stage.duration_ps
        if stage.component in SHEAR_COMPONENTS:
            if abs(strain) > LARGEST_SHEAR_STRAIN:
                raise ValueError(
                    f'stage {stage.name} shears the cell by {strain:g} of its height: beyond '
                    f'{LARGEST_SHEAR_STRAIN:g} it would have to be flipped into another cell of the same lattice, and '
                    'the strain would be lost: lower the rate or the duration'
                )
        elif 1.0 + strain <= 0.05:
            raise ValueError(f'stage {stage.name} compresses the cell to nothing: lower the rate or the duration')

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MdPlan:
        """Return the plan described by a plain mapping.

        Raises
        ------
        PlanError
            With one sentence for each thing to change.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as exception:
            raise PlanError('; '.join(_sentence(error, data) for error in exception.errors())) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a plain mapping, with all defaults written out."""
        return self.model_dump(mode='json')

    @property
    def stage_names(self) -> list[str]:
        """Names of the stages, in order."""
        return [stage.name for stage in self.stages]

    def stage(self, name: str) -> Any:
        """Return the stage of this name."""
        return self.stages[self.stage_names.index(name)]

    def steps(self, stage: StageBase | str) -> int:
        """Return the number of steps of a stage; for a minimisation, the largest number of iterations."""
        if isinstance(stage, str):
            stage = self.stage(stage)
        if isinstance(stage, MinimiseStage):
            return stage.max_steps
        return round(stage.duration_ps / self.timestep_ps)  # type: ignore[attr-defined]

    def start_step(self, stage: StageBase | str) -> int:
        """Return the absolute step at which a stage starts; minimisations take no steps of dynamics."""
        name = stage if isinstance(stage, str) else stage.name
        before = self.stages[: self.stage_names.index(name)]
        return sum(self.steps(item) for item in before if not isinstance(item, MinimiseStage))

    def stage_dump_every(self, stage: StageBase) -> int:
        """Return the stride of the trajectory of a stage, in steps."""
        return stage.dump_every or self.dump_every

    def stage_thermo_every(self, stage: StageBase) -> int:
        """Return the stride of the thermodynamic output of a stage, in steps."""
        return stage.thermo_every or self.thermo_every

    def stage_collective_every(self, stage: StageBase) -> int:
        """Return the stride of the centres of the elements in a stage, in steps."""
        return stage.collective_every or self.collective_every or self.stage_thermo_every(stage)

    @property
    def total_steps(self) -> int:
        """Steps of all stages, with minimisations at their largest number of iterations."""
        return sum(self.steps(stage) for stage in self.stages)

    @property
    def total_duration_ps(self) -> float:
        """Simulated time of all stages with dynamics, in ps."""
        return sum(self.steps(s) for s in self.stages if not isinstance(s, MinimiseStage)) * self.timestep_ps

    def stage_frames(self, stage: StageBase | str) -> int:
        """Return the number of frames a stage writes, its first configuration included."""
        if isinstance(stage, str):
            stage = self.stage(stage)
        return self.steps(stage) // self.stage_dump_every(stage) + 1

    @property
    def n_frames(self) -> int:
        """Frames of all stages together."""
        return sum(self.stage_frames(stage) for stage in self.stages)

    def stage_elements(self, stage: StageBase | str) -> list[str] | None:
        """Return the elements whose atoms are in the trajectory of a stage, ``None`` for all of them."""
        if isinstance(stage, str):
            stage = self.stage(stage)
        return stage.dump_elements or self.dump_elements

    def _dumped_atoms(self, stage: StageBase, atoms: int | Mapping[str, int]) -> int:
        if isinstance(atoms, int):
            return atoms
        elements = self.stage_elements(stage)
        return sum(count for element, count in atoms.items() if elements is None or element in elements)

    def _trajectory_bytes(self, atoms: int | Mapping[str, int], per_atom: int) -> int:
        return sum(
            self.stage_frames(stage) * (self._dumped_atoms(stage, atoms) * per_atom + BYTES_PER_FRAME)
            for stage in self.stages
        )

    def dump_bytes(self, atoms: int | Mapping[str, int]) -> int:
        """Return the size in bytes of the raw dumps on the computer that runs the job.

        Parameters
        ----------
        atoms : int or mapping of str to int
            Number of atoms, or of those of each element; without the elements all atoms are taken to be dumped.
        """
        return self._trajectory_bytes(atoms, BYTES_PER_DUMPED_ATOM)

    def stored_bytes(self, atoms: int | Mapping[str, int]) -> int:
        """Return the size in bytes of the trajectories in the repository; ``atoms`` as in :meth:`dump_bytes`."""
        on_grid = self.position_resolution_A is not None
        return self._trajectory_bytes(atoms, BYTES_PER_GRID_ATOM if on_grid else BYTES_PER_STORED_ATOM)

    def restart_bytes(self, n_atoms: int) -> int:
        """Return about the size in bytes of the restart files on the computer: one of each stage and three more."""
        return (len(self.stages) + 3) * n_atoms * BYTES_PER_RESTART_ATOM

    def column_bytes(self) -> int:
        """Return about the size in bytes of the centres and averages that LAMMPS writes between the frames."""
        rows = 0
        for stage in self.stages:
            if not isinstance(stage, MinimiseStage):
                rows += self.steps(stage) // self.stage_collective_every(stage)
                rows += self.steps(stage) // self.stage_thermo_every(stage)
        return rows * BYTES_PER_COLUMN_ROW

    def temperature_limit(self, stage: StageBase | str) -> float | None:
        """Return the temperature in K beyond which a stage has run away, or ``None`` if nothing says.

        An nve stage without a temperature of its own has the target of the last stage before it that has one.
        """
        name = stage if isinstance(stage, str) else stage.name
        index = self.stage_names.index(name)
        if isinstance(self.stages[index], MinimiseStage):
            return None
        if self.max_temperature_K is not None:
            return self.max_temperature_K
        # A stage begins as hot as the one before it was.
        known = [targets for item in self.stages[: index + 1] if (targets := stage_targets(item))][-2:]
        if not known:
            return None
        return RUNAWAY_FACTOR * max(max(targets) for targets in known) + RUNAWAY_MARGIN_K

    def needs_velocities(self, index: int) -> bool:
        """Return whether the stage has dynamics and nothing before it, in this plan, gave the atoms velocities."""
        if isinstance(self.stages[index], MinimiseStage):
            return False
        return index == 0 or isinstance(self.stages[index - 1], MinimiseStage)

    def initial_temperature(self, index: int) -> float | None:
        """Return the temperature in K at which velocities are drawn for a stage, if the stage has one."""
        return getattr(self.stages[index], 'temperature_K', None)


def _sentence(error: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Turn one error of pydantic into a sentence that names the stage and the key."""
    location = list(error['loc'])
    where = ''
    stages = data.get('stages')
    if location[:1] == ['stages'] and len(location) > 1 and isinstance(location[1], int):
        raw = stages[location[1]] if isinstance(stages, list) else None
        name = raw.get('name') if isinstance(raw, Mapping) else None
        where = f'stage {location[1] + 1}' + (f' ({name})' if name else '') + ': '
        # The third entry is the kind, which pydantic adds for a discriminated union.
        location = location[3:]
    key = '.'.join(str(item) for item in location)
    if error['type'] == 'extra_forbidden':
        return f'{where}unknown key `{key}`'
    if error['type'] == 'missing':
        return f'{where}`{key}` is missing'
    if error['type'] in ('union_tag_not_found', 'union_tag_invalid'):
        return f'{where}`kind` must be one of minimise, nvt, npt, nve, deform'
    message = error['msg'].removeprefix('Value error, ')
    given = error.get('input')
    shown = f' (given: {given!r})' if isinstance(given, int | float | str) and error['type'] != 'value_error' else ''
    return f'{where}{key}: {message}{shown}' if key else f'{where}{message}'
