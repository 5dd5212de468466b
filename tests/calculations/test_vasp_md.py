"""Inputs of an MD run: POSCAR with velocities, order of atoms, potentials, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from aiida_softclay.calculations.potcar_cutoff import cutoff_problem, potcar_enmax
from aiida_softclay.calculations.potcars import (
    PotentialFamilyError,
    family_elements,
    select_potentials,
    upload_placeholder_family,
)
from aiida_softclay.calculations.vasp_inputs import PoscarError, grouped_kinds, poscar_text, read_poscar, vasp_order

CELL = [[8.0, 0.0, 0.0], [1.0, 7.0, 0.0], [0.3, -0.4, 9.0]]


def alternating():
    """Return an alternating structure: Li Cl Li Ga Cl, positions inside and outside the cell."""
    positions = np.random.default_rng(3).uniform(-2, 10, (5, 3))
    return Atoms(['Li', 'Cl', 'Li', 'Ga', 'Cl'], positions=positions, cell=CELL, pbc=True)


def test_order_groups_by_first_appearance_and_keeps_the_order_within():
    kinds = ['Li', 'Cl', 'Li', 'Ga', 'Cl']
    assert vasp_order(kinds).tolist() == [0, 2, 1, 4, 3]
    assert grouped_kinds(kinds) == [('Li', 2), ('Cl', 2), ('Ga', 1)]


def test_poscar_round_trip_to_the_last_digit():
    atoms = alternating()
    velocities = np.random.default_rng(4).normal(0, 0.01, (5, 3))
    lattice = np.random.default_rng(5).normal(0, 1e-4, (3, 3))
    text = poscar_text(atoms.cell, atoms.get_chemical_symbols(), atoms.positions, velocities=velocities,
                       lattice_velocities=lattice)  # fmt: skip
    back = read_poscar(text)
    order = vasp_order(atoms.get_chemical_symbols())
    assert back.symbols == ['Li', 'Li', 'Cl', 'Cl', 'Ga']
    np.testing.assert_allclose(back.positions, atoms.positions[order], atol=1e-14)
    np.testing.assert_array_equal(back.velocities, velocities[order])
    np.testing.assert_array_equal(back.lattice_velocities, lattice)


def test_poscar_is_read_alike_by_ase_and_pymatgen(tmp_path):
    from pymatgen.io.vasp.inputs import Poscar

    atoms = alternating()
    velocities = np.random.default_rng(4).normal(0, 0.01, (5, 3))
    text = poscar_text(atoms.cell, atoms.get_chemical_symbols(), atoms.positions, velocities=velocities,
                       lattice_velocities=np.eye(3))  # fmt: skip
    path = tmp_path / 'POSCAR'
    path.write_text(text)
    order = vasp_order(atoms.get_chemical_symbols())
    ase_atoms = read(path, format='vasp')
    assert ase_atoms.get_chemical_symbols() == ['Li', 'Li', 'Cl', 'Cl', 'Ga']
    np.testing.assert_allclose(ase_atoms.positions, atoms.positions[order], atol=1e-12)
    poscar = Poscar.from_str(text)
    np.testing.assert_allclose(poscar.structure.cart_coords, atoms.positions[order], atol=1e-12)
    np.testing.assert_allclose(poscar.velocities, velocities[order], atol=1e-15)
    np.testing.assert_allclose(poscar.lattice_velocities[:3], np.eye(3), atol=1e-15)


def test_contcar_in_the_format_of_vasp_6():
    text = """unknown system
   1.00000000000000
     2.0000000000000000    0.0000000000000000    0.0000000000000000
     0.0000000000000000    4.0000000000000000    0.0000000000000000
     0.0000000000000000    0.0000000000000000    5.0000000000000000
   Li_sv/1a2b3c  Cl/99887766
     1     1
Direct
  0.5000000000000000  0.0000000000000000  0.0000000000000000
  0.0000000000000000  0.2500000000000000  0.0000000000000000

  0.12345678E-02 -0.50000000E-03  0.00000000E+00
  0.00000000E+00  0.10000000E-02  0.00000000E+00

     1
  0.200000000000000E+01
