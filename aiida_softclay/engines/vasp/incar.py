"""INCAR: read the tags, decide what they ask for, and refuse what the driver cannot honour."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aiida_softclay.engines.vasp.errors import InputError

# Tags that steer the electronic structure, its parallelisation or its output. A model potential has none of these, so
# they cannot change its result: they are accepted, listed in OUTCAR, and have no effect.
_NO_EFFECT = """
ADDGRID AEXX ALGO AMIN AMIX AMIX_MAG BMIX BMIX_MAG EDIFF EMAX EMIN ENAUG ENCUT GGA GGA_COMPAT HFSCREEN IALGO ICHARG
IDIPOL IMIX INIMIX INIWAV ISMEAR ISPIN ISTART ISYM IWAVPR KBLOCK KGAMMA KPAR KSPACING LAECHG LASPH LCHARG LDAU LDAUJ
LDAUL LDAUPRINT LDAUTYPE LDAUU LDIPOL LELF LMAXMIX LMAXPAW LMIXTAU LORBIT LPLANE LREAL LSCALAPACK LSCALU LVHAR LVTOT
LWAVE MAGMOM MAXMIX METAGGA MIXPRE NBANDS NBLOCK NCORE NEDOS NELECT NELM NELMDL NELMIN NGX NGXF NGY NGYF NGZ NGZF
NPAR NSIM NUPDOWN NWRITE PREC PRECFOCK ROPT RWIGS SIGMA SYMPREC SYSTEM TIME VOSKOWN WC
"""
#: Those tags, accepted without effect.
NO_EFFECT_TAGS = frozenset(_NO_EFFECT.split())

#: Tags that the driver acts on, with the type of their value.
HONOURED_TAGS = {
    'ANDERSEN_PROB': float, 'EDIFFG': float, 'IBRION': int, 'ISIF': int, 'IVDW': int, 'LANGEVIN_GAMMA': list,
    'LANGEVIN_GAMMA_L': float, 'LVDW': bool, 'MDALGO': int, 'NHC_NCHAINS': int, 'NHC_PERIOD': int, 'NSW': int,
    'PMASS': float, 'POMASS': list, 'POTIM': float, 'PSTRESS': float, 'RANDOM_SEED': list, 'SMASS': float,
    'TEBEG': float, 'TEEND': float, 'VDW_C6': list, 'VDW_D': float, 'VDW_R0': list, 'VDW_RADIUS': float,
    'VDW_CNRADIUS': float, 'VDW_S6': float, 'VDW_S8': float, 'VDW_A1': float, 'VDW_A2': float, 'VDW_SR': float,
}  # fmt: skip

_DISPERSION = {0: None, 1: 'D2', 10: 'D2', 11: 'D3 (zero damping)', 12: 'D3 (Becke-Johnson damping)'}
_IBRION = {-1: 'static', 0: 'md', 1: 'relax', 2: 'relax'}

# fmt: off
_REASONS = {
    'LHFCALC': 'there is no Fock exchange in a model potential',
    'LSORBIT': 'there are no electrons in a model potential',
    'LNONCOLLINEAR': 'there are no electrons in a model potential',
    'LEPSILON': 'a model potential has no electric response',
    'LOPTICS': 'a model potential has no electric response',
    'LCALCPOL': 'a model potential has no polarisation',
    'LSOL': 'a model potential has no solvation model',
    'ML_LMLFF': 'the driver trains no force field; SOFTCLAY_CALCULATOR chooses the model',
    'EFIELD': 'a model potential does not feel an electric field',
    'ICONST': 'constraints are not available',
    'IMAGES': 'elastic bands are not available',
    'LATTICE_CONSTRAINTS': 'the cell always moves in all six components',
}
# fmt: on


@dataclass(frozen=True)
class Settings:
    """What a run is asked to do, in the units of INCAR: fs, kelvin, kB (0.1 GPa), 1/ps, atomic mass units."""

    mode: str
    ibrion: int = -1
    n_steps: int = 0
    isif: int = 2
    timestep_fs: float = 0.0
    temperature_begin: float = 0.0
    temperature_end: float = 0.0
    thermostat: str | None = None
    nose_mass: float = 0.0
    nose_period_steps: float = 40.0
    nose_chains: int = 1
    friction_per_ps: tuple[float, ...] = ()
    lattice_friction_per_ps: float = 0.0
    lattice_mass: float = 1000.0
    pressure_kbar: float = 0.0
    ediffg: float = 1.0e-3
    random_seed: tuple[int, ...] | None = None
    dispersion: str | None = None
    dispersion_options: dict[str, float | list[float]] = field(default_factory=dict)
    masses: tuple[float, ...] = ()
    nelm: int = 60
    system: str = ''
    tags: dict[str, str] = field(default_factory=dict)
    no_effect: tuple[str, ...] = ()

    @property
    def moves_cell(self) -> bool:
        """Whether the cell changes during the run."""
        return self.isif in (3, 4)

    def temperature(self, step: int) -> float:
        """Return the target temperature after ``step`` of the steps: linear from TEBEG to TEEND."""
        fraction = min(max(step / self.n_steps, 0.0), 1.0) if self.n_steps else 0.0
        return self.temperature_begin + (self.temperature_end - self.temperature_begin) * fraction


def read_tags(path: Path) -> dict[str, str]:
    """Return the tags of an INCAR file as written, upper-case names to the text of their values.

    Comments (``#``, ``!``), several tags in a line separated by ``;``, and values continued with a backslash are
    understood. Of a tag given twice the first counts, as in VASP.

    Raises
    ------
    InputError
        If the file is missing or a line is neither a comment nor ``TAG = value``.
    """
    try:
        text = path.read_text(encoding='utf-8', errors='replace')
    except OSError as error:
        raise InputError(f'INCAR cannot be read: {error.strerror}') from error
    tags: dict[str, str] = {}
    for number, raw in enumerate(re.sub(r'\\\s*\n', ' ', text).splitlines(), start=1):
        line = re.split(r'[#!]', raw, maxsplit=1)[0]
        for part in line.split(';'):
            if not part.strip():
                continue
            name, equals, value = part.partition('=')
            name = name.strip().upper()
            if not equals or not re.fullmatch(r'[A-Z][A-Z0-9_]*', name):
                raise InputError(f'INCAR, line {number}: `{part.strip()}` is not of the form TAG = value')
            if not value.strip():
                raise InputError(f'INCAR, line {number}: {name} has no value')
            tags.setdefault(name, value.strip())
    return tags


def _number(name: str, text: str) -> float:
    try:
        return float(text.lower().replace('d', 'e'))
    except ValueError:
        raise InputError(f'INCAR: {name} = {text} is not a number') from None


def _numbers(name: str, text: str) -> list[float]:
    values: list[float] = []
    for word in text.split():
        count, star, value = word.partition('*')
        if star:
            values += [_number(name, value)] * int(_number(name, count))
        else:
            values.append(_number(name, word))
    return values


def convert(name: str, text: str) -> int | float | bool | list[float]:
    """Return the value of an honoured tag in its type.

    Raises
    ------
    InputError
        If the text is not a value of that type.
    """
    kind = HONOURED_TAGS[name]
    if kind is list:
        return _numbers(name, text)
    word = text.split(maxsplit=1)[0]
    if kind is bool:
        match = re.fullmatch(r'\.?([TF])[A-Z]*\.?', word.upper())
        if not match:
            raise InputError(f'INCAR: {name} = {text} is neither .TRUE. nor .FALSE.')
        return match.group(1) == 'T'
    value = _number(name, word)
    if kind is int:
        if value != int(value):
            raise InputError(f'INCAR: {name} = {text} is not a whole number')
        return int(value)
    if not np.isfinite(value):
        raise InputError(f'INCAR: {name} = {text} is not finite')
    return value


def _is_off(text: str) -> bool:
    """Whether a tag that is not available is merely switched off, which is what the driver does anyway."""
    return text.split(maxsplit=1)[0].upper().strip('.') in ('F', 'FALSE', '0', 'NONE')


def _refuse_unknown(tags: dict[str, str]) -> None:
    refused = [
        f'{name} = {tags[name]}' + (f' ({_REASONS[name]})' if name in _REASONS else '')
        for name in tags
        if name not in HONOURED_TAGS and name not in NO_EFFECT_TAGS and not _is_off(tags[name])
    ]
    if refused:
        raise InputError(
            f'INCAR asks for what this driver cannot do: {"; ".join(refused)}. Remove these tags, or run a real VASP. '
            '`softclay-vasp --help` lists the tags that are honoured and those that have no effect.'
        )


def _dispersion(values: dict, tags: dict[str, str]) -> tuple[str | None, dict]:
    ivdw = values.get('IVDW', 1 if values.get('LVDW') else 0)
    if ivdw not in _DISPERSION:
        raise InputError(
            f'INCAR: IVDW = {ivdw} is not available; use 1 or 10 (D2), 11 (D3, zero damping) or 12 (D3, Becke-Johnson)'
        )
    options = {name[4:].lower(): values[name] for name in values if name.startswith('VDW_')}
    if options and _DISPERSION[ivdw] is None:
        raise InputError(f'INCAR: {", ".join(t for t in tags if t.startswith("VDW_"))} without IVDW would do nothing')
    allowed = {
        'D2': {'c6', 'd', 'r0', 'radius', 's6', 'sr'},
        'D3 (zero damping)': {'radius', 'cnradius', 's8', 'sr', 's6'},
        'D3 (Becke-Johnson damping)': {'radius', 'cnradius', 's8', 's6', 'a1', 'a2'},
    }.get(_DISPERSION[ivdw] or '', set())
    wrong = sorted(set(options) - allowed)
    if wrong:
        raise InputError(
            f'INCAR: {", ".join("VDW_" + name.upper() for name in wrong)} does not belong to {_DISPERSION[ivdw]}'
        )
    return _DISPERSION[ivdw], options


def _dynamics(values: dict, n_types: int, isif: int) -> dict:
    """Return the settings of a molecular dynamics run, checked."""
    if 'POTIM' not in values:
        raise InputError('Fatal error! IBRION=0, but no entry for POTIM on file INCAR. MUST be specified!!')
    if values['POTIM'] <= 0:
        raise InputError(f'INCAR: the time step POTIM = {values["POTIM"]:g} fs must be positive')
    begin = values.get('TEBEG', 0.0)
    end = values.get('TEEND', begin)
    for name, value in (('TEBEG', begin), ('TEEND', end)):
        if value < 0:
            raise InputError(f'INCAR: the temperature {name} = {value:g} K must not be negative')
    mdalgo = values.get('MDALGO', 0)
    smass = values.get('SMASS', 0.0 if mdalgo == 2 else -3.0)
    period, chains, thermostat = 40.0, 1, None
    if mdalgo == 1 or (mdalgo == 0 and smass == -3):
        if values.get('ANDERSEN_PROB', 0.0) != 0:
            raise InputError(
                'INCAR: the Andersen thermostat is not available; use MDALGO = 2 or 3, or ANDERSEN_PROB = 0'
            )
    elif mdalgo in (0, 2):
        if smass < 0:
            raise InputError(
                f'INCAR: SMASS = {smass:g} with MDALGO = {mdalgo} is not available; use SMASS = -3 (constant energy) '
                'or SMASS >= 0 (Nosé-Hoover)'
            )
        thermostat = 'nose'
    elif mdalgo == 3:
        thermostat = 'langevin'
    elif mdalgo == 4:
        thermostat, smass = 'nose', 0.0
        chains, period = values.get('NHC_NCHAINS', 1), float(values.get('NHC_PERIOD', 40))
        if chains < 1 or period <= 0:
            raise InputError('INCAR: NHC_NCHAINS and NHC_PERIOD must be positive')
    else:
        raise InputError(f'INCAR: MDALGO = {mdalgo} is not available; use 1 (constant energy), 2, 3 or 4')

    friction = values.get('LANGEVIN_GAMMA', [])
    if thermostat == 'langevin':
        if len(friction) != n_types:
            raise InputError(
                f'INCAR: LANGEVIN_GAMMA has {len(friction)} values, but POTCAR has {n_types} species; '
                'give one friction coefficient in 1/ps for each'
            )
        if min(friction) < 0 or values.get('LANGEVIN_GAMMA_L', 0.0) < 0:
            raise InputError('INCAR: LANGEVIN_GAMMA and LANGEVIN_GAMMA_L must not be negative')
    if isif == 3 and thermostat != 'langevin':
        raise InputError(
            'INCAR: molecular dynamics at constant pressure (ISIF = 3) needs the Langevin thermostat: MDALGO = 3'
        )
    if isif not in (0, 1, 2, 3):
        raise InputError(f'INCAR: ISIF = {isif} is not available in molecular dynamics; use 2 or, with MDALGO = 3, 3')
    if isif == 3 and values.get('PMASS', 1000.0) <= 0:
        raise InputError('INCAR: PMASS must be positive')
    if isif != 3 and values.get('PSTRESS', 0.0) != 0:
        raise InputError(
            'INCAR: PSTRESS has no effect in molecular dynamics at constant volume; remove it or use ISIF = 3'
        )
    return {
        'timestep_fs': values['POTIM'], 'temperature_begin': begin, 'temperature_end': end, 'thermostat': thermostat,
        'nose_mass': smass, 'nose_period_steps': period, 'nose_chains': chains, 'friction_per_ps': tuple(friction),
        'lattice_friction_per_ps': values.get('LANGEVIN_GAMMA_L', 0.0), 'lattice_mass': values.get('PMASS', 1000.0),
    }  # fmt: skip


def interpret(tags: dict[str, str], n_types: int) -> Settings:
    """Return what the tags of an INCAR ask for.

    Parameters
    ----------
    tags : dict
        From `read_tags`.
    n_types : int
        Number of species in POTCAR; per-species tags must have as many values.

    Raises
    ------
    InputError
        With a sentence that says what to change, for anything that cannot be honoured.
    """
    _refuse_unknown(tags)
    values = {name: convert(name, text) for name, text in tags.items() if name in HONOURED_TAGS}
    n_steps = values.get('NSW', 0)
    if n_steps < 0:
        raise InputError(f'INCAR: the number of steps NSW = {n_steps} must not be negative')
    ibrion = values.get('IBRION', 0 if n_steps > 1 else -1)
    if ibrion not in _IBRION:
        raise InputError(
            f'INCAR: IBRION = {ibrion} is not available; use -1 (static), 0 (dynamics), 1 or 2 (relaxation)'
        )
    mode = _IBRION[ibrion] if n_steps > 0 else 'static'
    isif = values.get('ISIF', 0 if mode == 'md' else 2)
    specific: dict = {}
    if mode == 'md':
        specific = _dynamics(values, n_types, isif)
    elif mode == 'relax' and isif not in (0, 1, 2, 3, 4):
        raise InputError(
            f'INCAR: ISIF = {isif} is not available; use 2 (atoms), 3 (atoms and cell) or 4 (constant volume)'
        )
    elif mode == 'relax' and isif != 3 and values.get('PSTRESS', 0.0) != 0:
        raise InputError('INCAR: PSTRESS has no effect on a relaxation at constant volume; remove it or use ISIF = 3')
    if mode == 'static':
        n_steps = 0
    masses = tuple(values.get('POMASS', ()))
    if masses and (len(masses) != n_types or min(masses) <= 0):
        raise InputError(f'INCAR: POMASS must hold {n_types} positive masses, one for each species in POTCAR')
    seed = tuple(int(value) for value in values['RANDOM_SEED']) if 'RANDOM_SEED' in values else None
    if seed is not None and min(seed) < 0:
        raise InputError('INCAR: RANDOM_SEED must not be negative')
    dispersion, options = _dispersion(values, tags)
    # EDIFFG defaults to ten times EDIFF, as in VASP; this is the only trace that EDIFF leaves.
    ediff = _number('EDIFF', tags['EDIFF'].split()[0]) if 'EDIFF' in tags else 1.0e-4
    nelm = int(_number('NELM', tags['NELM'].split()[0])) if 'NELM' in tags else 60
    return Settings(
        mode=mode, ibrion=ibrion, n_steps=n_steps, isif=isif, pressure_kbar=values.get('PSTRESS', 0.0),
        ediffg=values.get('EDIFFG', 10 * ediff), random_seed=seed, dispersion=dispersion, dispersion_options=options,
        masses=masses, nelm=max(nelm, 2), system=tags.get('SYSTEM', '').strip('"\''), tags=dict(tags),
        no_effect=tuple(sorted(NO_EFFECT_TAGS.intersection(tags) - {'SYSTEM'})), **specific,
    )  # fmt: skip
