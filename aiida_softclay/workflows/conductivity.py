"""Diffusion at constant volume, the Nernst–Einstein conductivity and that of all ions together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aiida import orm
from aiida.engine import while_

from aiida_softclay.analysis.transport import DEFAULT_WINDOW
from aiida_softclay.calcfunctions.onsager import analyse_ionic_conductivity
from aiida_softclay.calcfunctions.transport import analyse_conductivity
from aiida_softclay.calculations.analyses import calcfunction_of, find_analysis
from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.structures.ions import IONIC_RADII
from aiida_softclay.workflows.experiment import ExperimentWorkChain
from aiida_softclay.workflows.extension import ExtensionMixin
from aiida_softclay.workflows.joined_runs import STAGE


def formal_charges(elements: list[str], given: Mapping[str, float]) -> dict[str, float]:
    """Return the charge number of each element: the one given, else the formal oxidation state.

    Raises
    ------
    ValueError
        If an element has neither.
    """
    unknown = sorted(set(elements) - set(IONIC_RADII) - set(given))
    if unknown:
        raise ValueError(f'no oxidation state is known for {", ".join(unknown)}: give it in `charges`')
    return {element: float(given.get(element, IONIC_RADII.get(element, (0, 0))[1])) for element in set(elements)}


def analyses_problem(analyses: Any) -> str | None:
    """Return what is wrong with the analyses that are to be made of the run, or ``None``."""
    if not isinstance(analyses, Mapping):
        return 'analyses names analyses and their parameters, such as {chains: {bonds: {O: 2.3}}}'
    for name, options in analyses.items():
        try:
            analysis = find_analysis(name)
        except ValueError as error:
            return f'analyses: {error}'
        if problem := analysis.problem({'trajectory'}, {'thermo'} & set(analysis.arrays)):
            return f'analyses: {problem}, and is given those of this run alone'
        if not isinstance(options, Mapping) or 'context' in options:
            return f'analyses.{name} holds the parameters of the analysis; its context is that of the run'
    return None


class ConductivityWorkChain(ExtensionMixin, ExperimentWorkChain):
    """Let the ions diffuse at constant volume and temperature; report D and σ of each species.

    As in yang2024 (Fig. 5a, eq. 1; 25 ns at 300 K): mean squared displacement over all time origins in the frame of the
    centre of mass, Nernst–Einstein conductivity with the formal charges, total conductivity with its self and distinct
    parts, all from slopes in one window of lags. With ``relative_error_wanted`` the run goes on until the diffusivity
    of one species is known that well, or to ``max_duration_ps``.
    """

    _protocol_file = 'conductivity'
    _title = 'conductivity'
    _needs_frames = True

    @classmethod
    def define(cls, spec: Any) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.outline(
            cls.setup,
            cls.run_md,
            cls.inspect_md,
            cls.analyse,
            cls.judge,
            while_(cls.should_extend)(
                cls.extend,
                cls.inspect_extension,
                cls.inspect_join,
                cls.analyse_longer,
                cls.judge,
            ),
            cls.attach_all,
            cls.inspect_analysis,
            cls.analyse_further,
            cls.inspect_further,
            cls.conclude,
        )

    @classmethod
    def build_plan(cls, parameters: Mapping[str, Any]) -> MdPlan:
        """Return the stages: equilibration and production."""
        window = parameters['window_share'] or DEFAULT_WINDOW
        if len(window) != 2 or not 0 < window[0] < window[1] <= 1:
            raise ValueError(f'window_share {window} must be two shares of the run in order, between 0 and 1')
        cls.check_extension(parameters)
        common = {'kind': 'nvt', 'temperature_K': parameters['temperature_K'], 'tdamp_ps': parameters['tdamp_ps']}
        duration = parameters['duration_ps']
        if parameters['relative_error_wanted'] is not None:
            duration = cls.whole_frames(parameters, duration)
        plan = MdPlan.from_dict(
            {
                'timestep_ps': parameters['timestep_ps'],
                'seed': parameters['seed'],
                'thermo_every': parameters['thermo_every'],
                'dump_every': parameters['dump_every'],
                'dump_elements': parameters['dump_elements'],
                # Centres and frames begin and end together.
                'collective_every': math.gcd(parameters['collective_every'], parameters['dump_every']),
                'stages': [
                    {
                        'name': 'equilibrate', 'duration_ps': parameters['equilibrate_ps'],
                        # Nobody reads this part: two frames show where it went.
                        'dump_every': max(1, round(parameters['equilibrate_ps'] / parameters['timestep_ps'])), **common,
                    },
                    {'name': 'production', 'duration_ps': duration, **common},
                ],
            }
        )  # fmt: skip
        frames = plan.stage_frames('production')
        if frames * (window[1] - window[0]) < 4:
            raise ValueError(
                f'the production run has {frames} frames, too few lags for a fit: lower dump_every or lengthen the run'
            )
        return plan

    @classmethod
    def check_parameters(cls, parameters: Mapping[str, Any], elements: list[str]) -> str | None:
        """Return what is wrong with species and charges."""
        steering = [parameters['error_species']] if parameters.get('error_species') else []
        absent = sorted({*(parameters['species'] or []), *steering} - set(elements))
        if absent:
            return f'species {", ".join(absent)} is not in the structure, which has {", ".join(sorted(set(elements)))}'
        dumped = parameters.get('dump_elements')
        if dumped is not None and (unseen := sorted({*(parameters['species'] or []), *steering} - set(dumped))):
            return (
                f'the diffusion of {", ".join(unseen)} is asked for, but frames hold {", ".join(dumped)} alone: add '
                f'{", ".join(unseen)} to dump_elements'
            )
        if parameters['species'] and set(steering) - set(parameters['species']):
            return f'error_species {steering[0]} is not among species {", ".join(parameters["species"])}'
        if problem := analyses_problem(parameters.get('analyses') or {}):
            return problem
        try:
            charges = formal_charges(elements, parameters['charges'])
        except (TypeError, ValueError) as error:
            return str(error)
        total = sum(charges[element] for element in elements)
        if abs(total) > 1e-6:
            listed = ', '.join(f'{element} {charges[element]:+g}' for element in sorted(charges))
            return f'the charges {listed} do not sum to zero over the structure but to {total:+g}: correct `charges`'
        return None

    def _charges(self) -> dict[str, float]:
        """Return the charge number of each element of the structure."""
        return formal_charges(self.inputs.structure.get_ase().get_chemical_symbols(), self.ctx.parameters['charges'])

    def _columns(self, *, always: bool) -> dict[str, orm.ArrayData]:
        """Return the centres of the elements as an argument, if they are needed or always wanted."""
        needed = always or self.ctx.parameters['dump_elements'] is not None
        found = self.centres() if needed else None
        return {} if found is None else {'centres': found}

    def run_analysis(self) -> orm.ProcessNode:
        """Find diffusivities and conductivities of the run so far."""
        parameters = self.ctx.parameters
        options = {
            'charges': self._charges(),
            'species': parameters['species'],
            'window_share': parameters['window_share'],
            'hop_length': parameters['hop_length'],
            'target_temperature_K': parameters['temperature_K'],
            'context': {**self.context(), 'seed': parameters['seed']},
        }
        if self.is_steered:
            options['run_length'] = {
                'relative_error_wanted': parameters['relative_error_wanted'],
                'max_duration_ps': parameters['max_duration_ps'],
                'species': parameters['error_species'],
            }
        trajectory, thermo = self.production()
        arrays = {'thermo': thermo, **self._columns(always=False)}
        return self.start_analysis('conductivity', analyse_conductivity, options, trajectory, STAGE, arrays)

    def further_analyses(self) -> dict[str, tuple[Any, Callable[[], orm.ProcessNode]]]:
        """Return the analyses of collective displacements (σ in parts, Haven ratio) and those asked for."""
        trajectory = self.production()[0]
        found: dict[str, tuple[Any, Callable[[], orm.ProcessNode]]] = {}
        if any(self._charges().values()):
            found['collective'] = (trajectory, self._analyse_collective)
        for name in self.ctx.parameters.get('analyses') or {}:
            found[name] = (trajectory, partial(self._analyse_named, name))
        return found

    def _analyse_named(self, name: str) -> orm.ProcessNode:
        """Start one of the analyses that were asked for."""
        options = {**self.ctx.parameters['analyses'][name], 'context': self.context()}
        trajectory, thermo = self.production()
        arrays = {'thermo': thermo} if 'thermo' in find_analysis(name).arrays else {}
        return self.start_analysis(name, calcfunction_of(name), options, trajectory, STAGE, arrays)

    def _analyse_collective(self) -> orm.ProcessNode:
        parameters = self.ctx.parameters
        options = {
            'charges': self._charges(),
            # The window of the diffusivities: the self parts are their Nernst–Einstein conductivities.
            'window_ps': self.ctx.analysis.outputs.results['context']['window_ps'],
            'hop_length': parameters['hop_length'],
            'target_temperature_K': parameters['temperature_K'],
            'context': self.context(),
        }
        trajectory, thermo = self.production()
        arrays = {'thermo': thermo, **self._columns(always=True)}
        return self.start_analysis('ionic_conductivity', analyse_ionic_conductivity, options, trajectory, STAGE, arrays)

    @classmethod
    def check_extension(cls, parameters: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` with a sentence if error and limit make no sense."""
        wanted, limit = parameters['relative_error_wanted'], parameters['max_duration_ps']
        if wanted is None:
            return
        if isinstance(wanted, bool) or not isinstance(wanted, (int, float)) or not 0 < wanted < 1:
            raise ValueError(f'relative_error_wanted {wanted!r} must be a share between 0 and 1, such as 0.1, or null')
        if not isinstance(limit, (int, float)) or not math.isfinite(limit) or limit < parameters['duration_ps']:
            raise ValueError(
                f'max_duration_ps {limit!r} is below duration_ps {parameters["duration_ps"]:g}, the length of the '
                'first run: raise it'
            )
