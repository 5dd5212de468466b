"""A plan of ab initio MD: segments with an ensemble and a temperature (or a ramp), and the INCAR tags they mean.

Units: femtoseconds, kelvin, gigapascal. A segment longer than ``max_steps_per_run`` becomes several runs of the
program; a ramp's temperature schedule goes on across them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .aimd_segment import AimdSegment
from .md_plan import PlanError
from .plan_sentences import sentence

#: The tags that a plan decides; giving them beside the plan would contradict it.
PLAN_TAGS = frozenset({
    'andersen_prob', 'ibrion', 'isif', 'isym', 'langevin_gamma', 'langevin_gamma_l', 'mdalgo', 'nsw', 'pmass', 'potim',
    'pstress', 'random_seed', 'smass', 'tebeg', 'teend',
})  # fmt: skip

#: vasprun.xml grows by about 13 kB a step for 96 atoms: 5000 steps stay readable and lose little when a job dies.
MAX_STEPS_PER_RUN = 5000
LONGEST_TIMESTEP_FS = 10.0
SHORTEST_TIMESTEP_FS = 0.05
KBAR_PER_GPA = 10.0


@dataclass(frozen=True)
class AimdRun:
    """One run of the program: a piece of one segment.

    Attributes
    ----------
    segment, segment_index : str, int
        Which segment it belongs to.
    start : int
        Steps of the segment that lie before it.
    n_steps : int
        Steps it makes.
    first_step : int
        Steps of the whole plan that lie before it.
    """

    segment: str
    segment_index: int
    start: int
    n_steps: int
    first_step: int

    def after(self, steps_done: int) -> AimdRun:
        """Return what is left once ``steps_done`` steps of this run are done."""
        if not 0 <= steps_done < self.n_steps:
            raise PlanError(f'{steps_done} of {self.n_steps} steps done leaves nothing to run')
        return replace(
            self,
            start=self.start + steps_done,
            n_steps=self.n_steps - steps_done,
            first_step=self.first_step + steps_done,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the run as plain values."""
        return asdict(self)


