"""Powder patterns of crystals, as a calcfunction."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_softclay.analysis.powder_diffraction import PowderPattern, powder_pattern
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.calcfunctions.columns import columns_node
from aiida_softclay.calcfunctions.structure_analysis import analysis_failed

#: Keys of the parameters that may be left out, with their defaults: angles and widths (full at half maximum) in
#: degrees, the wavelength in Å or the name of an X-ray line.
DEFAULTS: dict[str, Any] = {
    'radiation': 'x-ray', 'wavelength': 'CuKa1', 'two_theta': [10.0, 90.0], 'width': 0.15, 'step': 0.02,
}  # fmt: skip


def pattern_of(structure: Any, options: dict[str, Any]) -> PowderPattern:
    """Return the pattern of ASE atoms with the options of :func:`analyse_powder_pattern`.

    Raises
    ------
    ValueError
        If an option is unknown or makes no sense.
    """
    if unknown := sorted(set(options) - set(DEFAULTS)):
        raise ValueError(f'unknown options {", ".join(unknown)}: known are {", ".join(DEFAULTS)}')
    found = {**DEFAULTS, **options}
    low, high = (float(angle) for angle in found['two_theta'])
    if not float(found['step']) > 0:
        raise ValueError(f'the step of the angles must be positive, it is {found["step"]}°')
    return powder_pattern(structure, found['radiation'], found['wavelength'], (low, high))


def profile_of(pattern: PowderPattern, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return angles in degrees and the profile on them, its highest point 100."""
    found = {**DEFAULTS, **options}
    low, high = (float(angle) for angle in found['two_theta'])
    angles = np.arange(low, high + 0.5 * float(found['step']), float(found['step']))
    profile = pattern.profile(angles, float(found['width']))
    return angles, 100 * profile / profile.max()


@calcfunction
def analyse_powder_pattern(structure: orm.StructureData, parameters: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """Return the powder pattern of a crystal at rest (kinematic intensities; no thermal motion, no texture).

    Parameters
    ----------
    structure : StructureData
        A crystal.
    parameters : Dict
        Optionally the keys of :data:`DEFAULTS`.

    Returns
    -------
    dict
        ``results`` (Dict, results schema: angle and spacing of the strongest reflection) and ``curve`` (ArrayData:
        ``reflection_two_theta``, ``reflection_intensity`` and ``reflection_spacing`` of each, with their indices as an
        attribute, and the profile ``intensity`` on ``two_theta``).
    """
    options = parameters.get_dict()
    try:
        pattern = pattern_of(structure.get_ase(), options)
        angles, profile = profile_of(pattern, options)
    except (ValueError, TypeError) as error:
        return analysis_failed(ValueError(str(error)))
    columns = {
        'two_theta': (angles, 'degree'), 'intensity': (profile, '1'),
        'reflection_two_theta': (pattern.two_theta, 'degree'), 'reflection_intensity': (pattern.intensity, '1'),
        'reflection_spacing': (pattern.spacings, 'Å'),
    }  # fmt: skip
    curve = columns_node(columns)
    curve.base.attributes.set('reflections', list(pattern.reflections))
    strongest = int(np.argmax(pattern.intensity))
    about = {
        'radiation': {**DEFAULTS, **options}['radiation'], 'wavelength_A': pattern.wavelength,
        'reflection': pattern.reflections[strongest],
    }  # fmt: skip
    given = {'n_samples': len(pattern.two_theta), 'conditions': about}
    rows = [
        Quantity('powder.strongest.two_theta', float(pattern.two_theta[strongest]), None, 'degree',
                 'angle 2θ of the strongest reflection, by Bragg’s law', **given),
        Quantity('powder.strongest.spacing', float(pattern.spacings[strongest]), None, 'Å',
                 'distance of the lattice planes of the strongest reflection', **given),
    ]  # fmt: skip
    context = {'formula': structure.get_formula(), 'n_atoms': len(structure.sites), 'engine': 'pymatgen'}
    return {'results': orm.Dict(results_dict(rows, **context)), 'curve': curve}