"""
    poscar = read_poscar(text)
    assert poscar.symbols == ['Li', 'Cl']
    np.testing.assert_allclose(poscar.positions, [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(poscar.velocities[0], [0.0012345678, -0.0005, 0])


@pytest.mark.parametrize('cut', [0, 20, 120, 260, 420])
def test_a_contcar_cut_short_is_refused_by_name(cut):
    atoms = alternating()
    text = poscar_text(atoms.cell, atoms.get_chemical_symbols(), atoms.positions, velocities=np.zeros((5, 3)))
    with pytest.raises(PoscarError, match='not a complete POSCAR'):
        read_poscar(text[:cut])


def test_nan_in_a_contcar_is_refused():
    atoms = alternating()
    text = poscar_text(atoms.cell, atoms.get_chemical_symbols(), np.full((5, 3), np.nan))
    with pytest.raises(PoscarError, match='not finite'):
        read_poscar(text)


def test_thermostat_state_travels_in_the_comment():
    atoms = alternating()
    arguments = atoms.cell, atoms.get_chemical_symbols(), atoms.positions
    back = read_poscar(poscar_text(*arguments, comment='a | b', state='softclay-state xi=1.5e-03,-2.0 steps=5.0e+02'))
    assert back.comment == 'a   b | softclay-state xi=1.5e-03,-2.0 steps=5.0e+02'
    assert back.steps == 500
    assert back.carried_state == 'softclay-state xi=1.5e-03,-2.0'
    # Anything else that follows a bar is not carried on.
    foreign = read_poscar(poscar_text(*arguments, state='$(rm -r .); "x"'))
    assert (foreign.state, foreign.steps) == ('', None)


def test_selective_dynamics_follow_their_sites():
    atoms = alternating()
    movable = [[True, True, True]] * 5
    movable[2] = [False, True, False]
    text = poscar_text(atoms.cell, atoms.get_chemical_symbols(), atoms.positions, movable=movable)
    assert text.splitlines()[10].endswith('F T F')
    np.testing.assert_allclose(read_poscar(text).positions[1], atoms.positions[2], atol=1e-13)


def test_placeholder_family_is_made_once_and_grows(aiida_profile_clean):
    assert upload_placeholder_family('stand-in', ['Li', 'Cl', 'Ga']) == 3
    assert upload_placeholder_family('stand-in', ['Cl', 'Li', 'Ga']) == 0
    assert upload_placeholder_family('stand-in', ['Li', 'F']) == 1
    assert family_elements('stand-in') == {'Cl': ['Cl'], 'F': ['F'], 'Ga': ['Ga'], 'Li': ['Li']}
    with pytest.raises(PotentialFamilyError, match='`Xx` is not the symbol of an element'):
        upload_placeholder_family('stand-in', ['Xx'])


def real_potcar(folder, element, enmax=None):
    path = folder / 'real' / element / 'POTCAR'
    path.parent.mkdir(parents=True)
    cutoff = '' if enmax is None else f'   ENMAX  =  {enmax:.3f}; ENMIN  =  {0.75 * enmax:.3f} eV\n'
    path.write_text(
        f' PAW_PBE {element} 01Jan2001\n parameters from PSCTR are:\n   TITEL  = PAW_PBE {element} 01Jan2001\n'
        f'   LEXCH  = PE\n{cutoff} END of PSCTR-controll parameters\n End of Dataset\n'
    )


def test_placeholders_never_join_a_real_family(aiida_profile_clean, tmp_path):
    from aiida_vasp.data.potcar import PotcarData

    real_potcar(tmp_path, 'Li')
    PotcarData.upload_potcar_family(tmp_path / 'real', 'PBE', 'a family of the user', stop_if_existing=False)
    with pytest.raises(PotentialFamilyError, match='holds real potentials'):
        upload_placeholder_family('PBE', ['Li', 'Cl'])
    assert family_elements('PBE') == {'Li': ['Li']}


@pytest.fixture
def hard_family(aiida_profile_clean, tmp_path):
    """A family with real headers: chlorine is soft, lithium and gallium ask for more."""
    from aiida_vasp.data.potcar import PotcarData

    for element, enmax in (('Li', 499.034), ('Cl', 262.472), ('Ga', 134.678)):
        real_potcar(tmp_path, element, enmax)
    PotcarData.upload_potcar_family(tmp_path / 'real', 'PBE', 'real headers', stop_if_existing=False)
    return 'PBE'


def test_a_cutoff_below_enmax_is_refused(inputs, hard_family, tmp_path):
    from aiida.orm import Dict

    folder = tmp_path / 'job'
    folder.mkdir()
    potential = select_potentials(inputs['structure'], hard_family)
    assert [potcar_enmax(potential[kind]) for kind in ('Li', 'Cl', 'Ga')] == [499.034, 262.472, 134.678]
    tags = inputs['parameters'].get_dict()
    hard = inputs | {'potential': potential}
    with pytest.raises(ValueError, match=r'ENCUT = 480 eV is below the ENMAX = 499.034 eV of the potential Li'):
        generate(hard | {'parameters': Dict(tags | {'encut': 480})}, folder)
    generate(hard | {'parameters': Dict(tags | {'encut': 500})}, folder)
    # Without ENCUT the program takes the largest ENMAX itself; placeholders have none.
    assert cutoff_problem({}, potential.values()) is None
    assert cutoff_problem({'ENCUT': 10}, inputs['potential'].values()) is None


@pytest.fixture
def structure(aiida_profile_clean):
    from aiida.orm import StructureData

    return StructureData(ase=alternating())


def test_missing_family_element_and_name_are_said(structure):
    upload_placeholder_family('stand-in', ['Li', 'Cl'])
    with pytest.raises(PotentialFamilyError, match=r'no POTCAR family `PBE.54` \(this profile has stand-in'):
        select_potentials(structure, 'PBE.54')
    with pytest.raises(PotentialFamilyError, match='`stand-in` has no potential for Ga'):
        select_potentials(structure, 'stand-in')
    upload_placeholder_family('stand-in', ['Ga'])
    with pytest.raises(PotentialFamilyError, match='has no `Ga_d` for Ga'):
        select_potentials(structure, 'stand-in', {'Ga': 'Ga_d'})
    with pytest.raises(PotentialFamilyError, match='gives `Li`, a potential of Li, to Ga'):
        select_potentials(structure, 'stand-in', {'Ga': 'Li'})
    with pytest.raises(PotentialFamilyError, match='mapping names Zz'):
        select_potentials(structure, 'stand-in', {'Zz': 'Li'})
    assert {kind: node.element for kind, node in select_potentials(structure, 'stand-in').items()} == {
        'Li': 'Li', 'Cl': 'Cl', 'Ga': 'Ga',
    }  # fmt: skip


@pytest.fixture
def inputs(structure, tmp_path):
    """Inputs of a calculation with a code that is never run."""
    from aiida.orm import ArrayData, Computer, Dict, InstalledCode, KpointsData

    upload_placeholder_family('stand-in', ['Li', 'Cl', 'Ga'])
    computer = Computer(
        label='nowhere', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
        workdir=str(tmp_path),
    ).store()  # fmt: skip
    computer.configure()
    kpoints = KpointsData()
    kpoints.set_kpoints_mesh([1, 1, 1])
    velocities = ArrayData()
    velocities.set_array('velocities', np.random.default_rng(1).normal(0, 0.01, (5, 3)))
    return {
        'code': InstalledCode(computer=computer, filepath_executable='/bin/true', label='none'),
        'structure': structure, 'kpoints': kpoints, 'velocities': velocities,
        'parameters': Dict({'ibrion': 0, 'nsw': 5, 'potim': 2.0, 'mdalgo': 3, 'random_seed': [7, 0, 0],
                            'langevin_gamma': [10.0, 10.0, 10.0], 'gga': 'PE', 'lwave': False, 'ivdw': 10}),
        'potential': select_potentials(structure, 'stand-in'), 'sampling': Dict({'frame_stride': 2}),
    }  # fmt: skip


def generate(inputs, folder):
    """Write the input files into ``folder`` as a submission would, and return the CalcInfo."""
    from aiida.common.folders import Folder
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    from aiida_softclay.calculations.vasp_md import VaspMdCalculation

    process = instantiate_process(get_manager().get_runner(), VaspMdCalculation, **inputs)
    return process.prepare_for_submission(Folder(str(folder)))


def test_the_files_that_run(inputs, tmp_path):
    folder = tmp_path / 'job'
    folder.mkdir()
    info = generate(inputs, folder)
    poscar = read_poscar((folder / 'POSCAR').read_text())
    assert poscar.symbols == ['Li', 'Li', 'Cl', 'Cl', 'Ga']
    order = [0, 2, 1, 4, 3]
    np.testing.assert_array_equal(poscar.velocities, inputs['velocities'].get_array('velocities')[order])
    titles = [line.split()[3] for line in (folder / 'POTCAR').read_text().splitlines() if 'TITEL' in line]
    assert titles == ['Li', 'Cl', 'Ga']
    incar = (folder / 'INCAR').read_text().upper()
    assert 'RANDOM_SEED = 7 0 0' in incar
    assert 'LANGEVIN_GAMMA = 10' in incar
    assert info.retrieve_list == ['CONTCAR']
    assert {'vasprun.xml', 'OUTCAR', 'OSZICAR', 'vasp_output'} == set(info.retrieve_temporary_list)
    assert 'POTCAR' in info.provenance_exclude_list


def test_vasprun_is_kept_on_request(inputs, tmp_path):
    from aiida.orm import Dict

    folder = tmp_path / 'job'
    folder.mkdir()
    info = generate(inputs | {'sampling': Dict({'keep_vasprun': True})}, folder)
    assert info.retrieve_list == ['CONTCAR', 'vasprun.xml']
    assert 'vasprun.xml' not in info.retrieve_temporary_list


def velocities_node(array):
    from aiida.orm import ArrayData

    node = ArrayData()
    node.set_array('velocities', np.asarray(array, dtype=float))
    return node


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda inputs: inputs.update(velocities=velocities_node(np.zeros((4, 3)))), r'structure needs \(5, 3\)'),
        (lambda inputs: inputs.update(velocities=velocities_node(np.full((5, 3), 12.0))), 'no atom is that fast'),
        (lambda inputs: inputs.update(velocities=velocities_node(np.full((5, 3), np.nan))), 'not finite'),
        (lambda inputs: inputs['potential'].pop('Ga'), 'no potential for Ga'),
        (lambda inputs: inputs['potential'].update(Ga=inputs['potential']['Li']), 'for Ga is one of Li'),
        (lambda inputs: inputs.update(sampling={'stride': 2}), 'unknown sampling key stride'),
        (lambda inputs: inputs.update(sampling={'frame_stride': 0}), 'whole number of at least 1'),
        (lambda inputs: inputs.update(parameters={'ibrion': 2, 'nsw': 5}), 'runs MD'),
    ],
)
def test_bad_inputs_are_refused_at_submission(inputs, tmp_path, change, sentence):
    change(inputs)
    with pytest.raises(ValueError, match=sentence):
        generate(inputs, tmp_path)
