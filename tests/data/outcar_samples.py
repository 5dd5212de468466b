"""OUTCAR files of known content in the layout of VASP 5.4 and 6, with what real ones have between the numbers."""

from __future__ import annotations

import numpy as np

RULE = ' ' + '-' * 85 + '\n'


def _header(symbols, version, tags, titles=None):
    kinds = list(dict.fromkeys(symbols))
    counts = [symbols.count(kind) for kind in kinds]
    titles = titles or [f'PAW_PBE {kind} 17Jan2003' for kind in kinds]
    listed = ''.join(f' POTCAR:    {title}                 \n' for title in titles)
    echo = ''.join(f'   {line}\n' for line in tags) if version.startswith('6') else ''
    entries = ''.join(
        f'   VRHFIN ={kind}: d10 p1\n   LEXCH  = PE\n   EATOM  =  1390.9800 eV,  102.2342 Ry\n\n   TITEL  = {title}\n'
        '   LULTRA =        F    use ultrasoft PP ?\n   POMASS =   63.546; ZVAL   =   11.000    mass and valenz\n'
        '   ENMAX  =  295.446; ENMIN  =  221.585 eV\n'
        for kind, title in zip(kinds, titles, strict=True)
    )
    return (
        f' vasp.{version} 20Jul23 (build Aug 28 2023 09:06:48) complex                        \n  \n'
        ' executed on             LinuxIFC date 2024.01.02  11:13:53\n running   16 mpi-ranks, with    1 threads/rank\n'
        f'\n{"-" * 104}\n\n\n INCAR:\n{echo}\n{listed}{listed}{entries}'
        ' Dimension of arrays:\n   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of '
        'bands    NBANDS=     32\n   number of dos      NEDOS =    301   number of ions     NIONS ='
        f' {len(symbols):6d}\n   non local maximal  LDIM  =      6   non local SUM 2l+1 LMDIM =     18\n'
        '   total plane-waves  NPLWV =  13824\n'
        f'   ions per type =            {"".join(f"{count:4d}" for count in counts)}\n\n'
        ' SYSTEM =  unknown system                          \n'
        ' POSCAR =  melt, free  energy of nothing           \n\n Startparameter for this run:\n'
        '   NWRITE =      2    write-flag & timer\n   PREC   = normal    normal or accurate (medium, high low for '
        'compatibility)\n   ISPIN  =      1    spin polarized calculation?\n\n Electronic Relaxation 1\n'
        '   ENCUT  =  500.0 eV  36.75 Ry    6.06 a.u.   8.3  8.3  8.3*2*pi/ulx,y,z\n'
        '   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps\n   EDIFF  = 0.1E-03   stopping-criterion '
        'for ELM\n Ionic relaxation\n   EDIFFG = 0.1E-02   stopping-criterion for IOM\n   NSW    =     10    number of '
        'steps for IOM\n   IBRION =      0    ionic relax: 0-MD 1-quasi-New 2-CG\n   ISIF   =      2    stress and '
        'relaxation\n   POTIM  = 2.0000    time-step for ionic-motion\n   TEIN   =    0.0    initial temperature\n'
        '   TEBEG  =  300.0;   TEEND  = 900.0 temperature during run\n   SMASS  =   0.00    Nose mass-parameter (am)\n'
        + ('' if any('PSTRESS' in tag for tag in tags) else '   PSTRESS=    0.0 pullay stress\n')
        + ''.join(f'   {tag} pullay stress\n' for tag in tags if 'PSTRESS' in tag)
        + '\n  Exchange correlation treatment:\n'
        '   GGA     =    PE    GGA type\n   LEXCH   =     8    internal setting\n'
        '   LHFCALC =     F    Hartree Fock is set to\n   AEXX    =    0.0000 exact exchange contribution\n\n'
        ' k-points in reciprocal lattice and weights: Automatic mesh\n'
        '   0.00000000  0.00000000  0.00000000       1.000\n\n'
    )


def _electronic(ionic, electronic, energy):
    return (
        f'{"-" * 39} Iteration {ionic:6d}({electronic:4d})  {"-" * 39}\n\n\n'
        '    POTLOK:  cpu time    0.0312: real time    0.0340\n    EDDAV:  cpu time    0.1312: real time    0.1340\n'
        '\n eigenvalue-minimisations  :   180\n total energy-change (2. order) : 0.3E+02  (-0.2E+03)\n\n'
        ' Free energy of the ion-electron system (eV)\n  ---------------------------------------------------\n'
        '  alpha Z        PSCENC =        64.98349172\n  -Hartree energ DENC   =      -204.38241\n'
        '  atomic energy  EATOM  =      1390.98\n  Solvation  Ediel_sol  =         0.00000000\n'
        '  ---------------------------------------------------\n'
        f'  free energy    TOTEN  ={energy - 0.5:19.8f} eV\n\n'
        f'  energy without entropy ={energy - 0.48:19.8f}  energy(sigma->0) ={energy - 0.49:19.8f}\n\n\n'
    )


def _field(value, width, digits):
    text = f'{value:{width}.{digits}f}'
    return '*' * width if len(text) > width else text


