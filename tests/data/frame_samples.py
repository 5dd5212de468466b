"""Small labelled frames, vasprun.xml files of known content and DeePMD graphs, made from numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiida_softclay.data.frames_file import FrameBlock, FramesFile

ENGINE = {'program': 'vasp', 'version': '6.4.2', 'functional': 'PE', 'encut_eV': 500.0}


def make_block(symbols=('Li', 'Cl', 'Ga', 'F'), n_frames=10, seed=0, virials=True, **provenance):
    """Return random frames in a triclinic cell."""
    rng = np.random.default_rng(seed)
    n_atoms = len(symbols)
    cell = np.array([[6.0, 0, 0], [0.7, 6.5, 0], [-0.4, 0.9, 7.0]])
    return FrameBlock.from_symbols(
        list(symbols),
        positions=rng.uniform(-2, 9, (n_frames, n_atoms, 3)),
        cells=cell + rng.normal(scale=0.01, size=(n_frames, 3, 3)) * np.tri(3),
        energies=rng.normal(-1234.5, 1.0, n_frames),
        forces=rng.normal(size=(n_frames, n_atoms, 3)),
        virials=rng.normal(size=(n_frames, 3, 3)) if virials else None,
        temperature=np.linspace(300, 900, n_frames),
        provenance={'energy_kind': 'e_fr_energy', 'engine': dict(ENGINE), **provenance},
    )


def write_frames(path, parts, **options):
    """Write ``[(block, label), …]`` to a frames file and return its path."""
    with FramesFile(path, 'w', **options) as frames:
        for block, label in parts:
            frames.append(block, {'label': label})
    return Path(path)


def _varray(name, rows):
    lines = ''.join('   <v>' + ''.join(f' {value:16.8f}' for value in row) + ' </v>\n' for row in rows)
    return f'  <varray name="{name}" >\n{lines}  </varray>\n'


def vasprun_text(images, program='vasp', version='6.4.2', tags='', generator='', electronic=3, stress=True):
    """Return a vasprun.xml in VASP's format for ASE images with energy, forces and stress.

    The free energy is the image's; the last electronic step's lacks a 0.5 eV correction that is added after it, its
    ``e_0_energy`` and ``e_wo_entrp`` are 0.01 and 0.02 eV higher than its free energy, and, as VASP does, the outer two
    of them are wrong.
    """
    symbols = images[0].get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    rows = ''.join(f'    <rc><c>{s:2s}</c><c>{kinds.index(s) + 1:4d}</c></rc>\n' for s in symbols)
    types = ''.join(
        f'    <rc><c>{symbols.count(s):4d}</c><c>{s:2s}</c><c>10.0</c><c>1.0</c><c> PAW_PBE {s} 17Jan2003</c></rc>\n'
        for s in kinds
    )
    parts = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n'
        f'  <i name="program" type="string">{program} </i>\n  <i name="version" type="string">{version}  </i>\n'
        f'{generator} </generator>\n <kpoints>\n  <varray name="kpointlist" >\n   <v> 0.0 0.0 0.0 </v>\n  </varray>\n'
        '  <varray name="weights" >\n   <v> 1.0 </v>\n  </varray>\n </kpoints>\n'
        ' <incar>\n  <i type="int" name="IBRION">0</i>\n </incar>\n <parameters>\n'
        # The first mention of a tag counts.
        f'  <separator name="general" >\n{tags}  </separator>\n'
        '  <separator name="electronic" >\n   <i name="ENMAX">500.0</i>\n   <i type="int" name="NELM">60</i>\n'
        '   <i type="string" name="GGA">PE</i>\n  </separator>\n'
        '  <separator name="ionic" >\n   <i type="int" name="NSW">10</i>\n   <i type="int" name="IBRION">0</i>\n'
        f'   <i name="TEBEG">300.0</i>\n   <i name="TEEND">900.0</i>\n  </separator>\n'
        # As VASP does where INCAR sets no NELM: that of the response functions is another than the electronic loop's.
        '  <separator name="response functions" >\n   <i type="int" name="NELM">1</i>\n  </separator>\n </parameters>\n'
        f' <atominfo>\n  <atoms> {len(symbols)} </atoms>\n  <types> {len(kinds)} </types>\n'
        '  <array name="atoms" >\n   <field type="string">element</field>\n   <field type="int">atomtype</field>\n'
        f'   <set>\n{rows}   </set>\n  </array>\n  <array name="atomtypes" >\n   <set>\n{types}   </set>\n  </array>\n'
        ' </atominfo>\n <structure name="initialpos" >\n  <crystal>\n'
        + _varray('basis', images[0].cell[:])
        + '  </crystal>\n'
        + _varray('positions', images[0].get_scaled_positions(wrap=False))
        + ' </structure>\n'
    ]
    for atoms in images:
        energy = atoms.get_potential_energy()
        inner = (
            f'   <i name="e_fr_energy"> {energy - 0.5:16.8f} </i>\n'
            f'   <i name="e_wo_entrp"> {energy - 0.48:16.8f} </i>\n'
            f'   <i name="e_0_energy"> {energy - 0.49:16.8f} </i>\n'
        )
        scstep = f'  <scstep>\n   <energy>\n{inner}   </energy>\n  </scstep>\n'
        parts.append(
            ' <calculation>\n'
            + scstep * electronic
            + '  <structure>\n   <crystal>\n'
            + _varray('basis', atoms.cell[:])
            + f'    <i name="volume"> {atoms.get_volume():16.8f} </i>\n   </crystal>\n'
            + _varray('positions', atoms.get_scaled_positions(wrap=False))
            + '  </structure>\n'
            + _varray('forces', atoms.get_forces())
            + (_varray('stress', -atoms.get_stress(voigt=False) * 1602.176634) if stress else '')
            + f'  <energy>\n   <i name="e_fr_energy"> {energy:16.8f} </i>\n'
            + f'   <i name="e_wo_entrp"> {energy:16.8f} </i>\n'
            + '   <i name="e_0_energy"> 0.00000000 </i>\n  </energy>\n </calculation>\n'
        )
    parts.append('</modeling>\n')
    return ''.join(parts)


def _field(number, payload):
    """Encode a length-delimited protobuf field."""
    length, size = len(payload), bytearray()
    while True:
        byte = length & 0x7F
        length >>= 7
        size.append(byte | (0x80 if length else 0))
        if not length:
            return bytes([number << 3 | 2]) + bytes(size) + payload


def graph(type_map='Li Cl', rcut=6.0, compressed=False):
    """Return the bytes of a GraphDef with the nodes by which a DeePMD model is recognised."""
    import struct

    def node(name, operation, tensor=None):
        content = _field(1, name.encode()) + _field(2, operation.encode())
        if tensor is not None:
            content += _field(5, _field(1, b'value') + _field(2, _field(8, tensor)))
        return _field(1, content)

    data = node('model_attr/tmap', 'Const', _field(8, type_map.encode()))
    data += node('descrpt_attr/rcut', 'Const', _field(4, struct.pack('<d', rcut)))
    data += node('net', 'TabulateFusionSeA' if compressed else 'MatMul')
    return data + _field(1, _field(1, b'padding' * 50) + _field(2, b'NoOp'))
