"""The stages of a molecular dynamics plan: what each kind does, in physical units that are checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

COMPONENTS = ('xx', 'yy', 'zz', 'yz', 'xz', 'xy')
SHEAR_COMPONENTS = ('yz', 'xz', 'xy')
RESERVED_NAMES = {'all', 'final', 'statistics', 'structure', 'velocities'}

# Beyond these limits a value is far more likely to be in the wrong unit than meant.
LARGEST_DURATION_PS = 1.0e7
LARGEST_TEMPERATURE_K = 2.0e4
LARGEST_STRESS_GPA = 100.0
LARGEST_RATE_PER_PS = 1.0


def _check_temperature(value: float | None) -> float | None:
    if value is None:
        return None
    if not 0.0 < value <= LARGEST_TEMPERATURE_K:
        raise ValueError(f'{value:g} K is not a temperature to simulate: give kelvin, above 0 and below 20000')
    return value


class StageBase(BaseModel):
    """What all stages have: a unique name and, optionally, their own output strides in steps."""

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    name: str = Field(pattern=r'^[a-z][a-z0-9_]*$', max_length=40)
    dump_every: int | None = Field(default=None, ge=1)
    thermo_every: int | None = Field(default=None, ge=1)
    collective_every: int | None = Field(default=None, ge=1)
    dump_elements: list[str] | None = Field(default=None, min_length=1)

    @field_validator('name')
    @classmethod
    def _name_is_a_link_label(cls, value: str) -> str:
        # AiiDA uses the double underscore to separate namespaces in link labels.
        if '__' in value or value.endswith('_') or value in RESERVED_NAMES:
            raise ValueError(
                f'`{value}` cannot be a stage name: choose another one, without double or final underscore'
            )
        return value


class DynamicsStage(StageBase):
    """A stage that integrates the equations of motion for a given time."""

    duration_ps: float = Field(gt=0)

    @field_validator('duration_ps')
    @classmethod
    def _duration_is_in_ps(cls, value: float) -> float:
        if value > LARGEST_DURATION_PS:
            raise ValueError(f'{value:g} ps is longer than any run here: durations are in picoseconds, not fs or steps')
        return value


class MinimiseStage(StageBase):
    """Relax the positions at 0 K and, if asked, the cell, to zero stress.

    Cell relaxation is repeated from a new reference cell until a round changes nothing any more, because one
    ``fix box/relax`` is only valid close to the cell it started from. With ``closing_pressure_GPa`` the first rounds
    are done under that hydrostatic pressure, which closes gaps wider than the range of the potential; the last rounds
    are always at zero pressure. At 0 K rough surfaces lock before all of a gap has closed: where the density matters,
    put an ``npt`` stage of a few ps at some hundred K and -0.5 GPa stress before (eight rocksalt particles 3 Å apart:
    0.6 to 1.1 g/cm^3 by minimisation alone, 1.7 with such a stage, 2.1 in the crystal).
    """

    kind: Literal['minimise'] = 'minimise'
    relax_cell: Literal['none', 'iso', 'aniso', 'tri'] = 'none'
    energy_tolerance: float = Field(default=1e-10, ge=0, lt=1)
    force_tolerance_eV_A: float = Field(default=1e-3, ge=0)  # noqa: N815 - the unit is part of the name
    max_steps: int = Field(default=5000, ge=1)
    max_rounds: int = Field(default=20, ge=1, le=1000)
    closing_pressure_GPa: float = Field(default=0.0, ge=0)  # noqa: N815

    @field_validator('closing_pressure_GPa')
    @classmethod
    def _pressure_is_in_gpa(cls, value: float) -> float:
        if value > LARGEST_STRESS_GPA:
            raise ValueError(f'{value:g} GPa is beyond 100 GPa: stresses are in GPa, not MPa or bar')
        return value

    @model_validator(mode='after')
    def _pressure_needs_a_cell(self) -> MinimiseStage:
        if self.closing_pressure_GPa and self.relax_cell == 'none':
            raise ValueError('closing_pressure_GPa acts on the cell: set relax_cell to iso, aniso or tri')
        return self


class NveStage(DynamicsStage):
    """Constant energy; ``temperature_K`` is only used to draw velocities if there are none yet."""

    kind: Literal['nve'] = 'nve'
    temperature_K: float | None = None  # noqa: N815

    check_temperature = field_validator('temperature_K')(_check_temperature)


class NvtStage(DynamicsStage):
    """Nosé-Hoover thermostat at ``temperature_K``, or ramping linearly to ``temperature_end_K``."""

    kind: Literal['nvt'] = 'nvt'
    temperature_K: float  # noqa: N815
    temperature_end_K: float | None = None  # noqa: N815
    tdamp_ps: float = Field(default=0.2, gt=0)

    check_temperature = field_validator('temperature_K', 'temperature_end_K')(_check_temperature)


class NptStage(NvtStage):
    """Nosé-Hoover thermostat and barostat towards a target stress (tension positive).

    ``reset_reference_ps`` is how often the reference cell of the Parrinello-Rahman stress is renewed: without it the
    applied stress of a cell that has sheared a lot would no longer be the stress per present area. It is used only
    where the target stress is not hydrostatic.
    """

    kind: Literal['npt'] = 'npt'  # type: ignore[assignment]
    stress_GPa: dict[str, float] = Field(default_factory=dict)  # noqa: N815
    pdamp_ps: float = Field(default=1.0, gt=0)
    coupling: Literal['iso', 'aniso', 'tri'] = 'tri'
    reset_reference_ps: float | None = Field(default=1.0, gt=0)

    @field_validator('stress_GPa')
    @classmethod
    def _stress_is_in_gpa(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(COMPONENTS))
        if unknown:
            raise ValueError(f'unknown stress component {", ".join(unknown)}: choose from {", ".join(COMPONENTS)}')
        for component, stress in value.items():
            if abs(stress) > LARGEST_STRESS_GPA:
                raise ValueError(
                    f'{component} = {stress:g} GPa is beyond 100 GPa: stresses are in GPa (10 MPa = 0.01, 1 bar = 1e-4)'
                )
        return value

    @model_validator(mode='after')
    def _coupling_can_carry_the_stress(self) -> NptStage:
        target = self.stress
        if self.coupling != 'tri' and any(target[component] for component in SHEAR_COMPONENTS):
            raise ValueError(f'coupling `{self.coupling}` keeps the cell angles: a shear stress needs coupling `tri`')
        if self.coupling == 'iso' and len({target['xx'], target['yy'], target['zz']}) > 1:
            raise ValueError('coupling `iso` has one pressure: give equal xx, yy, zz, or use `aniso` or `tri`')
        return self

    @property
    def stress(self) -> dict[str, float]:
        """All six components of the target stress in GPa, tension positive."""
        return {component: float(self.stress_GPa.get(component, 0.0)) for component in COMPONENTS}

    @property
    def is_hydrostatic(self) -> bool:
        """Whether the target stress is a pressure."""
        target = self.stress
        return len({target['xx'], target['yy'], target['zz']}) == 1 and not any(target[c] for c in SHEAR_COMPONENTS)


class DeformStage(DynamicsStage):
    """Strain one component at a constant rate, with the other five at zero stress.

    The rate is the engineering strain rate: a tilt over the cell height at the start of the stage for shear, a length
    over its value at the start for tension (negative: compression).
    """

    kind: Literal['deform'] = 'deform'
    component: Literal['xx', 'yy', 'zz', 'yz', 'xz', 'xy']
    rate_per_ps: float
    temperature_K: float  # noqa: N815
    tdamp_ps: float = Field(default=0.2, gt=0)
    pdamp_ps: float = Field(default=1.0, gt=0)

    check_temperature = field_validator('temperature_K')(_check_temperature)

    @field_validator('rate_per_ps')
    @classmethod
    def _rate_is_per_ps(cls, value: float) -> float:
        if value == 0 or abs(value) > LARGEST_RATE_PER_PS:
            raise ValueError(f'{value:g} per ps is not a strain rate to simulate: 1e9 per second is 1e-3 per ps')
        return value


Stage = Annotated[
    Union[MinimiseStage, NvtStage, NptStage, NveStage, DeformStage], Field(discriminator='kind')  # noqa: UP007
]


def stage_targets(stage: Any) -> list[float]:
    """Return the target temperatures of a stage in K; an nve stage has that at which its velocities are drawn."""
    targets = (getattr(stage, name, None) for name in ('temperature_K', 'temperature_end_K'))
    return [target for target in targets if target is not None]