def _stress(kilobar, volume, pstress, label=''):
    six = [kilobar[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))]
    zero = '   '.join(['0.00000'] * 6)
    parts = ''.join(f'  {name:8s}{zero}\n' for name in ('Alpha Z', 'Ewald', 'Hartree', 'E(xc)', 'Local', 'n-local'))
    return (
        f'  {label}FORCE on cell =-STRESS in cart. coord.  units (eV):\n'
        '  Direction    XX          YY          ZZ          XY          YZ          ZX\n'
        f'  {"-" * 86}\n{parts}  augment {zero}\n  Kinetic {zero}\n  Fock    {zero}\n  {"-" * 85}\n'
        '  Total   ' + ''.join(_field(value * volume / 1602.176634, 12, 5) for value in six) + '\n'
        '  in kB   ' + ''.join(_field(value, 12, 5) for value in six) + '\n'
        f'  external pressure = {np.mean(six[:3]) - pstress:11.2f} kB  Pullay stress = {pstress:11.2f} kB\n\n'
        '  kinetic pressure (ideal gas correction) =     20.00 kB\n  total pressure  =   1754.22 kB\n'
        '  Total+kin.  1750.111    1745.427    1767.130     -14.300      -0.345     -13.106\n\n'
    )


def outcar_text(
    images, version='6.4.2', tags=(), electronic=3, stress=True, pstress=0.0, dispersion=False, learned=False,
    titles=None, finished=True,
):  # fmt: skip
    """Return an OUTCAR for ASE images with energy, forces and stress.

    The free energy of an ionic step is the image's, ``energy without entropy`` 0.02 and ``energy(sigma->0)`` 0.01 eV
    higher; the electronic steps before it are 0.5 eV lower. With ``pstress`` (kB) the line of the enthalpy follows.
    ``learned`` puts a machine-learned step of other numbers between the images, as on-the-fly learning does.
    """
    symbols = images[0].get_chemical_symbols()
    tags = [*tags, *([f'PSTRESS= {pstress:6.1f}'] if pstress else [])]
    parts = [_header(symbols, version, tags, titles)]
    for number, atoms in enumerate(images, 1):
        energy, volume, cell = atoms.get_potential_energy(), atoms.get_volume(), atoms.cell[:]
        parts += [_electronic(number, step, energy) for step in range(1, electronic + 1)]
        if dispersion:
            parts.append('  Edisp (eV)  -1.23456\n  Forces due to dispersion\n')
        kilobar = -atoms.get_stress(voigt=False) * 1602.176634
        if stress:
            parts.append(_stress(kilobar, volume, pstress))
        vectors = ''.join(
            '  ' + ''.join(f'{x:13.9f}' for x in row) + '  ' + ''.join(f'{x:13.9f}' for x in other) + '\n'
            for row, other in zip(cell, np.linalg.inv(cell).T, strict=True)
        )
        rows = ''.join(
            ''.join(f'{x:13.5f}' for x in place) + '   ' + ''.join(_field(x, 14, 6) for x in force) + '\n'
            for place, force in zip(atoms.positions, atoms.get_forces(), strict=True)
        )
        parts.append(
            f' VOLUME and BASIS-vectors are now :\n {"-" * 77}\n  energy-cutoff  :      500.00\n'
            f'  volume of cell : {volume:11.2f}\n'
            f'      direct lattice vectors                 reciprocal lattice vectors\n{vectors}\n'
            '  length of vectors\n     3.5  3.5  3.5   0.28 0.28 0.28\n\n\n'
            f' POSITION                                       TOTAL-FORCE (eV/Angst)\n{RULE}{rows}{RULE}'
            '    total drift:                               -0.000000      0.000000     -0.000000\n\n\n'
            f'{"-" * 104}\n\n\n\n  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  {"-" * 51}\n'
            f'  free  energy   TOTEN  = {energy:17.8f} eV\n\n'
            f'  energy  without entropy={energy + 0.02:17.8f}  energy(sigma->0) ={energy + 0.01:17.8f}\n'
        )
        if pstress:
            work = pstress * volume / 1602.176634
            parts.append(f'  enthalpy is  TOTEN    = {energy + work:17.8f} eV   P V= {work:17.8f}\n')
        parts.append(
            ' \n d Force = 0.1E+01[ 0.1E+01, 0.1E+01]  d Energy = 0.1E+01 0.2E+00\n'
            f'\n  ENERGY OF THE ELECTRON-ION-THERMOSTAT SYSTEM (eV)\n  {"-" * 51}\n'
            f'% ion-electron   TOTEN  = {energy:17.6f}  see above\n  kinetic energy EKIN   = {0.25:17.6f}\n'
            f'  total energy   ETOTAL = {energy + 0.25:17.6f} eV\n\n'
        )
        if learned:
            wrong = ''.join(
                ''.join(f'{x:13.5f}' for x in place) + '   ' + ''.join(f'{9.0:14.6f}' for _ in place) + '\n'
                for place in atoms.positions + 0.3
            )
            parts.append(
                _stress(kilobar + 50, volume, pstress, label='ML ')
                + f' POSITION                                       TOTAL-FORCE (eV/Angst) (ML)\n{RULE}{wrong}{RULE}'
                f'  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  {"-" * 51}\n'
                f'  free  energy ML TOTEN  = {energy + 7:17.8f} eV\n\n'
                f'  ML energy  without entropy={energy + 7:17.8f}  ML energy(sigma->0) ={energy + 7:17.8f}\n'
            )
    if finished:
        parts.append(
            ' General timing and accounting informations for this job:\n'
            ' ========================================================\n\n'
            '                  Total CPU time used (sec):        3.151\n'
        )
    return ''.join(parts)
