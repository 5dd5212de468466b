"""Judge a potential by its errors on frames it has not seen."""

from __future__ import annotations

from typing import Any

from aiida.engine import calcfunction
from aiida.orm import Dict

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.potential import PotentialData

DEFINITIONS = {
    'energy': 'root mean square over the test frames of the error of the energy divided by the number of atoms',
    'force': 'root mean square over all Cartesian components of the forces on all atoms of the test frames',
    'virial': 'root mean square over the nine components of the virial of the test frames, divided by the atoms',
}


def copy_potential(
    potential: PotentialData,
    test_rmse: dict[str, float],
    labels: dict[str, Any] | None = None,
    verdict: dict[str, Any] | None = None,
) -> PotentialData:
    """Return the same model with its test errors, the engine whose labels it was fitted to, and the verdict on it.

    The node of the model as it was frozen is not touched; of the file itself the repository keeps one copy.
    """
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
            verdict=verdict,
        )


def test_quantities(errors: dict[str, Any], conditions: dict[str, Any]) -> list[Quantity]:
    """Return the test errors as quantities: overall, and of energies and forces for each structure.

    Parameters
    ----------
    errors : dict
        Output ``errors`` of ``softclay.dp.test``.
    conditions : dict
        What they hold at.
    """
    quantities = [_quantity(name, errors['overall'][name], conditions) for name in DEFINITIONS]
    labels = errors.get('labels', {})
    if len(labels) > 1:
        for label, rows in labels.items():
            about = {**conditions, 'structure': label, 'n_test_frames': rows['energy']['n_frames']}
            quantities += [_quantity(name, rows[name], about, label) for name in ('energy', 'force')]
    return quantities


def _quantity(name: str, row: dict[str, Any], conditions: dict[str, Any], label: str | None = None) -> Quantity:
    warnings = [] if row['rmse'] is not None else [f'the test frames have no labels for the {name}']
    if row['rmse'] is not None and row['n_frames'] < 20:
        warnings.append(f'only {row["n_frames"]} test frames')
    return Quantity(
        name=f'rmse_{name}' if label is None else f'rmse_{name}.{label}',
        value=row['rmse'],
        error=row['rmse_error'],
        unit=row['unit'],
        definition=DEFINITIONS[name] + ('' if label is None else f', those of the structure {label}'),
        n_samples=row['n_frames'],
        error_method='standard error of the mean square error of a frame, propagated to its root',
        frames_used=row['n_frames'],
        conditions=conditions,
        warnings=warnings,
    )


def passes_gate(errors: dict[str, Any], gate: dict[str, float] | None) -> bool | None:
    """Return whether energy and force errors are within the gate; a missing or infinite error is not.

    ``None`` if there is no gate.
    """
    if not gate:
        return None
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
    """Return the ``potential`` with its test errors and the verdict on it, and the errors as ``results``.

    ``errors`` are those of ``softclay.dp.test``, ``gate`` holds ``rmse_energy_meV_atom`` and ``rmse_force_meV_A`` or is
    empty, ``training`` are the statistics of the training.
    """
    found = errors.get_dict()
    overall = found['overall']
    test_rmse = {
        key: overall[name]['rmse']
        for name, key in (('energy', 'energy_meV_atom'), ('force', 'force_meV_A'), ('virial', 'virial_meV_atom'))
        if overall[name]['rmse'] is not None
    }
    facts = training.get_dict()
    limits = gate.get_dict() or None
    passed = passes_gate(found, limits)
    verdict = {
        'passed': passed,
        'gate': limits,
        'n_training_frames': training_frames.n_frames,
        'n_test_frames': found['n_frames'],
        'training_formulas': training_frames.formulas,
        'training_labels': training_frames.base.attributes.get('source_labels', []),
        'training_steps': facts.get('last_step'),
        'energy_kind': training_frames.energy_kind,
    }
    conditions = {'n_training_frames': training_frames.n_frames, 'n_test_frames': found['n_frames']}
    results = results_dict(
        test_quantities(found, conditions),
        engine=f'DeePMD-kit against {engine_text(validation_frames.engine)}',
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
        gate=limits,
        gate_passed=passed,
    )
    judged = copy_potential(potential, test_rmse, training_frames.engine, verdict)
    return {'potential': judged, 'results': Dict(results)}
