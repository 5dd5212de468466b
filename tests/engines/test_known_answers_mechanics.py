"""Elasticity of an fcc crystal: moduli and recovery of cold argon against its static elastic constants."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.workflows.constant_strain import ConstantStrainWorkChain
from aiida_softclay.workflows.stress_pulse import StressPulseWorkChain

pytestmark = pytest.mark.engine
PAIR = ['pair_style lj/cut 8.5', 'pair_coeff 1 1 0.010340 3.4']
REPEAT = 4
#: Classical motion at this temperature softens argon by less than 1 %: it melts at 84 K.
COLD = 0.5

#: Stress of LAMMPS under strains of ±0.1 % of the minimised crystal, symmetric differences.
STATIC = f"""
units metal
box tilt large
lattice fcc 5.25
region box prism 0 {REPEAT} 0 {REPEAT} 0 {REPEAT} 0 0 0
create_box 1 box
create_atoms 1 box
mass 1 39.948
{PAIR[0]}
{PAIR[1]}
fix relax all box/relax iso 0.0 vmax 0.001
minimize 1e-14 1e-12 1000 10000
unfix relax
variable xx equal pxx
variable yy equal pyy
variable yz equal pyz
print "lattice $(lx/{REPEAT}) pressure $(press)"
change_box all x scale 1.001 remap
run 0
variable xx_high equal $(v_xx)
variable yy_high equal $(v_yy)
change_box all x scale $(0.999/1.001) remap
run 0
print "C11 $((v_xx-v_xx_high)/0.002*1e-4)"
print "C12 $((v_yy-v_yy_high)/0.002*1e-4)"
change_box all x scale $(1/0.999) remap
change_box all yz delta $(0.001*lz) remap units box
run 0
variable yz_high equal $(v_yz)
change_box all yz delta $(-0.002*lz) remap units box
run 0
print "C44 $((v_yz-v_yz_high)/0.002*1e-4)"
"""


@dataclass(frozen=True)
class Crystal:
    """Lattice constant (Å) and elastic constants (GPa) at rest."""

    lattice: float
    c11: float
    c12: float
    c44: float

    @property
    def youngs_modulus(self) -> float:
        """Of tension along a cube axis with free sides, (C11 − C12)(C11 + 2 C12) / (C11 + C12)."""
        return (self.c11 - self.c12) * (self.c11 + 2 * self.c12) / (self.c11 + self.c12)

    @property
    def poissons_ratio(self) -> float:
        """Of the same, C12 / (C11 + C12)."""
        return self.c12 / (self.c11 + self.c12)

    def structure(self) -> orm.StructureData:
        return orm.StructureData(ase=bulk('Ar', 'fcc', a=self.lattice, cubic=True) * (REPEAT, REPEAT, REPEAT))


@pytest.fixture(scope='module')
def crystal(bare_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp('static')
    (folder / 'in.lmp').write_text(STATIC)
    done = subprocess.run(
        [bare_program, '-in', 'in.lmp', '-log', 'none'], cwd=folder, check=True, capture_output=True, text=True
    )
    found = dict(re.findall(r'^(lattice|C11|C12|C44) ([-\d.]+)', done.stdout, re.MULTILINE))
    return Crystal(*(float(found[name]) for name in ('lattice', 'C11', 'C12', 'C44')))


def numbers_of(node):
    assert node.is_finished_ok, node.exit_message
    results = node.outputs.results.get_dict()
    check_results(results)
    return {row['name']: row for row in results['numbers']}


def strain(code, crystal, component, rate):
    builder = ConstantStrainWorkChain.get_builder_from_protocol(
        code, crystal.structure(), classical={'pair_lines': PAIR},
        overrides={
            'component': component, 'rate_per_ps': rate, 'temperature_K': COLD, 'maximum_strain': 0.016,
            'elastic_window': [0.0, 0.012], 'average_half_width': 0.001, 'equilibrate_ps': 2.0, 'timestep_ps': 0.004,
            'dump_every': 200,
        },
    )  # fmt: skip
    return numbers_of(run_get_node(builder)[1])


def born_constants(lattice):
    """Pressure, C11, C12 and C44 (GPa) of an fcc crystal of pairs by lattice sums (Born and Huang (1954), section 11).

    Without initial stress C_ijkl = 1/(2 Ω) Σ (φ''/r² − φ'/r³) r_i r_j r_k r_l over the neighbours of an atom.
    """
    grid = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3), axis=-1).reshape(-1, 3)
    vectors = 0.5 * lattice * grid[(grid.sum(axis=1) % 2 == 0) & grid.any(axis=1)]
    r = np.linalg.norm(vectors, axis=1)
    vectors, r = vectors[r < 8.5], r[r < 8.5]
    x6 = (3.4 / r) ** 6
    first = 4 * 0.010340 * (-12 * x6**2 + 6 * x6) / r
    second = 4 * 0.010340 * (156 * x6**2 - 42 * x6) / r**2
    stiffness, (x, y, _) = second / r**2 - first / r**3, vectors.T
    unit = 160.21766 / (0.5 * lattice**3)
    sums = [(stiffness * product).sum() for product in (x**4, x**2 * y**2, x**2 * y**2)]
    return np.array([-(first * r).sum() / 3, *sums]) * unit


def test_the_static_crystal_is_that_of_lattice_sums(crystal):
    pressure, c11, c12, c44 = born_constants(crystal.lattice)
    assert abs(pressure) < 1e-4
    assert crystal.c11 == pytest.approx(c11, rel=3e-3)
    assert crystal.c12 == pytest.approx(c12, rel=3e-3)
    assert crystal.c44 == pytest.approx(c44, rel=3e-3)


def test_tension_and_shear_at_constant_rate_give_the_static_elastic_constants(fast_lmp_code, crystal):
    """Slopes under tension and compression differ by the third-order constants, which cancel in their mean."""
    tension, compression = (strain(fast_lmp_code, crystal, 'xx', rate) for rate in (0.002, -0.002))
    slopes = [rows['youngs_modulus']['value'] for rows in (tension, compression)]
    assert np.mean(slopes) == pytest.approx(crystal.youngs_modulus, rel=0.03)
    ratios = [rows['poissons_ratio']['value'] for rows in (tension, compression)]
    assert np.mean(ratios) == pytest.approx(crystal.poissons_ratio, rel=0.03)

    shear = strain(fast_lmp_code, crystal, 'yz', 0.002)['shear_modulus']
    assert shear['value'] == pytest.approx(crystal.c44, rel=0.03)
    # Taking one constant for another, or tensor shear for engineering shear, is far outside.
    assert abs(crystal.youngs_modulus - crystal.c11) > 0.3 * crystal.c11


def test_a_stress_pulse_on_a_crystal_leaves_nothing(fast_lmp_code, crystal):
    # The barostat is as light as the crystal is cold: a shorter pdamp_ps would swing faster than the time step.
    builder = StressPulseWorkChain.get_builder_from_protocol(
        fast_lmp_code, crystal.structure(), classical={'pair_lines': PAIR},
        overrides={
            'temperature_K': COLD, 'magnitude_mpa': 20.0, 'cycles': 1, 'equilibrate_ps': 10.0, 'load_ps': 10.0,
            'release_ps': 10.0, 'timestep_ps': 0.005, 'pdamp_ps': 2.0, 'thermo_every': 7, 'dump_every': 1000,
        },
    )  # fmt: skip
    numbers = numbers_of(run_get_node(builder)[1])
    expected = 0.020 / crystal.c44
    loaded, residual = numbers['strain_under_load.cycle_1'], numbers['residual_strain.cycle_1']
    assert loaded['value'] == pytest.approx(expected, abs=3 * loaded['error'] + 0.03 * expected)
    # Zero within its error, and the error is small against what was recovered.
    assert abs(residual['value']) < 3 * residual['error']
    assert residual['error'] < 0.1 * expected
    assert residual['conditions']['verdict'] != 'plastic'
    # 0.5 K of classical harmonic motion are 0.065 meV of potential energy per atom.
    assert abs(numbers['energy_change.cycle_1']['value']) < 0.065
