"""Judge a potential by its errors on frames it has not seen."""

from __future__ import annotations

from typing import Any

from aiida.engine import calcfunction
from aiida.orm import Dict

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData

DEFINITIONS = {
    'energy': 'root mean square over the test frames of the error of the energy divided by the number of atoms',
    'force': 'root mean square over all Cartesian components of the forces on all atoms of the test frames',
    'virial': 'root mean square over the nine components of the virial of the test frames, divided by the atoms',
}


def copy_potential(
    potential: PotentialData, test_rmse: dict[str, float], labels: dict[str, Any] | None = None
) -> PotentialData:
    """Return the same model with its test errors and the engine whose labels it was fitted to; one file is stored."""
    with potential.open_model() as path:
        return PotentialData(
            path,
            filename=potential.filename,
            type_map=potential.type_map,
            rcut=potential.rcut,
            backend=potential.model_backend,
            version=potential.version,
            compressed=potential.compressed,
            seed=potential.seed,
            test_rmse=test_rmse,
            labels=labels,
        )


def test_quantities(errors: dict[str, Any], conditions: dict[str, Any]) -> list[Quantity]:
    """Return the test errors as quantities.

    Parameters
    ----------
    errors : dict
        Output ``errors`` of ``softclay.dp.test``.
    conditions : dict
        What they hold at.
    """
    quantities = []
    for name, definition in DEFINITIONS.items():
        row = errors['overall'][name]
        warnings = [] if row['rmse'] is not None else [f'the test frames have no labels for the {name}']
        if row['rmse'] is not None and row['n_frames'] < 20:
            warnings.append(f'only {row["n_frames"]} test frames')
        quantities.append(
            Quantity(
                name=f'rmse_{name}',
                value=row['rmse'],
                error=row['rmse_error'],
                unit=row['unit'],
                definition=definition,
                n_samples=row['n_frames'],
                error_method='standard error of the mean square error of a frame, propagated to its root',
                frames_used=row['n_frames'],
                conditions=conditions,
                warnings=warnings,
            )
        )
    return quantities


def passes_gate(errors: dict[str, Any], gate: dict[str, float]) -> bool:
    """Return whether energy and force errors are within the gate; a missing or infinite error is not."""
    energy, force = errors['overall']['energy']['rmse'], errors['overall']['force']['rmse']
    if energy is None or force is None:
        return False
    return bool(energy <= gate['rmse_energy_meV_atom'] and force <= gate['rmse_force_meV_A'])


@calcfunction
def assess_potential(
    potential: PotentialData,
    errors: Dict,
    gate: Dict,
    training: Dict,
    training_frames: FramesData,
    validation_frames: FramesData,
) -> dict[str, Any]:
    """Return the ``potential`` with its test errors attached, and the errors as ``results``.

    ``errors`` are those of ``softclay.dp.test``, ``gate`` holds ``rmse_energy_meV_atom`` and ``rmse_force_meV_A``,
    ``training`` are the statistics of the training.
    """
    found = errors.get_dict()
    overall = found['overall']
    test_rmse = {
        key: overall[name]['rmse']
        for name, key in (('energy', 'energy_meV_atom'), ('force', 'force_meV_A'), ('virial', 'virial_meV_atom'))
        if overall[name]['rmse'] is not None
    }
    facts = training.get_dict()
    conditions = {'n_training_frames': training_frames.n_frames, 'n_test_frames': found['n_frames']}
    results = results_dict(
        test_quantities(found, conditions),
        labels=validation_frames.engine,
        energy_kind=validation_frames.energy_kind,
        formulas=validation_frames.formulas,
        program={
            'name': 'DeePMD-kit',
            'version': facts.get('deepmd_version'),
            'backend': facts.get('backend'),
            'framework_version': facts.get('framework_version'),
        },
        model={'md5': potential.md5, 'type_map': potential.type_map, 'rcut_A': potential.rcut, 'seed': potential.seed},
        training_steps=facts.get('last_step'),
        gate=gate.get_dict(),
        gate_passed=passes_gate(found, gate.get_dict()),
    )
    return {'potential': copy_potential(potential, test_rmse, training_frames.engine), 'results': Dict(results)}
