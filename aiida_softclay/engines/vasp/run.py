"""One run of the driver: read the inputs, do what INCAR asks, write the outputs."""

from __future__ import annotations

import hashlib
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_softclay import __version__
from aiida_softclay.engines.vasp.calculators import Evaluation, Evaluator, build_evaluator, model_name
from aiida_softclay.engines.vasp.dynamics import Dynamics, integrator_class, maxwell_boltzmann
from aiida_softclay.engines.vasp.errors import InputError, PhysicsError
from aiida_softclay.engines.vasp.incar import convert, interpret, read_tags
from aiida_softclay.engines.vasp.kpoints import read_kpoints
from aiida_softclay.engines.vasp.listings import OszicarWriter, XdatcarWriter
from aiida_softclay.engines.vasp.outcar import OutcarWriter
from aiida_softclay.engines.vasp.poscar import STATE_MARK, Configuration, read_poscar, write_contcar
from aiida_softclay.engines.vasp.potcar import check_species, read_potcar
from aiida_softclay.engines.vasp.record import Frame, Run
from aiida_softclay.engines.vasp.relax import relax
from aiida_softclay.engines.vasp.vasprun import VasprunWriter

#: CONTCAR is renewed at most this often (s), apart from the end of a run.
CONTCAR_INTERVAL = 0.5
#: Shorter periodic heights than this (Å) are most likely a mistake in units.
SHORTEST_HEIGHT = 1.0


def _positive(environment: Mapping[str, str], name: str, kind: type, default):
    text = environment.get(name, '').strip()
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        raise InputError(f'{name} = {text} is not a number') from None
    if value <= 0:
        raise InputError(f'{name} = {text} must be positive')
    return value


def time_limit(environment: Mapping[str, str]) -> float | None:
    """Return after how many seconds to stop by ``SOFTCLAY_TIME_LIMIT``, or ``None``."""
    return _positive(environment, 'SOFTCLAY_TIME_LIMIT', float, None)


class StopSignal:
    """Says after each step whether to stop: STOPCAR, the time limit, or SIGTERM."""

    #: SIGTERM ends the process, whichever of its runs hears it.
    _terminated = False

    def __init__(self, folder: Path, time_limit: float | None, started: float):
        self._stopcar = folder / 'STOPCAR'
        self._limit = time_limit
        self._started = started
        self._last = time.monotonic()
        self._longest = 0.0
        signal.signal(signal.SIGTERM, self._on_terminate)

    @staticmethod
    def _on_terminate(*_) -> None:
        StopSignal._terminated = True

    def reason(self) -> str | None:
        """Return why to stop now, or ``None``."""
        now = time.monotonic()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        if self._terminated:
            return 'SIGTERM'
        # The next step, half a step of reserve, and what it takes to close the files must fit.
        if self._limit is not None and now - self._started + 1.5 * self._longest + 0.2 > self._limit:
            return f'time limit of {self._limit:g} s'
        if self._stopcar.exists():
            text = self._stopcar.read_text(encoding='utf-8', errors='replace').upper()
            if re.search(r'^\s*(LSTOP|LABORT)\s*=\s*\.?T', text, re.MULTILINE):
                return 'STOPCAR'
        return None


