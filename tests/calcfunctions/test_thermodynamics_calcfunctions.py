"""Tables and numbers with provenance: what becomes of made-up energies, of cells and of outputs that are cut."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ase.build import bulk

from aiida_softclay.analysis.quantity import check_results

#: Made up, eV per formula unit: 3 LiCl + 2 GaF3 -> Li3GaF6 + GaCl3 releases 1.4 eV on 14 atoms.
ENERGIES = {
    'LiCl': -4.0, 'GaF3': -12.0, 'Li3GaF6': -32.4, 'GaCl3': -5.0, 'LiF': -6.6, 'Li': 0.0, 'Ga': 0.0, 'F2': 0.0,
    'Cl2': 0.0,
}  # fmt: skip


def table(**rest):
    rows = [
        {'id': name, 'formula': name, 'energy_eV': energy, 'engine': 'made up', 'error_eV': 0.01, 'volume_change': 0.0}
        for name, energy in ENERGIES.items()
    ]
    return {'entries': rows, **rest}


def test_results_of_a_table():
    from aiida_softclay.analysis.quantity import check_results
    from aiida_softclay.calcfunctions.thermodynamics import summarise_thermodynamics

    results = summarise_thermodynamics(
        table(), {'salts': ['LiCl', 'GaF3'], 'ion': 'Li', 'moles': {'LiCl': 2, 'GaF3': 1}}
    )
    check_results(results)
    numbers = {number['name']: number for number in results['numbers']}
    assert numbers['reaction_energy']['value'] == pytest.approx(-100)
    assert numbers['reaction_energy']['unit'] == 'meV/atom'
    assert numbers['reaction_energy']['error'] == pytest.approx(10 * np.sqrt(15) / 14)
    assert numbers['reaction_energy_at_ratio']['value'] == pytest.approx(1000 * (-0.1 + 0.02 * (1 / 14) / (6 / 35)))
    assert numbers['energy_above_hull.Li3GaF6']['value'] == 0
    assert numbers['reduction_potential']['value'] < numbers['oxidation_potential']['value']
    assert [row['verdict'] for row in results['context']['screening']['criteria']] == ['met', 'met', 'met']
    for number in numbers.values():
        assert 'Li3GaF6' in number['conditions']['phase_set']
    assert results['context']['best_reaction']['equation'] == '3 LiCl + 2 GaF3 -> GaCl3 + Li3GaF6'


def test_warnings_and_windows_that_there_are_not():
    from aiida_softclay.calcfunctions.thermodynamics import summarise_thermodynamics

    content = table(missing={'LiGaCl4': 'its job died'})
    content['entries'] = [row for row in content['entries'] if row['id'] not in ('Ga', 'F2', 'Cl2')]
    content['entries'][3]['volume_change'] = 0.5
    results = summarise_thermodynamics(content, {'salts': ['LiCl', 'GaF3'], 'ion': 'Li', 'hull': ['Li3GaF6']})
    first = results['numbers'][0]
    assert any('LiGaCl4 is not in the table: its job died' in text for text in first['warnings'])
    assert any('GaCl3 changed its volume by +50%' in text for text in first['warnings'])
    assert 'needs an entry for each element: add Cl, F, Ga' in results['context']['window']['reason']
    assert [number['name'] for number in results['numbers']] == ['reaction_energy', 'energy_above_hull.Li3GaF6']


def test_provenance_and_screening(aiida_profile):
    from aiida.orm import Dict

    from aiida_softclay.calcfunctions.thermodynamics import assess_thermodynamics, screen_salts

    node = Dict(table()).store()
    results, process = assess_thermodynamics.run_get_node(node, Dict({'salts': ['GaF3', 'LiCl']}))
    assert process.inputs.entries.uuid == node.uuid
    assert results['numbers'][0]['value'] == pytest.approx(-100)
    rows = screen_salts(node, Dict({'pairs': [['LiCl', 'GaF3'], ['LiI', 'GaF3']]}))
    assert [row['outlook'] for row in rows['pairs']] == ['open', 'ruled out']
    content = rows.get_dict()
    check_results(content)
    numbers = {row['name']: row for row in content['numbers']}
    assert list(numbers) == ['reaction_energy.LiCl-GaF3', 'reaction_energy.LiI-GaF3']
    assert numbers['reaction_energy.LiCl-GaF3']['value'] == pytest.approx(-100)
    assert numbers['reaction_energy.LiCl-GaF3']['unit'] == results['numbers'][0]['unit']
    assert content['pairs'][0]['reaction']['equation'] in numbers['reaction_energy.LiCl-GaF3']['definition']
    missing = screen_salts(node, Dict({'pairs': [['NaCl', 'GaF3']]}))['numbers'][0]
    assert missing['value'] is None
    assert any('lacks NaCl' in text for text in missing['warnings'])


@pytest.mark.parametrize(('name', 'atoms'), [('LiCl', 2), ('GaF3', 8), ('LiGaCl4', 24), ('Li', 1)])
def test_phases_are_primitive_cells_of_the_crystals(aiida_profile, name, atoms):
    """Same density and composition as the library's cell, fewer atoms, elements in blocks."""
    from aiida.orm import Dict

    from aiida_softclay.calcfunctions.thermodynamics import build_phase
    from aiida_softclay.structures.crystals import crystal

    made, whole = build_phase(Dict({'crystal': name})).get_ase(), crystal(name)
    assert len(made) == atoms
    assert made.get_volume() / len(made) == pytest.approx(whole.get_volume() / len(whole))
    symbols = made.get_chemical_symbols()
    assert symbols == sorted(symbols, key=symbols.index)
    assert np.linalg.det(made.cell.array) > 0
    shortest = [np.sort(cell.get_all_distances(mic=True)[0])[1] for cell in (made * 2, whole * 2)]
    if name in ('LiCl', 'Li'):
        assert shortest[0] == pytest.approx(shortest[1], abs=1e-3)


VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">{program}</i><i name="version" type="string">6.2.1</i></generator>
 <incar><i name="GGA" type="string">PE</i></incar>
 <parameters><separator name="electronic"><i name="ENMAX">500.0</i><i type="int" name="IVDW">10</i>
  <i type="int" name="NELM">60</i>
  <i name="GGA" type="string">PE</i></separator></parameters>
 <atominfo><array name="atoms"><set><rc><c>Al</c><c>1</c></rc></set></array></atominfo>
 <calculation>
  <scstep><energy><i name="e_fr_energy"> -3.80 </i><i name="e_wo_entrp"> -3.70 </i>
   <i name="e_0_energy"> -3.75 </i></energy></scstep>
  <structure><crystal><varray name="basis">{basis}</varray></crystal>
   <varray name="positions"><v>0 0 0</v></varray></structure>
  <varray name="forces"><v>0 0 0</v></varray>
  <varray name="stress"><v>0 0 0</v><v>0 0 0</v><v>0 0 0</v></varray>
  <energy><i name="e_fr_energy"> -3.80 </i><i name="e_wo_entrp"> -3.70 </i><i name="e_0_energy"> -3.75 </i></energy>
 </calculation>
{end}"""


def folder(program='vasp', end='</modeling>'):
    from aiida.orm import FolderData

    basis = ''.join('<v>{} {} {}</v>'.format(*row) for row in bulk('Al', 'fcc', a=4.0).cell.array)
    node = FolderData()
    content = VASPRUN.format(program=program, basis=basis, end=end).encode()
    node.base.repository.put_object_from_filelike(io.BytesIO(content), 'vasprun.xml')
    return node.store()


def test_table_of_outputs(aiida_profile):
    from aiida.orm import Dict

    from aiida_softclay.calcfunctions.thermodynamics import collect_entries

    about = {'Al': {'source': 'u', 'volume_A3': 20.0, 'library': True}}
    content = collect_entries(Dict({'phases': about, 'missing': {'X': 'died'}}), Al=folder()).get_dict()
    (row,) = content['entries']
    assert (row['energy_eV'], row['n_atoms'], row['source']) == (-3.75, 1, 'u')
    assert row['volume_change'] == pytest.approx(16 / 20 - 1)
    assert 'PE' in row['engine']
    assert 'vasp 6.2.1' in row['engine']
    assert row['engine'].endswith(', ENCUT 500.0, IVDW 10')
    assert content['missing'] == {'X': 'died'}
    about['Al_b'] = about['Al']
    for other, words in (
        (folder('another'), 'engines, whose zeros differ'),
        (folder(end=''), 'cut or did not converge'),
    ):
        with pytest.raises(ValueError, match=words):
            collect_entries(Dict({'phases': about}), Al=folder(), Al_b=other)
