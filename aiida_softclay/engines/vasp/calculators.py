"""The calculator behind the driver: CHGNet by default, any importable ASE calculator by name, dispersion on top."""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from aiida_softclay.engines.vasp.errors import CalculatorError, InputError, PhysicsError
from aiida_softclay.engines.vasp.incar import Settings

#: The model that ships with the chgnet package and is used unless SOFTCLAY_CALCULATOR says otherwise.
DEFAULT_MODEL = '0.3.0'


@dataclass(frozen=True)
class Evaluation:
    """Energy (eV), forces (eV/Å, shape (n_atoms, 3)) and stress (eV/Å^3, shape (3, 3), tension positive)."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray


def _version_of(module: str) -> str:
    package = module.partition('.')[0]
    try:
        return f'{package} {metadata.version(package)}'
    except metadata.PackageNotFoundError:
        return package


def model_name(environment: Mapping[str, str]) -> str:
    """Return program and version of the model that an environment selects, without importing it."""
    name = environment.get('SOFTCLAY_CALCULATOR', '')
    if not name:
        arguments = _arguments(environment)
        return f'CHGNet {arguments.get("model_name", DEFAULT_MODEL)} ({_version_of("chgnet")})'
    module, _, factory = name.partition(':')
    return f'{factory or module} ({_version_of(module)})'


def _arguments(environment: Mapping[str, str]) -> dict:
    text = environment.get('SOFTCLAY_CALCULATOR_KWARGS', '').strip()
    if not text:
        return {}
    try:
        arguments = json.loads(text)
    except json.JSONDecodeError as error:
        raise CalculatorError(f'SOFTCLAY_CALCULATOR_KWARGS is not valid JSON: {error}') from error
    if not isinstance(arguments, dict):
        raise CalculatorError('SOFTCLAY_CALCULATOR_KWARGS must be a JSON object, for example {"model_name": "0.3.0"}')
    return arguments


def make_calculator(environment: Mapping[str, str]):
    """Return the ASE calculator that the environment selects.

    Raises
    ------
    CalculatorError
        If it cannot be imported or built; the message says which package to install or which name is wrong.
    """
    name, arguments = environment.get('SOFTCLAY_CALCULATOR', ''), _arguments(environment)
    if not name:
        try:
            import torch

            from aiida_softclay.engines.vasp.chgnet_fast import FastCHGNet
        except ImportError as error:
            raise CalculatorError(
                f'CHGNet cannot be imported ({error}): pip install "aiida-softclay[engines]", '
                'or choose another calculator with SOFTCLAY_CALCULATOR=module:factory'
            ) from error
        torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
        try:
            return FastCHGNet(**{'model_name': DEFAULT_MODEL, **arguments})
        except (TypeError, ValueError) as error:
            raise CalculatorError(f'CHGNet cannot be set up: {error}') from error
    module, colon, factory = name.partition(':')
    if not colon or not factory:
        raise CalculatorError(f'SOFTCLAY_CALCULATOR = {name} is not of the form module:factory')
    try:
        build = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as error:
        raise CalculatorError(f'SOFTCLAY_CALCULATOR = {name} cannot be imported: {error}') from error
    try:
        return build(**arguments)
    except (TypeError, ValueError) as error:
        raise CalculatorError(f'SOFTCLAY_CALCULATOR = {name} cannot be set up with {arguments}: {error}') from error


def make_dispersion(settings: Settings, symbols: list[str]):
    """Return the dispersion calculator that INCAR asks for, or ``None``."""
    if settings.dispersion is None:
        return None
    from aiida_softclay.engines.vasp.dispersion import make_d2, make_d3

    if settings.dispersion == 'D2':
        return make_d2(symbols, settings.dispersion_options)
    damping = 'd3zero' if 'zero' in settings.dispersion else 'd3bj'
    return make_d3(damping, settings.dispersion_options)


class Evaluator:
    """Evaluates positions and cell with a calculator and, if asked for, dispersion.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic; its positions and cell follow what is evaluated.
    calculators : list
        ASE calculators whose energies, forces and stresses are added.
    """

    def __init__(self, atoms: Atoms, calculators: list):
        self.atoms = atoms
        self.calculators = calculators
        self.n_evaluations = 0
        self.seconds = 0.0

    def __call__(self, positions: np.ndarray, cell: np.ndarray) -> Evaluation:
        """Return energy, forces and stress.

        Raises
        ------
        CalculatorError
            If the calculator does not know an element, or gives no forces or stress.
        PhysicsError
            If a result is not finite.
        """
        start = time.perf_counter()
        if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
            raise PhysicsError(
                'positions or cell are not finite: the time step is too long, or atoms have come too close'
            )
        self.atoms.set_cell(cell)
        self.atoms.positions[:] = positions
        energy, forces, stress = 0.0, np.zeros_like(positions), np.zeros(6)
        for calculator in self.calculators:
            try:
                forces += calculator.get_forces(self.atoms)
                energy += float(calculator.get_potential_energy(self.atoms))
                stress += calculator.get_stress(self.atoms)
            except PropertyNotImplementedError as error:
                raise CalculatorError(
                    f'{type(calculator).__name__} gives no {error}: energy, forces and stress are needed'
                ) from error
            except (NotImplementedError, KeyError) as error:
                raise CalculatorError(f'{type(calculator).__name__} cannot treat this structure: {error}') from error
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            raise PhysicsError('energy, forces or stress are not finite: atoms have come too close')
        self.n_evaluations += 1
        self.seconds += time.perf_counter() - start
        xx, yy, zz, yz, xz, xy = stress
        return Evaluation(energy, forces, np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))


def build_evaluator(settings: Settings, atoms: Atoms, symbols: list[str], environment: Mapping[str, str]) -> Evaluator:
    """Return the evaluator of a run.

    Raises
    ------
    InputError, CalculatorError
        If calculator or dispersion cannot be had.
    """
    if len(symbols) == 0:
        raise InputError('POTCAR names no element')
    calculators = [make_calculator(environment)]
    dispersion = make_dispersion(settings, symbols)
    if dispersion is not None:
        calculators.append(dispersion)
    return Evaluator(atoms, calculators)
