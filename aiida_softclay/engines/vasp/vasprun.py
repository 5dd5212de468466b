"""vasprun.xml, written step by step: what has been written when a run is killed remains readable."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from aiida_softclay.engines.vasp.poscar import fractional
from aiida_softclay.engines.vasp.record import Frame, Run

#: eV for one kB Å^3 with the constant of VASP, by which readers of vasprun.xml turn enthalpies back into energies.
KBAR_A3 = 1.0e-22 / 1.60217733e-19


def _value(name: str, kind: str | None, text: str) -> str:
    attribute = f' type="{kind}"' if kind else ''
    return f'<i{attribute} name={quoteattr(name)}>{escape(text)}</i>'


def _tag(name: str, text: str) -> str:
    """Return an INCAR tag in the types of vasprun.xml, guessed from its text as far as needed to read it back."""
    words = text.split()
    upper = words[0].upper().strip('.') if words else ''
    if len(words) == 1 and upper in ('T', 'F', 'TRUE', 'FALSE'):
        return _value(name, 'logical', upper[0])
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return _value(name, 'string', text)
    if len(numbers) > 1:
        return f'<v name={quoteattr(name)}> {" ".join(words)}</v>'
    if '.' not in words[0] and 'e' not in words[0].lower():
        return _value(name, 'int', words[0])
    return _value(name, None, words[0])


def _vectors(name: str, array: np.ndarray, digits: int = 12) -> str:
    rows = '\n'.join(f'    <v> {a:.{digits}f} {b:.{digits}f} {c:.{digits}f} </v>' for a, b, c in array)
    return f'   <varray name="{name}" >\n{rows}\n   </varray>\n'


def _structure(positions: np.ndarray, cell: np.ndarray, attribute: str = '') -> str:
    return (
        f'  <structure{attribute}>\n   <crystal>\n{_vectors("basis", cell)}'
        f'    <i name="volume"> {abs(np.linalg.det(cell)):.8f} </i>\n'
        f'{_vectors("rec_basis", np.linalg.inv(cell).T)}   </crystal>\n'
        f'{_vectors("positions", fractional(positions, cell))}  </structure>\n'
    )


class VasprunWriter:
    """Writes vasprun.xml: the header at once, one block at each frame, the end on `close`."""

    def __init__(self, path: Path, run: Run):
        self.run = run
        self._pressure = run.settings.pressure_kbar
        n_atoms = len(run.symbols)
        row = '    <v> %.12f %.12f %.12f </v>\n'
        force = '    <v> %.10f %.10f %.10f </v>\n'
        # One template for a whole step: formatting is the only cost of writing.
        self._template = (
            ' <calculation step="%d">\n  <scstep>\n'
            '   <time name="total">%.2f %.2f</time>\n'
            '   <energy>\n    <i name="e_fr_energy"> %.10f </i>\n    <i name="e_wo_entrp"> %.10f </i>\n'
            '    <i name="e_0_energy"> %.10f </i>\n   </energy>\n  </scstep>\n'
            '  <structure>\n   <crystal>\n   <varray name="basis" >\n' + row * 3 + '   </varray>\n'
            '    <i name="volume"> %.8f </i>\n   <varray name="rec_basis" >\n' + row * 3 +
            '   </varray>\n   </crystal>\n'
            '   <varray name="positions" >\n' + row * n_atoms + '   </varray>\n  </structure>\n'
            '  <varray name="forces" >\n' + force * n_atoms + '  </varray>\n'
            '  <varray name="stress" >\n' + force * 3 + '  </varray>\n'
            '  <energy>\n   <i name="e_fr_energy"> %.10f </i>\n   <i name="e_wo_entrp"> %.10f </i>\n'
            '   <i name="e_0_energy"> %.10f </i>\n'
        )  # fmt: skip
        self._motion = (
            '   <i name="kinetic"> %.10f </i>\n   <i name="lattice kinetic"> %.10f </i>\n'
            '   <i name="nosepot"> %.10f </i>\n   <i name="nosekinetic"> %.10f </i>\n'
            '   <i name="total"> %.10f </i>\n   <i name="temperature"> %.6f </i>\n'
        )
        self._end = '  </energy>\n  <time name="totalsc">%.2f %.2f</time>\n </calculation>\n'
        self._file = path.open('w', encoding='utf-8')
        self._file.write(self._header())
        self._file.flush()

    def _header(self) -> str:
        run, settings = self.run, self.run.settings
        parts = [
            '<?xml version="1.0" encoding="UTF-8"?>\n<modeling>\n <generator>\n',
            *(f'  {_value(name, "string", text)}\n' for name, text in run.generator().items()),
            ' </generator>\n <incar>\n',
            *(f'  {_tag(name, text)}\n' for name, text in settings.tags.items()),
            ' </incar>\n',
            self._kpoints(),
            self._parameters(),
            self._atominfo(),
            _structure(run.positions, run.cell, ' name="initialpos" '),
        ]
        return ''.join(parts)

    def _kpoints(self) -> str:
        k = self.run.kpoints
        generation = ''
        if k.scheme != 'Listed':
            generation = (
                f'  <generation param="{k.scheme}">\n'
                f'   <v type="int" name="divisions"> {" ".join(map(str, k.divisions))} </v>\n'
                f'   <v name="usershift"> {" ".join(f"{s:.8f}" for s in k.shift)} </v>\n'
                '   <v name="genvec1"> 1.0 0.0 0.0 </v>\n   <v name="genvec2"> 0.0 1.0 0.0 </v>\n'
                '   <v name="genvec3"> 0.0 0.0 1.0 </v>\n   <v name="shift"> 0.0 0.0 0.0 </v>\n  </generation>\n'
            )
        weights = '\n'.join(f'    <v> {weight:.8f} </v>' for weight in k.weights)
        return (
            f' <kpoints>\n{generation}{_vectors("kpointlist", np.array(k.points), 8)}'
            f'   <varray name="weights" >\n{weights}\n   </varray>\n </kpoints>\n'
        )

    def _parameters(self) -> str:
        lines = []
        for group, values in self.run.parameters().items():
            entries = ''.join(f'   {_tag(name, text)}\n' for name, text in values.items())
            lines.append(f'  <separator name="{group}">\n{entries}  </separator>\n')
        return f' <parameters>\n{"".join(lines)} </parameters>\n'

    def _atominfo(self) -> str:
        run = self.run
        types = np.repeat(np.arange(1, len(run.counts) + 1), run.counts)
        atoms = '\n'.join(
            f'    <rc><c>{symbol:<2s}</c><c>{kind:4d}</c></rc>' for symbol, kind in zip(run.symbols, types, strict=True)
        )
        kinds = '\n'.join(
            f'    <rc><c>{count:4d}</c><c>{s.symbol:<2s}</c><c>{mass:16.8f}</c><c>{s.valence:16.8f}</c>'
            f'<c> {escape(s.title)} </c></rc>'
            for count, s, mass in zip(run.counts, run.species, run.type_masses, strict=True)
        )
        return (
            f' <atominfo>\n  <atoms>{len(run.symbols):8d} </atoms>\n  <types>{len(run.counts):8d} </types>\n'
            '  <array name="atoms" >\n   <dimension dim="1">ion</dimension>\n   <field type="string">element</field>\n'
            f'   <field type="int">atomtype</field>\n   <set>\n{atoms}\n   </set>\n  </array>\n'
            '  <array name="atomtypes" >\n   <dimension dim="1">type</dimension>\n'
            '   <field type="int">atomspertype</field>\n   <field type="string">element</field>\n'
            '   <field>mass</field>\n   <field>valence</field>\n   <field type="string">pseudopotential</field>\n'
            f'   <set>\n{kinds}\n   </set>\n  </array>\n </atominfo>\n'
        )

    def write_frame(self, frame: Frame) -> None:
        """Write one ionic step in one piece."""
        energy = frame.energy
        volume = abs(np.linalg.det(frame.cell))
        # Under PSTRESS the outer energies of VASP are enthalpies, those of the electronic step are not.
        enthalpy = energy + self._pressure * volume * KBAR_A3
        numbers = [frame.step, frame.seconds, frame.seconds, energy, energy, energy]
        numbers += [*frame.cell.ravel().tolist(), volume, *np.linalg.inv(frame.cell).T.ravel().tolist()]
        numbers += fractional(frame.positions, frame.cell).ravel().tolist() + frame.forces.ravel().tolist()
        numbers += frame.stress_kbar.ravel().tolist() + [enthalpy] * 3
        text = self._template % tuple(numbers)
        if frame.kinetic is not None:
            text += self._motion % (
                frame.kinetic, frame.lattice_kinetic, *frame.thermostat, frame.total + enthalpy - energy,
                frame.temperature,
            )  # fmt: skip
        self._file.write(text + self._end % (frame.seconds, frame.seconds))
        self._file.flush()

    def close(self, positions: np.ndarray, cell: np.ndarray) -> None:
        """Write the last structure (that of CONTCAR) and close the document."""
        self._file.write(_structure(positions, cell, ' name="finalpos" ') + '</modeling>\n')
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is, without ending the document."""
        self._file.close()