class Driver:
    """A run in a folder.

    Parameters
    ----------
    folder : Path
        Holds INCAR, POSCAR, POTCAR and KPOINTS; the outputs go there.
    environment : mapping
        The SOFTCLAY variables are read from it.
    started : float
        Time by ``time.monotonic`` from which the time limit counts.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], started: float):
        self.folder = folder
        self.environment = environment
        self.stride = _positive(environment, 'SOFTCLAY_FRAME_STRIDE', int, 1)
        self.time_limit = time_limit(environment)
        self.started = started
        self._read()

    def _read(self) -> None:
        species = read_potcar(self.folder / 'POTCAR')
        tags = read_tags(self.folder / 'INCAR')
        settings = interpret(tags, len(species))
        timestep = convert('POTIM', tags['POTIM']) if 'POTIM' in tags else 0.0
        configuration = read_poscar(self.folder / 'POSCAR', timestep)
        check_species(species, configuration.names, configuration.counts)
        heights = 1.0 / np.linalg.norm(np.linalg.inv(configuration.cell), axis=0)
        if heights.min() < SHORTEST_HEIGHT:
            raise InputError(f'POSCAR: the cell is only {heights.min():.3f} Å high; are its vectors in Å?')
        kpoints = read_kpoints(self.folder / 'KPOINTS', required='KSPACING' not in tags and 'KGAMMA' not in tags)
        self.settings, self.configuration = settings, configuration
        self.run_data = Run(
            settings=settings,
            species=species,
            counts=configuration.counts,
            names=configuration.names or [s.symbol for s in species],
            kpoints=kpoints,
            cell=configuration.cell,
            positions=configuration.positions,
            model=model_name(self.environment),
            title=configuration.comment.partition(STATE_MARK)[0].strip(),
        )
        if settings.mode == 'md':
            self.run_data.seed = settings.random_seed or self._derived_seed(tags)

    def _derived_seed(self, tags: dict[str, str]) -> tuple[int, ...]:
        """Return a seed that the same inputs give again and other inputs do not."""
        digest = hashlib.sha256(repr(sorted(tags.items())).encode())
        digest.update(np.ascontiguousarray(self.configuration.positions).tobytes())
        return tuple(int.from_bytes(digest.digest()[k : k + 2], 'big') for k in (0, 2, 4))

    def _random_generator(self) -> np.random.Generator:
        """Return the source of random numbers: the seed and where the run starts.

        Segments of a chain that are given the same seed thus do not repeat the same noise.
        """
        digest = hashlib.sha256(np.ascontiguousarray(self.configuration.positions).tobytes())
        if self.configuration.velocities is not None:
            digest.update(np.ascontiguousarray(self.configuration.velocities).tobytes())
        return np.random.default_rng([*self.run_data.seed, int.from_bytes(digest.digest()[:8], 'big')])

    def execute(self) -> None:
        """Do the run and write all files."""
        run, settings = self.run_data, self.settings
        atoms = Atoms(run.symbols, positions=run.positions, cell=run.cell, pbc=True)
        evaluator = build_evaluator(settings, atoms, run.symbols_of_types, self.environment)
        print(f' softclay-vasp {__version__}: VASP-compatible driver of aiida-softclay; this is not VASP')
        print(f' energies from: {run.functional}')
        print(
            f' {settings.mode}: {len(atoms)} atoms, {max(settings.n_steps, 1)} steps, {run.started:%Y-%m-%d %H:%M:%S}'
        )
        if settings.no_effect:
            print(f' tags without effect: {", ".join(settings.no_effect)}')
        sys.stdout.flush()
        stop = StopSignal(self.folder, self.time_limit, self.started)
        self._write_contcar(self.configuration)
        self.xml = VasprunWriter(self.folder / 'vasprun.xml', run)
        self.outcar = OutcarWriter(self.folder / 'OUTCAR', run)
        self.xdatcar = XdatcarWriter(self.folder / 'XDATCAR', run)
        self.oszicar = OszicarWriter(self.folder / 'OSZICAR')
        try:
            if settings.mode == 'md':
                final, reason = self._dynamics(evaluator, stop)
            else:
                final, reason = self._relax(atoms, evaluator, stop)
        except PhysicsError as error:
            self.outcar.note(f'{error}: the run is given up')
            self.xml.abandon()
            self.outcar.close(finished=False)
            raise
        self._finish(final, reason, evaluator)

    def _finish(self, final: Configuration, reason: str | None, evaluator: Evaluator) -> None:
        self._write_contcar(final)
        self.xml.close(final.positions, final.cell)
        # Parsers take a relaxation that ends before NSW for converged: one that was cut short must not look finished.
        finished = reason is None or reason == 'STOPCAR' or self.settings.mode == 'md'
        if reason is not None:
            self.outcar.note(f'soft stop encountered!  aborting job ... ({reason})')
            print(f' stopped by {reason}; CONTCAR continues the run')
        self.outcar.close(finished)
        self.xdatcar.close()
        self.oszicar.close()
        per_step = evaluator.seconds / max(evaluator.n_evaluations, 1)
        print(f' {evaluator.n_evaluations} evaluations, {per_step:.4f} s each')

    def _write_contcar(self, configuration: Configuration) -> None:
        write_contcar(self.folder / 'CONTCAR', configuration, self.run_data.names)

    def _record(self, frame: Frame, written: bool) -> None:
        frame.seconds = self._lap()
        line = self.oszicar.write_frame(frame)
        if written:
            self.xml.write_frame(frame)
            self.outcar.write_frame(frame)
            self.xdatcar.write_frame(frame)
            print(line, flush=True)

    @staticmethod
    def _frame(step: int, positions: np.ndarray, cell: np.ndarray, evaluation: Evaluation, **motion) -> Frame:
        return Frame(step, positions, cell, evaluation.energy, evaluation.forces, evaluation.stress, **motion)

    def _lap(self) -> float:
        now = time.perf_counter()
        lap, self._lap_start = now - getattr(self, '_lap_start', now), now
        return lap

    def _snapshot(self, positions, cell, velocities=None, state=None) -> Configuration:
        return Configuration(
            self.run_data.title, self.run_data.names, self.run_data.counts, cell, positions, velocities, state or {}
        )

    def _relax(self, atoms: Atoms, evaluator: Evaluator, stop: StopSignal) -> tuple[Configuration, str | None]:
        """Relax, or evaluate once, and return the last geometry and why it was cut short."""
        settings = self.settings
        if settings.mode == 'static':
            evaluation: Evaluation = evaluator(atoms.positions, atoms.cell.array)
            self._record(
                Frame(1, atoms.positions, atoms.cell.array, evaluation.energy, evaluation.forces, evaluation.stress),
                True,
            )
            return self._snapshot(atoms.positions, atoms.cell.array), None
        written = time.monotonic()
        for step, (positions, cell, evaluation, converged) in enumerate(relax(settings, atoms, evaluator), start=1):
            self._record(self._frame(step, positions, cell, evaluation), True)
            final = self._snapshot(positions, cell)
            if time.monotonic() - written > CONTCAR_INTERVAL:
                self._write_contcar(final)
                written = time.monotonic()
            if converged:
                self.outcar.note('reached required accuracy - stopping structural energy minimisation')
                print(' reached required accuracy - stopping structural energy minimisation')
                return final, None
            if step == settings.n_steps:
                return final, None
            reason = stop.reason()
            if reason is not None:
                return final, reason
        return final, None

    def _build_dynamics(self, evaluator: Evaluator) -> Dynamics:
        run, settings, start = self.run_data, self.settings, self.configuration
        integrator, rng = integrator_class(settings), self._random_generator()
        velocities = start.velocities
        if velocities is None:
            dof = integrator.degrees_of_freedom_of(len(run.masses))
            velocities = maxwell_boltzmann(run.masses, settings.temperature_begin, rng, dof)
        arguments: list = [settings, start.positions, start.cell, velocities, run.masses, evaluator]
        if settings.thermostat == 'langevin':
            arguments += [np.repeat(settings.friction_per_ps, run.counts), rng]
        if settings.thermostat == 'nose' or settings.isif == 3:
            arguments.append(start.state)
        return integrator(*arguments)

    def _dynamics(self, evaluator: Evaluator, stop: StopSignal) -> tuple[Configuration, str | None]:
        """Run molecular dynamics and return the state after the last move and why it was cut short."""
        dynamics = self._build_dynamics(evaluator)
        written = time.monotonic()
        reason = None
        for step in range(1, self.settings.n_steps + 1):
            frame = self._frame(
                step, dynamics.positions, dynamics.cell, dynamics.evaluation,
                kinetic=dynamics.kinetic_energy, temperature=dynamics.temperature,
                lattice_kinetic=dynamics.lattice_kinetic_energy, thermostat=dynamics.thermostat_energy,
            )  # fmt: skip
            self._record(frame, (step - 1) % self.stride == 0)
            dynamics.step(self.settings.temperature(step))
            reason = stop.reason()
            if step == self.settings.n_steps:
                reason = None
            if reason is not None or time.monotonic() - written > CONTCAR_INTERVAL:
                self._write_contcar(self._state(dynamics, step))
                written = time.monotonic()
            if reason is not None:
                break
        return self._state(dynamics, step), reason

    def _state(self, dynamics: Dynamics, step: int) -> Configuration:
        state = {**dynamics.carried_state, 'steps': [float(step)]}
        return self._snapshot(dynamics.positions, dynamics.cell, dynamics.velocities, state)
