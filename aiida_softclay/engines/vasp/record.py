"""What the output files are written from: the run as a whole, and one ionic step."""

from __future__ import annotations

import datetime
import platform
import uuid
from dataclasses import dataclass, field

import numpy as np
from ase import units

from aiida_softclay import __version__
from aiida_softclay.engines.vasp.incar import Settings
from aiida_softclay.engines.vasp.kpoints import Kpoints
from aiida_softclay.engines.vasp.potcar import Species

PROGRAM = 'softclay-vasp'
#: Parsers of vasprun.xml tell apart the layouts of VASP 5 and 6 by the first digit; this layout is that of VASP 6.
LAYOUT_VERSION = '6.0.0'


@dataclass
class Frame:
    """One ionic step: energies in eV, forces in eV/Å, stress in eV/Å^3 (tension positive), before the atoms move."""

    step: int
    positions: np.ndarray
    cell: np.ndarray
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    seconds: float = 0.0
    kinetic: float | None = None
    temperature: float = 0.0
    lattice_kinetic: float = 0.0
    thermostat: tuple[float, float] = (0.0, 0.0)

    @property
    def stress_kbar(self) -> np.ndarray:
        """Stress with the sign and unit of VASP: a compressed cell has a positive one; kB."""
        return -self.stress / (0.1 * units.GPa)

    @property
    def total(self) -> float:
        """Sum of potential, kinetic and thermostat energies (eV), which is conserved at a constant target."""
        return self.energy + (self.kinetic or 0.0) + self.lattice_kinetic + sum(self.thermostat)


@dataclass
class Run:
    """The inputs of a run and the names it goes by."""

    settings: Settings
    species: list[Species]
    counts: list[int]
    names: list[str]
    kpoints: Kpoints
    cell: np.ndarray
    positions: np.ndarray
    model: str
    title: str = ''
    seed: tuple[int, ...] = ()
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now().astimezone())
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def symbols(self) -> list[str]:
        """Element of each atom."""
        return [s.symbol for s, count in zip(self.species, self.counts, strict=True) for _ in range(count)]

    @property
    def symbols_of_types(self) -> list[str]:
        """Element of each species."""
        return [s.symbol for s in self.species]

    @property
    def type_masses(self) -> list[float]:
        """Mass of each species (amu): POMASS of INCAR before that of POTCAR."""
        return list(self.settings.masses) or [s.mass for s in self.species]

    @property
    def masses(self) -> np.ndarray:
        """Mass of each atom (amu)."""
        return np.repeat(np.array(self.type_masses), self.counts)

    @property
    def functional(self) -> str:
        """What the energies are, in words."""
        dispersion = f' + Grimme {self.settings.dispersion}' if self.settings.dispersion else ''
        return f'model potential {self.model}{dispersion}; not density-functional theory'

    def generator(self) -> dict[str, str]:
        """Return who wrote the files, with what, when and where."""
        return {
            'program': PROGRAM,
            'version': f'{LAYOUT_VERSION}.softclay-{__version__}',
            'subversion': f'VASP-compatible driver of aiida-softclay {__version__}; this is not VASP',
            'model': self.model,
            'functional': self.functional,
            'dispersion': self.settings.dispersion or 'none',
            'platform': platform.platform(),
            'date': self.started.strftime('%Y-%m-%d'),
            'time': self.started.strftime('%H:%M:%S.%f %z'),
            'uuid': self.identifier,
            'random_seed': ' '.join(map(str, self.seed)),
        }

    def parameters(self) -> dict[str, dict[str, str]]:
        """Return the parameters in force, defaults included, as vasprun.xml groups them."""
        s = self.settings
        ivdw = {'D2': 10, 'D3 (zero damping)': 11, 'D3 (Becke-Johnson damping)': 12}.get(s.dispersion or '', 0)
        electronic = {
            'PREC': s.tags.get('PREC', 'normal').split(maxsplit=1)[0], 'ENMAX': '0.0', 'EDIFF': '1.0e-4',
            'NELECT': '0.0', 'NBANDS': '1', 'NELM': str(s.nelm), 'ISPIN': '1', 'ISMEAR': '0', 'SIGMA': '0.0',
        }  # fmt: skip
        ionic = {
            'NSW': str(s.n_steps), 'IBRION': str(s.ibrion if s.n_steps else -1), 'ISIF': str(s.isif),
            'PSTRESS': repr(float(s.pressure_kbar)), 'POTIM': repr(float(s.timestep_fs)),
            'TEBEG': repr(float(s.temperature_begin)), 'TEEND': repr(float(s.temperature_end)),
            'EDIFFG': repr(float(s.ediffg)), 'SMASS': repr(float(s.nose_mass if s.thermostat == 'nose' else -3.0)),
        }  # fmt: skip
        return {
            'general': {'SYSTEM': s.system or self.title or 'unknown system', 'LCOMPAT': 'F'},
            'electronic': electronic,
            # Readers that derive a functional from these find one of the name ML instead of one of DFT.
            'electronic exchange-correlation': {
                'GGA': 'ML',
                'METAGGA': '--',
                'LHFCALC': 'F',
                'AEXX': '0.0',
                'HFSCREEN': '0.0',
                'LDAU': 'F',
            },
            'ionic': ionic,
            'vdW DFT': {'IVDW': str(ivdw)},
        }
