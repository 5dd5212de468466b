"""One stretch of a plan of ab initio MD: an ensemble, a temperature or a linear ramp, a duration.

Units: femtoseconds, kelvin, gigapascal.
"""

# ruff: noqa: N815
# Names of fields end in their unit, and kelvin and pascal have capitals.

from __future__ import annotations

import math
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

HIGHEST_TEMPERATURE_K = 20000.0
#: Names become link labels, in which AiiDA gives a double underscore a meaning of its own.
_NAME = re.compile(r'[a-z][a-z0-9]*(_[a-z0-9]+)*')
HIGHEST_PRESSURE_GPA = 500.0


def _temperature(value: float | None, name: str) -> float | None:
    if value is None:
        return None
    if not math.isfinite(value) or value <= 0:
        raise ValueError(
            f'{name} is {value:g}: give kelvin above 0 (a thermostat cannot start from atoms at rest; '
            '10 K does for a start from the crystal)'
        )
    if value > HIGHEST_TEMPERATURE_K:
        raise ValueError(f'{name} is {value:g}: above {HIGHEST_TEMPERATURE_K:g} K; give kelvin')
    return value


class AimdSegment(BaseModel):
    """One stretch of a plan: an ensemble, a temperature or a linear ramp, a duration.

    Attributes
    ----------
    name : str
        Unique in the plan; lower-case letters, digits and underscores.
    ensemble : {'nvt', 'npt', 'nve'}
        Constant cell, moving cell (with Langevin thermostat and barostat), or no thermostat.
    duration_fs : float
        Length in femtoseconds.
    temperature_K, temperature_end_K : float, optional
        Temperature, and where a linear ramp ends; ``nve`` needs none.
    pressure_GPa : float
        External pressure (``npt`` only).
    thermostat : {'nose_hoover', 'langevin'}
        ``nvt`` only. Nosé–Hoover (the default) keeps the dynamics, but swings when the target changes within one of its
        periods; Langevin follows ramps of any length.
    thermostat_mass : float
        ``SMASS`` of the Nosé–Hoover thermostat; 0 gives a period of about 40 steps.
    friction_per_ps : float or dict
        Langevin friction of the atoms in 1/ps, one for all or one for each element.
    lattice_friction_per_ps, lattice_mass_amu : float
        Langevin friction and mass of the cell (``npt`` only).
    start_from : str, optional
        Name of an earlier segment from whose end this one starts; the segment before it if not given. So one melt can
        be both quenched and held at constant pressure.
    relax_before : {'ions', 'cell'}, optional
        Relax to a minimum of the energy before the segment starts: the ions in the fixed cell, or ions and cell.
        Velocities are then drawn anew at ``temperature_K``.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)

    name: str
    ensemble: Literal['nvt', 'npt', 'nve'] = 'nvt'
    duration_fs: float
    temperature_K: float | None = None
    temperature_end_K: float | None = None
    pressure_GPa: float | None = None
    thermostat: Literal['nose_hoover', 'langevin'] | None = None
    thermostat_mass: float | None = None
    friction_per_ps: float | dict[str, float] | None = None
    lattice_friction_per_ps: float | None = None
    lattice_mass_amu: float | None = None
    start_from: str | None = None
    relax_before: Literal['ions', 'cell'] | None = None

    @field_validator('name')
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(
                f'the name `{value}` must be lower-case letters, digits and single underscores, letter first'
            )
        return value

    @field_validator('temperature_K')
    @classmethod
    def _check_temperature(cls, value: float | None) -> float | None:
        return _temperature(value, 'temperature_K')

    @field_validator('temperature_end_K')
    @classmethod
    def _check_temperature_end(cls, value: float | None) -> float | None:
        return _temperature(value, 'temperature_end_K')

    @field_validator('duration_fs')
    @classmethod
    def _check_duration(cls, value: float) -> float:
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f'duration_fs is {value:g}: give femtoseconds above 0')
        return value

    @field_validator('pressure_GPa')
    @classmethod
    def _check_pressure(cls, value: float | None) -> float | None:
        if value is not None and (not math.isfinite(value) or abs(value) > HIGHEST_PRESSURE_GPA):
            raise ValueError(f'pressure_GPa is {value:g}: give gigapascal (1 bar = 0.0001 GPa)')
        return value

    @field_validator('friction_per_ps', 'lattice_friction_per_ps', 'lattice_mass_amu')
    @classmethod
    def _check_langevin(cls, value: Any) -> Any:
        numbers = value.values() if isinstance(value, dict) else [] if value is None else [value]
        if any(not math.isfinite(number) or number < 0 for number in numbers):
            raise ValueError(f'{value} must be finite and not negative')
        return value

    @model_validator(mode='after')
    def _check_ensemble(self) -> AimdSegment:
        if self.ensemble != 'nve' and self.temperature_K is None:
            raise ValueError(f'an {self.ensemble} segment needs temperature_K')
        if self.relax_before is not None and self.temperature_K is None:
            raise ValueError('relax_before leaves atoms at rest: give temperature_K to draw velocities at')
        if self.ensemble == 'nve' and self.temperature_end_K is not None:
            raise ValueError('an nve segment has no thermostat and cannot follow temperature_end_K')
        npt_only = ('pressure_GPa', 'lattice_friction_per_ps', 'lattice_mass_amu')
        for name, ensemble in [
            *((name, 'npt') for name in npt_only),
            ('thermostat', 'nvt'),
            ('thermostat_mass', 'nvt'),
        ]:
            if getattr(self, name) is not None and self.ensemble != ensemble:
                raise ValueError(f'{name} acts in {ensemble} only, this segment is {self.ensemble}')
        if self.friction_per_ps is not None and not self.is_langevin:
            raise ValueError(
                'friction_per_ps acts with the Langevin thermostat only: npt, or nvt with thermostat langevin'
            )
        if self.thermostat_mass is not None and self.is_langevin:
            raise ValueError('thermostat_mass belongs to the Nosé–Hoover thermostat, this segment has Langevin')
        return self

    @property
    def is_langevin(self) -> bool:
        """Whether the thermostat is Langevin's."""
        return self.ensemble == 'npt' or self.thermostat == 'langevin'

    @property
    def is_ramp(self) -> bool:
        """Whether the temperature changes along the segment."""
        return self.temperature_end_K is not None and self.temperature_end_K != self.temperature_K
