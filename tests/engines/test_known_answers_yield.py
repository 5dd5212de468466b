"""The glass of Kob and Andersen under shear: it yields, by the workchain as by LAMMPS alone."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.io import read
from kob_andersen import KELVIN, KOB_ANDERSEN, PRESSURE, mixture

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.workflows.constant_strain import ConstantStrainWorkChain

pytestmark = pytest.mark.engine
#: Less than half of the critical temperature of the model, 0.435 of its units.
COLD = 0.2 * KELVIN
#: 1/ps; 0.02 per unit of time.
RATE, LARGEST = 0.01, 0.3
HALF_WIDTH = 0.01
#: Largest stress in ε/σ³, own choice: at the density 1.2 the peak grows with the logarithm of the rate (Varnik, Bocquet
#: and Barrat, J. Chem. Phys. 120, 2788 (2004)); it is of the order of one.
STRESS = (0.4, 1.4)

#: Cooled under pressure, where the liquid is far from boiling, then without; sheared by LAMMPS's own fix and averages.
ALONE = """
units metal
boundary p p p
read_data start.data
change_box all triclinic
{pair}
mass 1 39.948
mass 2 40.078
timestep 0.01
velocity all create 190 11 mom yes dist gaussian
fix melt all npt temp 190 190 0.4 iso {high} {high} 2.0
run 2000
unfix melt
fix cool all npt temp 190 {cold} 0.4 iso {high} {high} 2.0
run 6000
unfix cool
fix rest all npt temp {cold} {cold} 0.4 x 0 0 2.0 y 0 0 2.0 z 0 0 2.0 xy 0 0 2.0 xz 0 0 2.0 yz 0 0 2.0
run 4000
unfix rest
write_data glass.data nocoeff
fix shear all deform 1 yz erate {rate} remap x
fix flow all npt temp {cold} {cold} 0.4 x 0 0 2.0 y 0 0 2.0 z 0 0 2.0 xy 0 0 2.0 xz 0 0 2.0 flip no
reset_timestep 0
variable stress equal -pyz*1e-4
fix curve all ave/time 1 10 10 v_stress file stress.txt
run {steps}
"""


@dataclass(frozen=True)
class Glass:
    """A glass without stress, and its shear stress (GPa) against strain by LAMMPS alone."""

    structure: orm.StructureData
    strain: np.ndarray
    stress: np.ndarray


@pytest.fixture
def glass(aiida_profile, bare_program, tmp_path):
    start = mixture(1).get_ase()
    start.write(tmp_path / 'start.data', format='lammps-data', specorder=['Ar', 'Ca'])
    high = 10 * PRESSURE * 1e4
    (tmp_path / 'in.lmp').write_text(ALONE.format(
        pair='\n'.join(KOB_ANDERSEN['pair_lines']['lines']), high=high, cold=COLD, rate=RATE,
        steps=round(LARGEST / RATE / 0.01),
    ))  # fmt: skip
    subprocess.run([bare_program, '-in', 'in.lmp', '-log', 'none'], cwd=tmp_path, check=True, capture_output=True)
    atoms = read(tmp_path / 'glass.data', format='lammps-data', atom_style='atomic', units='metal', sort_by_id=True)
    atoms.set_atomic_numbers(start.numbers)
    steps, stress = np.loadtxt(tmp_path / 'stress.txt', unpack=True)
    return Glass(orm.StructureData(ase=atoms), steps * 0.01 * RATE, stress)


def test_a_glass_yields_as_by_lammps_alone(fast_lmp_code, glass):
    builder = ConstantStrainWorkChain.get_builder_from_protocol(
        fast_lmp_code, glass.structure, classical=KOB_ANDERSEN,
        overrides={
            'component': 'yz', 'rate_per_ps': RATE, 'temperature_K': COLD, 'maximum_strain': LARGEST,
            'elastic_window': [0.0, 0.02], 'average_half_width': HALF_WIDTH, 'equilibrate_ps': 10.0,
            'timestep_ps': 0.01, 'tdamp_ps': 0.4, 'pdamp_ps': 2.0, 'thermo_every': 10, 'seed': 3,
        },
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    check_results(node.outputs.results.get_dict())
    rows = {row['name']: row for row in node.outputs.results.get_dict()['numbers']}
    peak, modulus, offset = (rows[name] for name in ('yield_stress.maximum', 'shear_modulus', 'yield_stress.offset'))

    # Glasses of this size and rate differ by a tenth from one set of velocities to another.
    width = round(2 * HALF_WIDTH / RATE / 0.1)
    alone = np.convolve(glass.stress, np.ones(width) / width, mode='valid')
    assert peak['value'] == pytest.approx(alone.max(), rel=0.25)
    assert STRESS[0] < peak['value'] / PRESSURE < STRESS[1]
    # It flows: an elastic glass would bear several times as much at this strain.
    curve = node.outputs.curve
    strain, stress = curve.get_array('strain'), curve.get_array('stress')
    late = strain > 0.5 * LARGEST
    flow = stress[late].mean()
    elastic = (modulus['value'] - modulus['error']) * strain[late].mean()
    assert flow < 0.5 * elastic
    # And it does not harden: the slope of the second half is far below the modulus.
    slope = np.polyfit(strain[late], stress[late], 1)[0]
    assert abs(slope) < 0.2 * modulus['value']
    # Plastic flow begins before the largest stress, at a strain of some hundredths.
    assert 0 < offset['value'] < peak['value']
    assert offset['conditions']['strain_at_offset_yield'] < 0.1