class AimdPlan(BaseModel):
    """Segments that follow each other without a break: positions, cell and velocities go over every seam.

    Attributes
    ----------
    timestep_fs : float
        Time step.
    seed : int
        Seed of the initial velocities and of the program's own random numbers.
    frame_stride : int
        Every how many steps a frame is kept, counted from the start of the plan: frames are equidistant over seams.
    max_steps_per_run : int
        A longer segment is split.
    volume_ratio_min, volume_ratio_max : float
        A moving cell whose volume leaves these bounds, relative to that of the starting structure, has collapsed or
        flown apart.
    relaxation_force_eV_A : float
        Largest force that a relaxation before a segment may leave, eV/Å.
    segments : list of AimdSegment
        In order.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)

    timestep_fs: float = 2.0
    seed: int = Field(default=1, ge=0, lt=2**31 - 1)
    frame_stride: int = Field(default=1, ge=1)
    max_steps_per_run: int = Field(default=MAX_STEPS_PER_RUN, ge=1, le=MAX_STEPS_PER_RUN)
    volume_ratio_min: float = Field(default=0.5, gt=0.0, lt=1.0)
    volume_ratio_max: float = Field(default=2.0, gt=1.0, allow_inf_nan=False)
    relaxation_force_eV_A: float = Field(default=0.01, gt=0.0, le=1.0)  # noqa: N815 - eV and Å are the units
    segments: list[AimdSegment] = Field(min_length=1)

    @field_validator('timestep_fs')
    @classmethod
    def _check_timestep(cls, value: float) -> float:
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f'timestep_fs is {value:g}: give femtoseconds above 0 (1 to 2 fs is usual)')
        if value > LONGEST_TIMESTEP_FS:
            raise ValueError(
                f'timestep_fs is {value:g}: more than {LONGEST_TIMESTEP_FS:g} fs does not follow vibrations'
            )
        if value < SHORTEST_TIMESTEP_FS:
            raise ValueError(f'timestep_fs is {value:g}: is that picoseconds? give femtoseconds (1 to 2 fs is usual)')
        return value

    @model_validator(mode='after')
    def _check_segments(self) -> AimdPlan:
        names = [segment.name for segment in self.segments]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ValueError(f'two segments are called {", ".join(duplicates)}: names must differ')
        for index, segment in enumerate(self.segments):
            if segment.start_from is not None and segment.start_from not in names[:index]:
                raise ValueError(
                    f'segment {segment.name} starts from `{segment.start_from}`, which is no segment before it'
                )
            if self.steps(segment) < 1:
                raise ValueError(
                    f'segment {segment.name} lasts {segment.duration_fs:g} fs, less than one time step of '
                    f'{self.timestep_fs:g} fs: durations are in femtoseconds'
                )
        return self

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AimdPlan:
        """Return the plan of a dictionary.

        Raises
        ------
        PlanError
            With one sentence for each thing to change.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise PlanError('; '.join(sentence(item, values) for item in error.errors())) from None

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, without those that are not set."""
        return self.model_dump(exclude_none=True)

    def steps(self, segment: AimdSegment) -> int:
        """Return the number of time steps of a segment: its duration to the nearest step."""
        return round(segment.duration_fs / self.timestep_fs)

    def parent(self, segment: AimdSegment) -> str | None:
        """Return the name of the segment from whose end another one starts; ``None`` for the first."""
        index = self.segments.index(segment)
        return segment.start_from or (self.segments[index - 1].name if index else None)

    @property
    def total_steps(self) -> int:
        """Number of time steps of the plan."""
        return sum(self.steps(segment) for segment in self.segments)

    @property
    def duration_ps(self) -> float:
        """Simulated time in picoseconds."""
        return self.total_steps * self.timestep_fs / 1000.0

    @property
    def n_frames(self) -> int:
        """Number of frames that the plan leaves: those of its steps that are multiples of the stride."""
        return math.ceil(self.total_steps / self.frame_stride)

    def runs(self) -> list[AimdRun]:
        """Return the runs of the program that make up the plan, in order."""
        runs = []
        done = 0
        for index, segment in enumerate(self.segments):
            steps = self.steps(segment)
            pieces = math.ceil(steps / self.max_steps_per_run)
            # Pieces of equal length, so that no stub of a few steps pays a program start of its own.
            size = math.ceil(steps / pieces)
            runs += [
                AimdRun(segment.name, index, start, min(size, steps - start), done + start)
                for start in range(0, steps, size)
            ]
            done += steps
        return runs

    def temperature(self, segment: AimdSegment, step: int) -> float | None:
        """Return the target temperature in kelvin after ``step`` steps of a segment."""
        if segment.temperature_K is None or segment.temperature_end_K is None:
            return segment.temperature_K
        fraction = step / self.steps(segment)
        return segment.temperature_K + (segment.temperature_end_K - segment.temperature_K) * fraction

    def incar(self, run: AimdRun, elements: Sequence[str]) -> dict[str, Any]:
        """Return the INCAR tags of a run.

        Parameters
        ----------
        run : AimdRun
            The piece of the plan.
        elements : sequence of str
            Elements in the order of POTCAR: the Langevin friction is given for each.

        Returns
        -------
        dict
            Tags in lower case. ``random_seed`` differs from run to run, so that a Langevin thermostat does not repeat
            its noise.
        """
        segment = self.segments[run.segment_index]
        tags: dict[str, Any] = {
            'ibrion': 0,
            'isym': 0,
            'nsw': run.n_steps,
            'potim': self.timestep_fs,
            'isif': 3 if segment.ensemble == 'npt' else 2,
            'random_seed': [(self.seed + run.first_step) % 900_000_000, 0, 0],
        }
        begin, end = self.temperature(segment, run.start), self.temperature(segment, run.start + run.n_steps)
        if begin is not None and end is not None:
            tags |= {'tebeg': round(begin, 6), 'teend': round(end, 6)}
        if segment.ensemble == 'nve':
            tags |= {'mdalgo': 1, 'andersen_prob': 0.0}
        elif not segment.is_langevin:
            tags |= {'mdalgo': 2, 'smass': segment.thermostat_mass or 0.0}
        else:
            tags |= {'mdalgo': 3, 'langevin_gamma': _friction(segment, elements)}
        if segment.ensemble == 'npt':
            tags |= {
                'langevin_gamma_l': 10.0
                if segment.lattice_friction_per_ps is None
                else segment.lattice_friction_per_ps,
                'pmass': segment.lattice_mass_amu or 1000.0,
                'pstress': (segment.pressure_GPa or 0.0) * KBAR_PER_GPA,
            }
        return tags


def _friction(segment: AimdSegment, elements: Sequence[str]) -> list[float]:
    friction = 10.0 if segment.friction_per_ps is None else segment.friction_per_ps
    if not isinstance(friction, dict):
        return [friction] * len(elements)
    missing = sorted(set(elements) - set(friction))
    if missing:
        raise PlanError(f'segment {segment.name}: friction_per_ps lacks {", ".join(missing)}')
    return [friction[element] for element in elements]


def melt_quench_segments(
    *,
    maximum_temperature_K: float,
    start_temperature_K: float = 10.0,
    end_temperature_K: float = 10.0,
    heat_fs: float = 10_000.0,
    hold_fs: float = 30_000.0,
    cool_fs: float = 10_000.0,
    thermostat: str = 'nose_hoover',
) -> list[dict[str, Any]]:
    """Return the segments of a melt–quench at constant cell: a ramp up, a hold, a ramp down.

    The defaults are those of Gupta et al. (2023): 10 ps up from 0 K, 30 ps hold, 10 ps down to 0 K; 10 K stands for
    0 K, at which no thermostat can set resting atoms in motion. A part of no duration is left out.
    """
    segments = [
        {'name': 'heat', 'temperature_K': start_temperature_K, 'temperature_end_K': maximum_temperature_K,
         'duration_fs': heat_fs},
        {'name': 'hold', 'temperature_K': maximum_temperature_K, 'duration_fs': hold_fs},
        {'name': 'cool', 'temperature_K': maximum_temperature_K, 'temperature_end_K': end_temperature_K,
         'duration_fs': cool_fs},
    ]  # fmt: skip
    return [
        {'ensemble': 'nvt', 'thermostat': thermostat, **segment} for segment in segments if segment['duration_fs'] != 0
    ]
