"""Molten lithium chloride with the potential of Fumi and Tosi: the model, and what bare LAMMPS finds for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

# Fumi and Tosi, J. Phys. Chem. Solids 25, 31 and 45 (1964): b = 0.338e-19 J, ρ = 0.342 Å, ionic radii (Å), Pauling
# factors, and the dispersion of Mayer in 1e-79 J m⁶ and 1e-99 J m⁸.
REPULSION, SOFTNESS, RADII = 0.338, 0.342, {'Li': 0.816, 'Cl': 1.585}
PAIRS = {('Li', 'Li'): (2.0, 0.073, 0.03), ('Li', 'Cl'): (1.375, 2.0, 2.4), ('Cl', 'Cl'): (0.75, 111.0, 223.0)}
#: 1e-19 J in eV.
UNIT = 0.6241509074
MASSES = {'Li': 6.94, 'Cl': 35.45}
TEMPERATURE = 900.0
#: 108 ions in a cube of 13.4422702789 Å: the density at which the diffusivities were published.
DENSITY = 108 / 13.4422702789**3
REPEAT = 3
EDGE = float((8 * REPEAT**3 / DENSITY) ** (1 / 3))


def pair_lines(first: str = 'Li', second: str = 'Cl') -> list[str]:
    """Return the lines of LAMMPS with the coefficients of the published run.

    The dispersion of the eighth power, attractive in the papers of Fumi and Tosi, is repulsive in that run, because
    LAMMPS adds it. It is kept, so that the same model is compared; with the sign turned chlorine is 10 % faster.
    """
    lines = ['pair_style born/coul/long 8.0']
    for (a, b), (pauling, sixth, eighth) in PAIRS.items():
        types = [first if symbol == 'Li' else second for symbol in (a, b)]
        lines.append(
            f'pair_coeff {types[0]} {types[1]} {UNIT * REPULSION * pauling:.8g} {SOFTNESS} {RADII[a] + RADII[b]:.4f} '
            f'{UNIT * sixth:.8g} {UNIT * eighth:.8g}'
        )
    return [*lines, 'kspace_style ewald 1e-4']


def rocksalt() -> Atoms:
    """Return 216 ions on the sites of a crystal at the density of the melt, in which it is not stable."""
    return bulk('LiCl', 'rocksalt', a=EDGE / REPEAT, cubic=True) * (REPEAT, REPEAT, REPEAT)


SCRIPT = """
units metal
atom_style charge
lattice fcc {cell}
region box block 0 {repeat} 0 {repeat} 0 {repeat}
create_box 2 box
create_atoms 1 box
lattice fcc {cell} origin 0.5 0 0
create_atoms 2 box
mass 1 {masses[Li]}
mass 2 {masses[Cl]}
set type 1 charge 1
set type 2 charge -1
{lines}
neigh_modify every 1 delay 0 check yes
timestep 0.002
velocity all create 6000 {seed} mom yes loop all
fix heat all nvt temp 3000 {temperature} 0.1
run 1000
unfix heat
fix heat all nvt temp {temperature} {temperature} 0.2
run 500
reset_timestep 0
group li type 1
group cl type 2
variable jx equal (vcm(li,x)-vcm(cl,x))*count(li)
variable jy equal (vcm(li,y)-vcm(cl,y))*count(li)
variable jz equal (vcm(li,z)-vcm(cl,z))*count(li)
fix current all ave/correlate 5 {n_lags} {n_steps} v_jx v_jy v_jz type auto file current.txt ave running
variable k loop {segments}
label segment
compute li li msd com no
compute cl cl msd com no
run 200
fix li all vector 10 c_li[4]
fix cl all vector 10 c_cl[4]
run 800
print "$(slope(f_li)) $(slope(f_cl))" append slopes.txt
unfix li
unfix cl
uncompute li
uncompute cl
next k
jump SELF segment
"""
#: Integral of the current's correlation up to 0.4 ps, where it has decayed.
N_LAGS = 41


def bare_lammps(program: str, folder: Path, segments: int, seed: int = 3) -> dict[str, tuple[float, float]]:
    """Return D of both ions (cm²/s) and σ (mS/cm) with errors, as LAMMPS's own fixes find them, without our package.

    The diffusivities are the mean slopes, by LAMMPS's fit, of its ``compute msd`` between 0.4 and 2 ps after each of
    the origins; the conductivity is the Green–Kubo integral of the current that ``fix ave/correlate`` finds.
    """
    script = SCRIPT.format(
        cell=EDGE / REPEAT, repeat=REPEAT, masses=MASSES, lines='\n'.join(pair_lines('1', '2')), seed=seed,
        temperature=TEMPERATURE, n_lags=N_LAGS, n_steps=1000 * segments, segments=segments,
    )  # fmt: skip
    (folder / 'in.lmp').write_text(script)
    subprocess.run([program, '-in', 'in.lmp', '-log', 'none'], cwd=folder, check=True, capture_output=True)
    # A slope is per row of the vector, 0.02 ps; 1 Å²/ps is 1e-4 cm²/s.
    slopes = np.loadtxt(folder / 'slopes.txt') / 6 / 0.02 * 1e-4
    assert slopes.shape == (segments, 2)
    means, errors = slopes.mean(axis=0), slopes.std(axis=0, ddof=1) / np.sqrt(segments)
    rows = np.loadtxt((folder / 'current.txt').read_text().splitlines()[-N_LAGS:])
    times, correlation = rows[:, 1] * 0.002, rows[:, 3:6]
    # e² Å²/ps² · ps / (Å³ · kB T) in S/m, and 10 mS/cm for each.
    unit = 1.602176634e-19**2 * 1e-20 / 1e-12 / 1e-30 / (1.380649e-23 * TEMPERATURE) * 10
    axes = np.trapezoid(correlation, times, axis=0) * unit / EDGE**3
    return {
        'Li': (means[0], errors[0]),
        'Cl': (means[1], errors[1]),
        'conductivity': (axes.mean(), axes.std(ddof=1) / np.sqrt(3)),
    }
